"""Fill the masks of a text: which tokens does the model find likely there?

    python -m minibert fill-mask runs/quickstart "Return a new <mask> object."
    python -m minibert fill-mask runs/quickstart --top-k 3 --targets list,dict --json < texts.txt
    python -m minibert fill-mask runs/quickstart --all "Return <mask> new <mask> object."

In Python: ``fill_mask(*load_run("runs/quickstart"), "Return a new <mask> object.")``.
"""
import json
import re
import sys

import torch

from minibert.analysis.command import add_texts, analysis_parser, answer_each, load_model
from minibert.checks import check_length, check_tokenizer
from minibert.evaluate import eval_mode
from minibert.generation.causal import BertForCausalLM
from minibert.generation.seq2seq import EncoderDecoder
from tokenizer.utils.cli import at_least
from tokenizer.utils.terminal import TextStyle, visible

# WordPiece vocabularies write [MASK], byte-level ones <mask>. Both are accepted.
MASK = re.compile(r"\[MASK\]|<mask>")


def fill_mask(model, tokenizer, text, top_k=5, targets=None):
    """Return the ``top_k`` likeliest tokens for the mask in ``text``, the likeliest first.

    The result is a list of {score, token, token_str, sequence}: the probability, the id,
    the token as text, and the text with this mask filled. Special tokens are left out. A text
    with several masks gives a list of such lists, in reading order.

    targets   words to choose from, each one token. In a byte-level vocabulary "list" and
              " list" are two tokens: a target without a space means the likelier of them.

    Raises ValueError for a text that has no mask or is too long, for targets that are not
    one token, and for a tokenizer that does not belong to the model.

        fill_mask(model, tokenizer, "Return a new <mask> object.", top_k=1)
        -> [{"score": 0.31, "token": 812, "token_str": " list",
             "sequence": "Return a new list object."}]
    """
    check_fills_masks(model, tokenizer)
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}: it must be at least 1")
    ids = tokenizer.encode(MASK.sub(lambda _: tokenizer.mask_token, text)).ids
    positions = [i for i, token_id in enumerate(ids) if token_id == tokenizer.mask_token_id]
    if not positions:
        mask = tokenizer.mask_token
        raise ValueError(f'no {mask} in the text: write e.g. "Return a new {mask} object."')
    check_length(model.config, len(ids))
    candidates = _target_ids(tokenizer, targets) if targets else None

    device = next(model.parameters()).device
    with eval_mode(model):
        logits = model(torch.tensor([ids], device=device)).logits[0, positions]  # (num_masks, V)
    probabilities = logits.float().softmax(dim=-1).cpu()  # (num_masks, V)
    probabilities = probabilities[:, :tokenizer.vocab_size]  # without the rows of padding

    answers = []
    for position, probs in zip(positions, probabilities):
        answer = []
        for token_id in _likeliest(probs, top_k, candidates, tokenizer.never_predicted):
            answer.append({
                "score": probs[token_id].item(),
                "token": token_id,
                "token_str": tokenizer.decode([token_id], skip_special_tokens=False),
                "sequence": _fill(tokenizer, ids, position, token_id),
            })
        answers.append(answer)
    return answers if len(answers) > 1 else answers[0]


def check_fills_masks(model, tokenizer):
    """Raise ValueError unless the model has an MLM head and the tokenizer a mask token."""
    if isinstance(model, BertForCausalLM):
        raise ValueError("a causal model fills no masks but continues a text: use python -m "
                         "minibert generate")
    if isinstance(model, EncoderDecoder):
        raise ValueError("an encoder-decoder fills no masks but spans: use python -m minibert "
                         "fill-spans")
    if not hasattr(model, "head"):
        raise ValueError("the model has no head that fills masks: it is fine-tuned, or an encoder; "
                         "train.py --init continues its training with one")
    check_tokenizer(model.config, tokenizer)
    tokenizer.require("mask")


def fill_each_mask(model, tokenizer, text, top_k=5, targets=None):
    """Like ``fill_mask``, but return a list of lists even for a text with one mask."""
    answers = fill_mask(model, tokenizer, text, top_k, targets)
    return answers if isinstance(answers[0], list) else [answers]


def fill_all(model, tokenizer, text):
    """Fill all masks of a text, the most confident first; each answer is context for the next ones.

    Return the answers in the order in which they were given: the last one has the whole text. This
    is how an encoder, which was never trained to write, writes (Ghazvininejad et al. 2019 fill
    several masks in each step).

        fill_all(model, tokenizer, "Return <mask> new <mask> object.")
        -> [{"score": 0.9, "sequence": "Return a new <mask> object.", ...},
            {"score": 0.4, "sequence": "Return a new list object.", ...}]
    """
    steps = []
    while not steps or tokenizer.mask_token in text:
        masks = fill_each_mask(model, tokenizer, text, top_k=1)
        most_confident = max((answers[0] for answers in masks), key=lambda answer: answer["score"])
        steps.append(most_confident)
        text = most_confident["sequence"]
    return steps


def _likeliest(probs, top_k, candidates, never_predicted):
    """Return the ids of the ``top_k`` likeliest tokens, of all or of one per candidate."""
    if candidates is None:
        best = probs.topk(min(top_k + len(never_predicted), len(probs))).indices.tolist()
        return [i for i in best if i not in never_predicted][:top_k]
    best = {max(ids, key=lambda i: probs[i].item()) for ids in candidates}
    return sorted(best, key=lambda i: (-probs[i].item(), i))[:top_k]


def _fill(tokenizer, ids, position, token_id):
    """Return the text of ``ids`` with a token at ``position``; other masks stay visible."""
    hidden = set(tokenizer.special_ids) - {tokenizer.mask_token_id}
    before = [i for i in ids[:position] if i not in hidden]
    after = [i for i in ids[position + 1 :] if i not in hidden]
    text = tokenizer.decode([*before, token_id, *after], skip_special_tokens=False)
    # The mask token of a byte-level vocabulary includes the space before it: restore it.
    mask = re.escape(tokenizer.mask_token)
    return re.sub(rf"(?<=\S)({mask})", r" \1", text).strip()


def _target_ids(tokenizer, targets):
    """Return a list of ids for each target: one, or two if it exists with and without a space."""
    candidates = []
    for target in targets:
        forms = [target]
        if tokenizer.kind == "bpe" and not target[:1].isspace():
            forms = [" " + target, target]
        encoded = [tokenizer.encode_ids(form) for form in forms]
        single = [ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id]
        if not single:
            pieces = " ".join(tokenizer.id_to_token(i) for i in encoded[0])
            raise ValueError(f"the target {target!r} is not one token of the vocabulary ({pieces})")
        candidates.append(single)
    return candidates


def add_answer_flags(parser):
    parser.add_argument("--top-k", type=at_least(1), default=5,
                        help="number of answers for each mask")
    parser.add_argument("--targets", metavar="WORD,WORD", type=split_commas,
                        help="answer only with these words")


def split_commas(words):
    """Return the words between commas, without duplicates.

    >>> split_commas("he, she,he")
    ['he', 'she']
    """
    return list(dict.fromkeys(word.strip() for word in words.split(",")))


def main(args=None):
    """Print the answers for each mask, or one line of JSON per text."""
    parser = analysis_parser(
        "fill-mask",
        "Fill the masks of a text with a trained model.",
        epilog="A mask is written <mask> or [MASK].",
    )
    add_texts(parser, "a text with masks")
    add_answer_flags(parser)
    parser.add_argument("--all", action="store_true",
                        help="fill one mask after another, the most confident first")
    args = parser.parse_args(args, rest="text")
    if args.all and (args.targets or args.top_k != 5):
        parser.error("--all gives one answer for each mask: leave out --top-k and --targets")
    model, tokenizer = load_model(args)
    line_end = TextStyle.of(sys.stdout).signs.white[1]  # as train.py shows it
    is_first = True

    def answers_of(text):
        if args.all:
            return [fill_all(model, tokenizer, text)]
        return fill_each_mask(model, tokenizer, text, args.top_k, args.targets)

    for _, masks in answer_each(args.text, answers_of):
        if args.json:
            print(json.dumps(masks if len(masks) > 1 else masks[0]))
            continue
        for answers in masks:
            if not is_first:
                print()
            is_first = False
            for answer in answers:
                sequence = visible(answer["sequence"].replace("\n", line_end))
                print(f"{answer['score']:7.2%}  {sequence}")

"""A trained model at work: which words fit where the text has a mask? In Python ``fill_mask(*load_run("runs/quickstart"), "A <mask>.")``.

    python -m minibert fill-mask runs/quickstart "Return a new <mask> object."
    python -m minibert fill-mask runs/quickstart --top-k 3 --targets list,dict --json < sentences.txt
"""
import json
import re
import sys
from argparse import HelpFormatter

import torch

from minibert.checks import check_tokenizer
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser
from tokenizer.utils.terminal import visible

MASK = re.compile(r"\[MASK\]|<mask>")  # as WordPiece and byte-level vocabularies write it; becomes each tokenizer's own


@torch.no_grad()
def fill_mask(model, tokenizer, text, top_k=5, targets=None):
    """The likeliest tokens for each mask of ``text``, [MASK] or <mask> whichever the tokenizer has, the likeliest first.

    Returns a list of {score, token, token_str, sequence} (with several masks: a list of such lists, in reading order);
    score is the probability, token the id, sequence the text with this mask filled and the others left.
    targets: words to choose among instead of the whole vocabulary; each must be one token. In a byte-level vocabulary
    " list" and "list" are two tokens, and a target without a space stands for the likelier of them.

    Raises ValueError for a text without a mask or too long for the model, unknown targets, a tokenizer that does not fit.

    fill_mask(model, tokenizer, "Return a new <mask> object.", top_k=1)
    -> [{"score": 0.31, "token": 812, "token_str": " list", "sequence": "Return a new list object."}]
    """
    if not hasattr(model, "head"):
        raise ValueError("the model has no head that fills masks: it was saved as the encoder alone, or fine-tuned")
    check_tokenizer(model.config, tokenizer)
    if top_k < 1:
        raise ValueError(f"top_k is {top_k}: it must be at least 1")
    tokenizer.require("mask")
    ids = tokenizer.encode(MASK.sub(lambda _: tokenizer.mask_token, text)).ids
    masks = [i for i, token in enumerate(ids) if token == tokenizer.mask_token_id]
    if not masks:
        raise ValueError(f'no {tokenizer.mask_token} in the text: write e.g. "Return a new {tokenizer.mask_token} object."')
    if len(ids) > model.config.max_length:
        raise ValueError(f"the text has {len(ids)} tokens, the model takes {model.config.max_length} at most: shorten it")
    candidates = None if targets is None else _target_ids(tokenizer, targets)

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits = model(torch.tensor([ids], device=device)).logits[0, masks]  # (masks, V)
    model.train(was_training)

    answers = []
    for place, probability in zip(masks, logits.float().softmax(dim=-1).cpu()):  # probability (V,)
        if candidates is None:
            chosen = probability.topk(min(top_k, len(probability))).indices.tolist()
        else:
            best = {max(forms, key=lambda token: probability[token].item()) for forms in candidates}
            chosen = sorted(best, key=lambda token: (-probability[token].item(), token))[:top_k]
        answers.append([{"score": probability[token].item(), "token": token, "token_str": tokenizer.decode([token], skip_special_tokens=False),
                         "sequence": _filled(tokenizer, ids, place, token)} for token in chosen])
    return answers if len(answers) > 1 else answers[0]


def _filled(tokenizer, ids, place, token):
    """The text of ``ids`` with ``token`` at ``place``; other masks stay visible, what frames the text does not."""
    frame = set(tokenizer.special_ids) - {tokenizer.mask_token_id}
    filled = [token if i == place else id for i, id in enumerate(ids) if i == place or id not in frame]
    text = tokenizer.decode(filled, skip_special_tokens=False)
    mask = re.escape(tokenizer.mask_token)
    return re.sub(rf"(?<=\S)({mask})", r" \1", text).strip()  # a byte-level mask token has swallowed the space before it


def _target_ids(tokenizer, targets):
    """targets -> for each the ids that it may stand for (one, or two with and without a space before it)."""
    found, unknown = [], []
    for target in targets:
        forms = [target] if tokenizer.kind != "bpe" or target[:1].isspace() else [" " + target, target]
        pieces = [tokenizer.encode_ids(form) for form in forms]
        single = [ids[0] for ids in pieces if len(ids) == 1 and ids[0] != tokenizer.unk_token_id]
        if single:
            found.append(single)
        else:
            spelled = " ".join(tokenizer.id_to_token(id) for id in pieces[0])
            unknown.append(f"{target!r}" + (f" ({spelled})" if spelled else ""))
    if unknown or not found:
        raise ValueError("targets that are not one token of the vocabulary: " + ", ".join(unknown) if unknown else
                         "targets is empty: name one word at least")
    return found


# ---------------------------------------------------------------------------------------------- a run directory


# ---------------------------------------------------------------------------------------------- the command


def main(args=None):
    """The command: for each mask of each text five lines, score and filled text; with --json one line a text."""
    parser = Parser(prog="python -m minibert fill-mask", description="Fill the masks of a text with a trained model.", formatter_class=HelpFormatter,
                    epilog="The mask is written <mask> or [MASK], whichever the tokenizer has.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, or a published one: a model and its tokenizer")
    parser.add_argument("text", metavar="TEXT", nargs="*", help="a text with one or more masks; '-' or none: each line of standard input is one")
    parser.add_argument("--top-k", type=int, default=5, help="how many answers for each mask (default: 5)")
    parser.add_argument("--targets", help="choose among these words alone, separated by commas")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON a text, as fill_mask() returns it")
    args, rest = parser.parse_known_args(args)  # rest: texts that a flag separates from RUN, which argparse gives up on
    parser.parse_args([args.run, *(word for word in rest if word.startswith("-") and word != "-")])  # names an unknown flag
    texts = args.text + rest
    model, tokenizer = load_run(args.run)
    from_lines = texts in ([], ["-"])
    numbered = ((number, line.strip()) for number, line in enumerate(sys.stdin, start=1) if line.strip())
    first = True
    for number, text in numbered if from_lines else enumerate(texts, start=1):
        try:
            answers = fill_mask(model, tokenizer, text, args.top_k, args.targets.split(",") if args.targets else None)
        except ValueError as error:
            raise ValueError(f"standard input:{number}: {error}" if from_lines else str(error)) from None
        if args.json:
            print(json.dumps(answers))
            continue
        for answer in answers if isinstance(answers[0], list) else [answers]:
            if not first:
                print()
            first = False
            for choice in answer:
                print(f"{choice['score']:.4f}  {visible(choice['sequence'])}")

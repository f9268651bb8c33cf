"""How well does a model expect a text? Its pseudo-perplexity: each token is masked in turn, and guessed from all the others.

    python -m minibert perplexity runs/books "He broke the record." "Record the broke he."
    python -m minibert perplexity runs/books --tokens "He broke the record."

A left-to-right model has the perplexity of a text. A BERT sees both sides, so the product of its guesses is no probability of the text; but it
serves to compare texts, or models with one vocabulary (Salazar et al. 2020, "Masked Language Model Scoring", section 2):

    pseudo-log-likelihood  PLL = sum over the tokens of ln p(token | all others)          nats
    pseudo-perplexity      e^(-PLL / tokens): 1 where each is certain, V where all V entries are as likely

A word that is cut into several tokens is guessed from its own other pieces, and seems more expected than it is (Kauf and Ivanova 2023).
"""
import json
import math
import sys
from argparse import HelpFormatter
from itertools import islice

import torch

from minibert.checks import check_length, check_tokenizer
from minibert.device import choose_device
from minibert.formats.run_folder import load_run
from minibert.masking import IGNORE_INDEX
from tokenizer.utils.cli import Parser
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import TextStyle

BATCH = 64  # rows that go through the model at once: one for each token of a text


@torch.no_grad()
def pseudo_perplexity(model, tokenizer, texts, batch_size=BATCH):
    """Each text's pseudo-perplexity -> list of {"text", "tokens": [{"token", "id", "log_likelihood"}, ...], "pseudo_log_likelihood",
    "pseudo_perplexity"}. Special tokens, unknown ones included, are seen but not guessed, as in training.

    Raises ValueError for a text with no token to guess or too many for the model, a model that fills no masks, a tokenizer that does not fit.

    pseudo_perplexity(model, tokenizer, ["He broke the record."]) -> [{"text": "He broke the record.", "pseudo_perplexity": 8.3, ...}]
    """
    if not hasattr(model, "head"):
        raise ValueError("the model has no head that fills masks: it was saved as the encoder alone, or fine-tuned")
    check_tokenizer(model.config, tokenizer)
    tokenizer.require("mask")
    rows = [torch.tensor(tokenizer.encode(text).ids) for text in texts]
    guessed = [[place for place, id in enumerate(ids.tolist()) if id not in tokenizer.special_ids] for ids in rows]
    for text, ids, places in zip(texts, rows, guessed):
        check_length(model.config, len(ids))
        if not places:
            raise ValueError(f"no token of the text {text!r} can be guessed: it is empty, or of special tokens alone")
    found = [[] for _ in texts]
    by_length = sorted(range(len(texts)), key=lambda n: len(rows[n]))  # little padding
    questions = ((n, place) for n in by_length for place in guessed[n])
    was_training = model.training
    model.eval()
    with progress_bar(sum(map(len, guessed)), "guessing", "tokens") as bar:
        while some := list(islice(questions, batch_size)):
            for (n, _), value in zip(some, log_likelihoods(model, [rows[n] for n, _ in some], [place for _, place in some], tokenizer)):
                found[n].append(value)
            bar.update(len(some))
    model.train(was_training)
    return [_result(tokenizer, text, ids[places].tolist(), values) for text, ids, places, values in zip(texts, rows, guessed, found)]


def log_likelihoods(model, rows, places, tokenizer):
    """ln p of the token at one place of each row, given the rest of the row: rows, B of (T,) ids; places, B numbers -> B floats"""
    device = next(model.parameters()).device
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)  # (B, T)
    real = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]  # (B, T)
    at = torch.arange(len(rows)), torch.tensor(places)
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[at], ids[at] = ids[at], tokenizer.mask_token_id
    out = model(ids.to(device), real.long().to(device), labels=labels.to(device))  # logits (B, V): of the masked places alone
    return out.logits.float().log_softmax(dim=-1).gather(1, out.labels[:, None]).squeeze(1).tolist()


def _result(tokenizer, text, ids, values):
    tokens = [{"token": tokenizer.id_to_token(id), "id": id, "log_likelihood": value} for id, value in zip(ids, values)]
    return {"text": text, "tokens": tokens, "pseudo_log_likelihood": sum(values), "pseudo_perplexity": perplexity(values)}


def perplexity(log_likelihoods):
    """e^(- their mean).

    >>> perplexity([math.log(1 / 2), math.log(1 / 8)])
    4.0
    """
    return round(math.exp(min(-sum(log_likelihoods) / len(log_likelihoods), 700)), 6)


def main(args=None):
    """The command: the pseudo-perplexity of each text, and that of all; with --json one line a text."""
    parser = Parser(prog="python -m minibert perplexity", formatter_class=HelpFormatter,
                    description="The pseudo-perplexity of texts: each token masked in turn, and guessed from the others.",
                    epilog="1: each token was certain. As large as the vocabulary: nothing was known. Compare models with one vocabulary only.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, or one with a model and its tokenizer")
    parser.add_argument("text", metavar="TEXT", nargs="*", default=[], help="a text; '-' or none: each line of standard input is one")
    parser.add_argument("--tokens", action="store_true", help="show each token with its probability, too")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON a text, as pseudo_perplexity() returns it")
    args = parser.parse_args(args, rest="text")
    model, tokenizer = load_run(args.run)
    texts = [line for line in map(str.strip, sys.stdin) if line] if args.text in ([], ["-"]) else args.text
    if not texts:
        raise ValueError('there is no text: add one, such as "He broke the record."')
    results = pseudo_perplexity(model.to(choose_device("auto")), tokenizer, texts)
    style = TextStyle.of(sys.stdout)
    if args.tokens and not args.json:
        print(f"{'perplexity':>12}  text\n{'probability':>12}  token")
    for result in results:
        if args.json:
            print(json.dumps(result))
            continue
        print(f"{result['pseudo_perplexity']:12,.2f}  {style.visible(result['text']).replace(style.signs.white[0], ' ')}")
        for token in result["tokens"] * args.tokens:
            print(f"{math.exp(token['log_likelihood']):12.2g}  {style.visible(tokenizer.token_text(token['token']))}")
    if len(results) > 1 and not args.json:
        print(f"{perplexity([token['log_likelihood'] for result in results for token in result['tokens']]):12,.2f}  all {len(results):,} texts, "
              "token by token")

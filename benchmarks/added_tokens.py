"""How much longer encoding takes with hundreds to tens of thousands of added tokens.

    python benchmarks/added_tokens.py English.txt bpe
    python benchmarks/added_tokens.py Chinese.txt wordpiece --modes encode encode_texts

The vocabulary is trained on the first million characters of the file, which are then encoded. The
added tokens are made up of the text's letters ("made up": hardly one occurs), or words of
the text ("words"; as many as it has). The numbers of added tokens take turns in each round; a ratio
is the median over the rounds. Cold is the first text of a new tokenizer, warm is the same again.
"""
import argparse
import random
import re
import time
from pathlib import Path
from statistics import median

from common import markdown

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.added_tokens import AddedToken
from tokenizer.utils.cli import Parser, run

COUNTS = (0, 300, 3_000, 30_000)
MODES = {
    "encode_texts": lambda tokenizer, text: tokenizer.encode_texts([text]),
    "encode": lambda tokenizer, text: tokenizer.encode(text),
    "encode_batch": lambda tokenizer, text: tokenizer.encode_batch(re.split("\n|(?<=。)", text)),
}


def made_up_terms(text, count):
    rng = random.Random(count)
    letters = sorted({char for char in text.lower() if char.isalpha()})
    lengths = (6, 12) if text.isascii() or "e" in letters else (2, 4)
    return ["".join(rng.choices(letters, k=rng.randint(*lengths))) for _ in range(count)]


def words_of(text, count):
    return random.Random(count).choices(re.findall(r"\w{6,}", text.lower()), k=count)


TERMS = {"made up": made_up_terms, "words": words_of}


def train(kind, text):
    if kind == "bpe":
        return ByteLevelBPE.train_from_iterator([text], 20_000, show_progress=False)
    return WordPiece.train_from_iterator([text], 20_000, limit_alphabet=5_000, show_progress=False)


def with_terms(base, terms):
    """Return a tokenizer that finds the terms as ``add_tokens`` of other libraries adds them."""
    terms = sorted(set(terms) - base.get_vocab().keys())
    added = [AddedToken(term, special=False, normalized=True) for term in terms]
    tokens = [*base.get_vocab(), *terms]
    if base.kind == "bpe":
        return ByteLevelBPE(tokens, base.merges, added=added)
    return WordPiece(tokens, added=added, not_pieces=terms)


def timed(work, *args):
    start = time.perf_counter()
    work(*args)
    return time.perf_counter() - start


def measure(base, text, terms_of, mode, rounds):
    """Return the cells of a row: seconds without added tokens, then ratios to them, cold / warm."""
    seconds = {count: [] for count in COUNTS}  # (cold, warm) of each round
    terms = {count: terms_of(text, count) for count in COUNTS}
    for _ in range(rounds):
        for count in COUNTS:
            tokenizer = with_terms(base, terms[count])
            seconds[count].append([timed(MODES[mode], tokenizer, text) for _ in ("cold", "warm")])
    cells = ["{:.3f} / {:.3f} s".format(*map(median, zip(*seconds[0])))]
    for count in COUNTS[1:]:
        ratios = [[ours / none for ours, none in zip(*pair)]
                  for pair in zip(seconds[count], seconds[0])]
        cells.append("{:.2f} / {:.2f}".format(*map(median, zip(*ratios))))
    return cells


def main(args=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("kind", choices=["bpe", "wordpiece"])
    parser.add_argument("--terms", nargs="*", choices=TERMS, default=list(TERMS))
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(args)
    text = args.text.read_text(encoding="utf-8")[:1_000_000]
    base = train(args.kind, text)
    rows = []
    for terms in args.terms:
        for mode in args.modes:
            cells = measure(base, text, TERMS[terms], mode, args.rounds)
            rows.append([args.kind, args.text.stem, terms, mode, *cells])
    heading = ["tokenizer", "text", "terms", "mode", *(f"{count:,} added" for count in COUNTS)]
    print(markdown(heading, rows), end="")


if __name__ == "__main__":
    run(main)

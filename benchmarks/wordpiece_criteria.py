"""Compare WordPiece trained by frequency and by likelihood, on text that training did not see.

    python benchmarks/wordpiece_criteria.py "$MINIBERT_CORPORA"/books/*.txt \\
        --held-out emma dracula --vocab-sizes 8000 30522

The result does not depend on the speed of the machine.

- tokens per word: mean number of pieces of a word, as BERT's normalizer and pre-tokenizer split it
- characters per token: of the normalized words, without white space
- unk share: share of the words that cannot be spelled ([UNK])
- bits per character: of the test text, under the unigram model of the training text encoded with
  the same vocabulary (add-one smoothing). This is what the likelihood criterion aims at, and unlike
  bits per token it can be compared across vocabularies.
- in use: share of the vocabulary that occurs in the encoded training text; the other entries are
  only parts of longer pieces
"""
import argparse
import hashlib
import math
import platform
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy
from common import markdown, markdown_row, write_json

from tokenizer import WordPiece
from tokenizer.pretokenize import bert_words
from tokenizer.utils.cli import run

COLUMNS = {"vocabulary": "{:,}", "tokens_per_word": "{:.4f}", "characters_per_token": "{:.3f}",
           "unk_share": "{:.3%}", "bits_per_character": "{:.4f}", "in_use": "{:.1%}"}


def main(args=None):
    args = parse(args)
    train = [file for file in args.files if file.stem not in args.held_out]
    test = [file for file in args.files if file.stem in args.held_out]
    if not train or len(test) < len(args.held_out):
        sys.exit(f"error: each name of --held-out {' '.join(args.held_out)} must be one of the "
                 "files, without its ending, and one file must remain for training; the files are "
                 f"{' '.join(file.stem for file in args.files)}")
    normalizer = WordPiece(["[UNK]"], ["[UNK]"]).normalizer
    train_words = count_words(train, normalizer)
    test_words = count_words(test, normalizer)
    names = [name.replace("_", " ") for name in COLUMNS]
    print(f"trained on {size(train):.1f} MB, tested on {size(test):.1f} MB: "
          f"{sum(test_words.values()):,} words\n")
    print(markdown(["requested", "criterion", *names], []), end="")
    rows = []
    for vocab_size in args.vocab_sizes:
        for criterion in ("frequency", "likelihood"):
            tokenizer = WordPiece.train(train, vocab_size, args.min_frequency,
                                        criterion=criterion, show_progress=False)
            row = {"asked_for": vocab_size, "criterion": criterion,
                   **measure(tokenizer, train_words, test_words),
                   "summary": tokenizer.training_summary}
            rows.append(row)
            cells = [form.format(row[name]) for name, form in COLUMNS.items()]
            print(markdown_row([f"{vocab_size:,}", criterion, *cells]), flush=True)
    print()
    for row in rows:
        print(f"{row['criterion']}: {row['summary']}")
    if args.out:
        result = {"date": str(date.today()), "python": platform.python_version(),
                  "numpy": numpy.__version__, "min_frequency": args.min_frequency,
                  "train": describe(train), "held_out": describe(test),
                  "held_out_words": sum(test_words.values()), "rows": rows}
        write_json(args.out, result)


def parse(args):
    parser = argparse.ArgumentParser(
        description="Compare WordPiece by frequency and by likelihood on unseen text.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument("--held-out", nargs="+", required=True, metavar="NAME",
                        help="files to test on: their names without .txt")
    parser.add_argument("--vocab-sizes", nargs="+", type=int, default=[8000, 30522])
    parser.add_argument("--min-frequency", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON")
    return parser.parse_args(args)


def count_words(files, normalizer):
    """Return a Counter of the normalized words of files."""
    counts = Counter()
    for file in files:
        text, _ = normalizer.normalize(file.read_text(encoding="utf-8"))
        counts.update(text[start:end] for start, end in bert_words(text))
    return counts


def measure(tokenizer, train_words, test_words):
    """Return the numbers of a row from the word counts of the training and test texts."""
    train_tokens = token_counts(tokenizer, train_words)
    test_tokens = token_counts(tokenizer, test_words)
    num_words = sum(test_words.values())
    num_characters = sum(len(word) * count for word, count in test_words.items())
    num_tokens = sum(test_tokens.values())
    smoothed_total = sum(train_tokens.values()) + tokenizer.vocab_size
    bits = -sum(count * math.log2((train_tokens[token] + 1) / smoothed_total)
                for token, count in test_tokens.items())
    return {"vocabulary": tokenizer.vocab_size,
            "tokens_per_word": num_tokens / num_words,
            "characters_per_token": num_characters / num_tokens,
            "unk_share": test_tokens[tokenizer.unk_token_id] / num_words,
            "bits_per_character": bits / num_characters,
            "in_use": len(train_tokens) / tokenizer.vocab_size}


def token_counts(tokenizer, words):
    """Return a Counter of ids from a Counter of words."""
    counts = Counter()
    for word, count in words.items():
        for token in tokenizer.encode_ids(word):
            counts[token] += count
    return counts


def describe(files):
    return {file.name: {"bytes": file.stat().st_size,
                        "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in files}


def size(files):
    """Return the total size in MB."""
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    run(main)

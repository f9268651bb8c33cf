"""WordPiece by frequency and by likelihood, compared on text that the training did not see.

    python benchmarks/wordpiece_criteria.py "$MINIBERT_CORPORA"/books/*.txt --held-out emma dracula --vocab-sizes 8000 30522

Nothing here depends on the speed of a machine: the same files give the same table.

- tokens a word: pieces that a held-out word becomes, on the average; a word is what BERT's normalizer and pre-tokenizer leave.
- characters a token: of the normalized words, white space not counted.
- [UNK]: share of the held-out words that cannot be spelled.
- bits a character: of the held-out text, under the unigram model that the training text gives when it is encoded with the same
  vocabulary (one is added to each count). This is what the criterion of likelihood is after, and it may be compared
  across vocabularies, unlike bits a token.
- in use: share of the vocabulary that occurs when the training text is encoded. The rest are parts of longer pieces.
"""
import argparse
import hashlib
import json
import math
import platform
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tokenizers of this checkout, installed or not
from tokenizer import WordPiece  # noqa: E402
from tokenizer.pretokenize import bert_words  # noqa: E402

COLUMNS = {"vocabulary": "{:,}", "tokens_per_word": "{:.4f}", "characters_per_token": "{:.3f}", "unk_share": "{:.3%}",
           "bits_per_character": "{:.4f}", "in_use": "{:.1%}"}


def main(args=None):
    args = parse(args)
    train = [file for file in args.files if file.stem not in args.held_out]
    held_out = [file for file in args.files if file.stem in args.held_out]
    if not train or len(held_out) < len(args.held_out):
        sys.exit(f"error: of --held-out {' '.join(args.held_out)} each must be the name of one of the files, without its ending, "
                 f"and one file must be left to train on; the files are {' '.join(file.stem for file in args.files)}")
    rows, normalizer = [], WordPiece(["[UNK]"], ["[UNK]"]).normalizer
    seen, unseen = count_words(train, normalizer), count_words(held_out, normalizer)
    print(f"trained on {size(train):.1f} MB, held out {size(held_out):.1f} MB: {sum(unseen.values()):,} words\n\n"
          f"| asked for | criterion | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}")
    for vocab_size in args.vocab_sizes:
        for criterion in ("frequency", "likelihood"):
            tokenizer = WordPiece.train(train, vocab_size, args.min_frequency, criterion=criterion, show_progress=False)
            row = {"asked_for": vocab_size, "criterion": criterion, **measure(tokenizer, seen, unseen),
                   "summary": tokenizer.training_summary}
            rows.append(row)
            print(f"| {vocab_size:,} | {criterion} | {' | '.join(form.format(row[name]) for name, form in COLUMNS.items())} |", flush=True)
    print("\n" + "\n".join(f"{row['criterion']}: {row['summary']}" for row in rows))
    if args.out:
        result = {"date": str(date.today()), "python": platform.python_version(), "numpy": numpy.__version__,
                  "min_frequency": args.min_frequency, "train": describe(train), "held_out": describe(held_out),
                  "held_out_words": sum(unseen.values()), "rows": rows}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def parse(args):
    parser = argparse.ArgumentParser(description="WordPiece by frequency and by likelihood, on held-out text.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument("--held-out", nargs="+", required=True, metavar="NAME", help="files not to train on: their names without .txt")
    parser.add_argument("--vocab-sizes", nargs="+", type=int, default=[8000, 30522])
    parser.add_argument("--min-frequency", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON")
    return parser.parse_args(args)


def count_words(files, normalizer):
    """Files -> Counter of normalized words."""
    counts = Counter()
    for file in files:
        text, _ = normalizer.normalize(file.read_text(encoding="utf-8"))
        counts.update(text[start:end] for start, end in bert_words(text))
    return counts


def measure(tokenizer, seen, unseen):
    """Word counts of training and held-out text -> the numbers of one row."""
    trained = token_counts(tokenizer, seen)
    tokens = token_counts(tokenizer, unseen)
    words, characters = sum(unseen.values()), sum(len(word) * count for word, count in unseen.items())
    total, pieces = sum(tokens.values()), sum(trained.values()) + tokenizer.vocab_size
    bits = -sum(count * math.log2((trained[token] + 1) / pieces) for token, count in tokens.items())
    return {"vocabulary": tokenizer.vocab_size, "tokens_per_word": total / words, "characters_per_token": characters / total,
            "unk_share": tokens[tokenizer.unk_token_id] / words, "bits_per_character": bits / characters,
            "in_use": len(trained) / tokenizer.vocab_size}


def token_counts(tokenizer, words):
    """Counter of words -> Counter of ids."""
    counts = Counter()
    for word, count in words.items():
        for token in tokenizer.encode_ids(word):
            counts[token] += count
    return counts


def describe(files):
    return {file.name: {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in files}


def size(files):
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()

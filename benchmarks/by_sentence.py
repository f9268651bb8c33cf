"""Split SST-2 again so that no sentence is in both files.

    python benchmarks/by_sentence.py "$MINIBERT_CORPORA"/../tasks/sst2 runs/by-sentence/sst2
    python benchmarks/finetuning.py RUN --tasks runs/by-sentence --on sst2 \\
        --out runs/by-sentence/finetuning.json

The rows of SST-2 are phrases that a parser cut out of some thousands of sentences (Socher et al.
2013, section 3), each with its own label. If the dev file is drawn from the rows, it has phrases of
sentences in the training file, and memorizing those is rewarded. The files do not say which phrases
belong to one sentence, but the words show it:

- rows that share WORDS consecutive words belong to one sentence, and so do rows that share them
  with a third row
- of each sentence drawn for the dev file only the longest row is kept (the sentence or most of it,
  as in GLUE's own dev file)
- a row that is too short for this is removed from the training file if it occurs in a dev sentence
"""
import random
from collections import defaultdict
from pathlib import Path

import common  # noqa: F401  (finds this checkout)

from minibert.finetuning.labeled_files import read_examples
from tokenizer.utils.cli import Parser, run
from tokenizer.utils.files import atomic_write, check_writable

WORDS = 5


def main(args=None):
    parser = Parser(description="Split SST-2 again so that no sentence is in both files.")
    parser.add_argument("folder", type=Path, help="folder with SST-2's train.tsv and dev.tsv")
    parser.add_argument("out", type=Path, help="folder for the two new files")
    parser.add_argument("--dev", type=int, default=3000, metavar="N",
                        help="sentences in the dev file")
    args = parser.parse_args(args)
    if any((args.out / f"{part}.tsv").exists() for part in ("train", "dev")):
        raise ValueError(f"{args.out} holds such files already: choose another folder")
    check_writable(args.out)
    rows = rows_of(args.folder / "train.tsv") + rows_of(args.folder / "dev.tsv")
    train, dev = cut(rows, args.dev)
    args.out.mkdir(parents=True, exist_ok=True)
    for part, part_rows in (("train", train), ("dev", dev)):
        lines = "".join(f"{text}\t{label}\n" for text, label in part_rows)
        atomic_write(args.out / f"{part}.tsv", "sentence\tlabel\n" + lines)
    print(f"{len(rows):,} rows; {args.out}: train.tsv with {len(train):,} rows, dev.tsv with "
          f"{len(dev):,} sentences")


def rows_of(path):
    """Return the (text, label) pairs of a file of SST-2."""
    examples = read_examples(path)
    return list(zip(examples.texts, examples.labels))


def ngrams(text, n=WORDS):
    """Return all sequences of n consecutive words, none for a shorter text.

    "a b c d e f" -> [("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")]
    """
    words = text.split()
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def sentences(texts):
    """Group texts by sentence: a list of lists of indices, without texts of fewer than WORDS words.

    Union-find: each text points to an earlier one of its sentence or to itself, and following the
    pointers leads to the first one.
    """
    parent = list(range(len(texts)))

    def find(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]  # shorten the path for the next time
            i = parent[i]
        return i

    first_with = {}  # n-gram -> index of the first text that has it
    for i, text in enumerate(texts):
        for ngram in ngrams(text):
            a = find(first_with.setdefault(ngram, i))
            b = find(i)
            parent[max(a, b)] = min(a, b)
    groups = defaultdict(list)
    for i, text in enumerate(texts):
        if ngrams(text):
            groups[find(i)].append(i)
    return list(groups.values())


def cut(rows, num_dev, seed=0):
    """Split (text, label) rows into training rows and ``num_dev`` dev rows."""
    texts = [text for text, _ in rows]
    groups = sentences(texts)
    if not 0 < num_dev < len(groups):
        raise ValueError(f"{num_dev} sentences for dev.tsv, but there are {len(groups)} in all")
    random.Random(seed).shuffle(groups)
    dev_groups = groups[:num_dev]
    in_dev = {i for group in dev_groups for i in group}
    short_phrases = {words for i in in_dev for n in range(1, WORDS)
                     for words in ngrams(texts[i], n)}
    train = [row for i, row in enumerate(rows)
             if i not in in_dev and tuple(row[0].split()) not in short_phrases]
    dev = [rows[max(group, key=lambda i: len(texts[i].split()))] for group in dev_groups]
    return train, dev


if __name__ == "__main__":
    run(main)

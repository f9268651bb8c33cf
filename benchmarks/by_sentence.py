"""SST-2 cut anew, so that no sentence is in both files: what is held out are whole sentences that the model has seen no part of.

    python benchmarks/by_sentence.py "$MINIBERT_CORPORA"/../tasks/sst2 runs/by-sentence/sst2
    python benchmarks/finetuning.py RUN --tasks runs/by-sentence --on sst2 --out runs/by-sentence/finetuning.json

The rows of SST-2 are phrases, cut out of some thousands of sentences by a parser (Socher et al. 2013, section 3), each with a label of its
own. A dev file drawn from the rows has phrases of the sentences of the training file, and a model is paid for learning those by heart. Which
phrases belong to one sentence is not in the file; it shows in the words:

- rows that share WORDS words in a row are of one sentence, and so are rows that share them with a third one
- of the sentences drawn for the dev file the longest row is kept (the sentence, or most of it, as in GLUE's own dev file), the others are left out
- a shorter row is left out of the training file where one of those sentences has its words in a row
"""
import argparse
import random
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, installed or not
from minibert.finetuning.labeled_files import read_examples  # noqa: E402
from tokenizer.utils.cli import run  # noqa: E402
from tokenizer.utils.files import atomic_write, check_writable  # noqa: E402

WORDS = 5


def main(args=None):
    parser = argparse.ArgumentParser(description="SST-2 cut anew, so that no sentence is in both files.")
    parser.add_argument("folder", type=Path, help="with SST-2's train.tsv and dev.tsv")
    parser.add_argument("out", type=Path, help="folder for the two new files")
    parser.add_argument("--dev", type=int, default=3000, metavar="N", help="sentences of the dev file (default 3000)")
    args = parser.parse_args(args)
    if any((args.out / f"{part}.tsv").exists() for part in ("train", "dev")):
        raise ValueError(f"{args.out} holds such files already: choose another folder for the new ones")
    check_writable(args.out)
    rows = [row for part in ("train", "dev") for row in rows_of(args.folder / f"{part}.tsv")]
    train, dev = cut(rows, args.dev)
    args.out.mkdir(parents=True, exist_ok=True)
    for part, kept in (("train", train), ("dev", dev)):
        atomic_write(args.out / f"{part}.tsv", "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in kept))
    print(f"{len(rows):,} rows; {args.out}: train.tsv with {len(train):,}, dev.tsv with {len(dev):,} whole sentences")


def rows_of(path):
    """[(text, label), ...] of a file of SST-2."""
    examples = read_examples(path)
    return list(zip(examples.texts, examples.labels))


def runs(text, length=WORDS):
    """All runs of so many words: "a b c d e f" -> [("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")]; none of a shorter text."""
    words = text.split()
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


def sentences(texts):
    """Which texts are of one sentence -> [[numbers of texts], ...], those of fewer than WORDS words in none.

    Each text points to one before it in its sentence, or to itself; following that leads to the first one (union and find).
    """
    first = list(range(len(texts)))

    def find(number):
        while first[number] != number:
            first[number] = first[first[number]]  # a shorter way next time
            number = first[number]
        return number

    seen = {}  # run of words -> a text that has it
    for number, text in enumerate(texts):
        for words in runs(text):
            one, other = find(seen.setdefault(words, number)), find(number)
            first[max(one, other)] = min(one, other)
    groups = defaultdict(list)
    for number, text in enumerate(texts):
        if runs(text):
            groups[find(number)].append(number)
    return list(groups.values())


def cut(rows, wanted, seed=0):
    """rows [(text, label), ...] -> (rows of the training file in their order, rows of the dev file). ValueError for too few sentences."""
    texts = [text for text, _ in rows]
    groups = sentences(texts)
    if not 0 < wanted < len(groups):
        raise ValueError(f"{wanted} sentences for dev.tsv, but there are {len(groups)} in all")
    random.Random(seed).shuffle(groups)
    held_out = {number for group in groups[:wanted] for number in group}
    taken = {words for number in held_out for length in range(1, WORDS) for words in runs(texts[number], length)}
    train = [row for number, row in enumerate(rows) if number not in held_out and tuple(row[0].split()) not in taken]
    return train, [rows[max(group, key=lambda number: len(texts[number].split()))] for group in groups[:wanted]]


if __name__ == "__main__":
    run(main)

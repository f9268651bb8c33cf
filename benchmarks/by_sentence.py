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

The search of transfer.py holds out sentences of the training file in the same way.
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
    texts = [text for text, _ in rows]
    train, dev = hold_out(texts, sentences(texts), args.dev)
    args.out.mkdir(parents=True, exist_ok=True)
    for part, indices in (("train", train), ("dev", dev)):
        lines = "".join("\t".join(rows[i]) + "\n" for i in indices)
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


def count_shared(texts, others):
    """Return how many texts have WORDS consecutive words in common with one of the others.

    >>> count_shared(["a b c d e f", "a b c d", "f e d c b"], ["x b c d e f"])
    1
    """
    known = {ngram for text in others for ngram in ngrams(text)}
    return sum(not known.isdisjoint(ngrams(text)) for text in texts)


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


def hold_out(texts, groups, num_sentences, seed=0):
    """Return the indices of texts to train on, and of the longest text of each held-out sentence.

    groups: the ``sentences`` of the texts, of which ``num_sentences`` are drawn. No text to train
    on is part of one of them or contains one.
    """
    if not 0 < num_sentences < len(groups):
        raise ValueError(f"{num_sentences} sentences to hold out, but there are {len(groups)} in "
                         "all")
    drawn = [*groups]
    random.Random(seed).shuffle(drawn)
    drawn = drawn[:num_sentences]
    held_out = {i for group in drawn for i in group}
    short_phrases = {words for i in held_out for n in range(1, WORDS)
                     for words in ngrams(texts[i], n)}
    rest = [i for i, text in enumerate(texts)
            if i not in held_out and tuple(text.split()) not in short_phrases]
    longest = [max(group, key=lambda i: len(texts[i].split())) for group in drawn]
    return rest, longest


if __name__ == "__main__":
    run(main)

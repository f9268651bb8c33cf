"""Check the near-duplicate filter: compare its decisions with the true similarities.

    python benchmarks/near_duplicates.py pydocs --filters short,duplicates
    python benchmarks/near_duplicates.py "$MINIBERT_CORPORA"/books --filters short,duplicates \\
        --documents 40000

The result does not depend on the speed of the machine.

- near duplicates: documents with a true similarity of 0.8 or more to an earlier one that was kept
- found: documents that the filter drops, rightly or not
- judged otherwise: documents below 0.8 that were dropped, or others that were kept, and the range
  of their true similarities
"""
import argparse
from collections import Counter, defaultdict
from itertools import chain, islice

import common  # noqa: F401  (finds this checkout)
from tqdm import tqdm

from data import open_corpus
from data.quality.filters import Filters
from data.quality.near_duplicates import SIMILARITY, NearDuplicates, shingles
from tokenizer.utils.cli import run


class ExactIndex:
    """The kept texts by shingle. Only texts that share a shingle are compared."""

    def __init__(self):
        self.sizes = []  # number of shingles of each text
        self.with_shingle = defaultdict(list)  # shingle -> indices of texts

    def nearest(self, text_shingles):
        """Return the highest Jaccard similarity to a kept text, 0 if none shares a shingle."""
        matches = (self.with_shingle.get(shingle, ()) for shingle in text_shingles)
        num_shared = Counter(chain.from_iterable(matches))
        size = len(text_shingles)
        return max((n / (self.sizes[i] + size - n) for i, n in num_shared.items()), default=0.0)

    def keep(self, text_shingles):
        for shingle in text_shingles:
            self.with_shingle[shingle].append(len(self.sizes))
        self.sizes.append(len(text_shingles))


def evaluate_file(documents, show_progress=True):
    """Yield (true similarity to the nearest kept text, whether it is dropped) per document."""
    index = ExactIndex()
    drops = NearDuplicates()
    for text in tqdm(documents, unit=" documents", disable=not show_progress):
        text_shingles = {hash(shingle) for shingle in shingles(text)}  # 64 bits, not five words
        dropped = drops(text)
        yield index.nearest(text_shingles), dropped
        if not dropped:
            index.keep(text_shingles)


def summary(results):
    """Return the results of ``evaluate_file`` as a line.

    [(0.9, True), (0.75, True), (0.0, False)]
    -> "3 documents: 1 near duplicates, 2 found; 1 judged otherwise, between 0.750 and 0.750"
    """
    num_near = sum(similarity >= SIMILARITY for similarity, _ in results)
    num_found = sum(dropped for _, dropped in results)
    wrong = [similarity for similarity, dropped in results
             if (similarity >= SIMILARITY) != dropped]
    line = (f"{len(results):,} documents: {num_near:,} near duplicates, {num_found:,} found; "
            f"{len(wrong):,} judged otherwise")
    return line + (f", between {min(wrong):.3f} and {max(wrong):.3f}" if wrong else "")


def main(args=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a name, a file or a folder, as for train.py --corpus")
    parser.add_argument("--documents", type=int, help="only the first N documents (default: all)")
    parser.add_argument("--filters", default="",
                        help="filters to apply first (data/quality/filters.py)")
    args = parser.parse_args(args)
    documents = open_corpus(args.corpus).documents("all")
    if args.filters:
        documents = Filters(args.filters).keep(documents)
    print(summary(list(evaluate_file(islice(documents, args.documents)))))


if __name__ == "__main__":
    run(main)

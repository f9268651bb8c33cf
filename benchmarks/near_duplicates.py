"""How right the filter for near duplicates is: its estimates held against the true similarity, which is computed for each pair.

    python benchmarks/near_duplicates.py pydocs --filters short,duplicates
    python benchmarks/near_duplicates.py "$MINIBERT_CORPORA"/books --filters short,duplicates --documents 40000

Nothing here depends on the speed of a machine: the same texts give the same line. (The text of pydocs is that of the installed packages.)

- near duplicates: documents with a true similarity of 0.8 or more to an earlier one that the filter kept.
- found: documents that the filter drops, rightly or not.
- judged otherwise: documents dropped below 0.8 or kept from there on, and the true similarities between which they all lie.
"""
import argparse
import sys
from collections import Counter, defaultdict
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # the filter of this checkout, installed or not
from data import open_corpus  # noqa: E402
from data.quality.filters import Filters  # noqa: E402
from data.quality.near_duplicates import SIMILARITY, NearDuplicates, shingles  # noqa: E402


class Exact:
    """The texts that were kept, by their shingles: what they share is counted, so each pair is compared and most cost nothing."""

    def __init__(self):
        self.sizes, self.with_shingle = [], defaultdict(list)  # of each text its number of shingles; shingle -> numbers of texts

    def nearest(self, text_shingles):
        """The true similarity of a text to the one that is most like it, 0 where none shares a shingle (``near_duplicates.jaccard``)."""
        shared = Counter(chain.from_iterable(self.with_shingle.get(shingle, ()) for shingle in text_shingles))
        return max((both / (self.sizes[number] + len(text_shingles) - both) for number, both in shared.items()), default=0.0)

    def keep(self, text_shingles):
        for shingle in text_shingles:
            self.with_shingle[shingle].append(len(self.sizes))
        self.sizes.append(len(text_shingles))


def evaluate_file(documents, show_progress=True):
    """Yield (true similarity to the nearest earlier text that was kept, whether the filter drops it) for each document."""
    exact, drops = Exact(), NearDuplicates()
    for text in tqdm(documents, unit=" documents", disable=not show_progress):
        text_shingles = {hash(shingle) for shingle in shingles(text)}  # 64 bits in place of five words
        dropped = drops(text)
        yield exact.nearest(text_shingles), dropped
        if not dropped:
            exact.keep(text_shingles)


def summary(results):
    """``[(0.9, True), (0.75, True), (0.0, False)] -> "3 documents: 1 near duplicates, 2 found; 1 evaluate_file otherwise, between 0.750 and 0.750"``"""
    wrong = [similarity for similarity, dropped in results if (similarity >= SIMILARITY) != dropped]
    line = (f"{len(results):,} documents: {sum(similarity >= SIMILARITY for similarity, _ in results):,} near duplicates, "
            f"{sum(dropped for _, dropped in results):,} found; {len(wrong):,} judged otherwise")
    return line + (f", between {min(wrong):.3f} and {max(wrong):.3f}" if wrong else "")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="a name, a file or a folder, as for train.py --corpus")
    parser.add_argument("--documents", type=int, default=None, help="the first so many of it (default: all)")
    parser.add_argument("--filters", default="", help="of what these filters keep (data/quality/filters.py)")
    args = parser.parse_args(arguments)
    documents = open_corpus(args.corpus).documents("all")
    documents = Filters(args.filters).keep(documents) if args.filters else documents
    print(summary(list(evaluate_file(islice(documents, args.documents)))))


if __name__ == "__main__":
    main()

"""Learning merges from word counts: the core that both trainers share (Sennrich et al. 2016, algorithm 1).

Start from single characters. Again and again, take the pair of neighbours that occurs most often in all words, make it
one new token, and put it in the pair's place. The words never change their number, so a pair's count is the sum of
the counts of the words it stands in.

``reference.py`` has the same in thirty lines, which counts every pair anew at every merge. This one keeps the counts and
corrects them only where a merge changed something, and finds the best pair with a heap. Both give the same merges.
"""
import contextlib
import gc
import heapq
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby


@dataclass
class LearnedMerges:
    """``tokens`` in order of their ids; ``merges`` as pairs of ids in the order learned; ``counts``: how often each
    pair occurred when it was merged; ``stopped``: why it ended."""
    tokens: list
    merges: list
    counts: list
    stopped: str


def learn_merges(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(), progress=None):
    """Merge the most frequent pair until the vocabulary has ``vocab_size`` tokens.

    words: list of (ids, count), each word as ids into ``tokens``, or as a string of the characters with these code points.
    tokens: the tokens to start from, in order of ids.
    join: makes the string of a new token from its two parts.  forbidden: strings that must not become tokens.
    progress: called after each merge with the size of the vocabulary.

    Of pairs with equal counts the one with the smaller left id, then the smaller right id, is taken: the result
    depends on nothing but the counts. Where two merges give the same string, they share one id.

    >>> learn_merges([([0, 1, 0], 3), ([0, 1], 2)], ["a", "b"], vocab_size=4)
    LearnedMerges(tokens=['a', 'b', 'ab', 'aba'], merges=[(0, 1), (2, 0)], counts=[5, 3], stopped='vocabulary is full')
    """
    with garbage_collection_paused():
        return _learn_merges(words, list(tokens), vocab_size, min_frequency, join, forbidden, progress)


@contextlib.contextmanager
def garbage_collection_paused():
    """Millions of small objects are made here and none refers to itself: a look through all of them, again and again, finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _learn_merges(words, tokens, vocab_size, min_frequency, join, forbidden, progress):
    merges, counts = [], []
    ids = {token: i for i, token in enumerate(tokens)}
    pairs = PairCounts(words)
    # A heap entry may be out of date: counts of pairs in the heap fall when other merges take their characters. So
    # what comes out is checked, and goes back with its present count. Counts that rise are pushed anew.
    heap = [(-count, pair) for pair, count in pairs.counts.items()]
    heapq.heapify(heap)
    while len(tokens) < vocab_size:
        if not heap:
            return LearnedMerges(tokens, merges, counts, "no pair is left")
        count, pair = heapq.heappop(heap)
        count, present = -count, pairs.counts.get(pair, 0)
        if present != count:
            if present:
                heapq.heappush(heap, (-present, pair))
            continue
        if count < min_frequency:
            return LearnedMerges(tokens, merges, counts, f"no pair occurs {min_frequency} times")
        left, right = map(ord, pair)
        token = join(tokens[left], tokens[right])
        if token in forbidden:
            continue
        new = ids.setdefault(token, len(tokens))
        if new == len(tokens):
            tokens.append(token)
        merges.append((left, right))
        counts.append(count)
        for risen in pairs.merge(pair, chr(new)):
            heapq.heappush(heap, (-pairs.counts[risen], risen))
        if progress:
            progress(len(tokens))
    return LearnedMerges(tokens, merges, counts, "vocabulary is full")


class PairCounts:
    """How often each pair of neighbours occurs (``counts``), and in which words (``where``), kept true under merges.

    A word is held as a string in which the character with code point i stands for token i, so a pair is a string of
    two, and merging is to split at the pair and to join with the new token. Both run at the speed of C; and they go from
    the left and use no character twice, which is what a merge must do: "aaa".split("aa") -> ["", "a"].

    >>> pairs = PairCounts([([97, 98, 97, 98], 3)])     # abab, three times
    >>> dict(pairs.counts), pairs.merge("ab", "X"), pairs.counts["XX"]
    ({'ab': 6, 'ba': 3}, ['XX'], 3)
    """

    def __init__(self, words):
        self.words = [ids if isinstance(ids, str) else "".join(map(chr, ids)) for ids, _ in words]
        self.frequencies = [count for _, count in words]
        self.counts = defaultdict(int)
        self.where = defaultdict(list)  # numbers of words; may name a word twice, or one that has lost the pair
        for number, (word, frequency) in enumerate(zip(self.words, self.frequencies)):
            for pair in map(str.__add__, word, word[1:]):
                self.counts[pair] += frequency
                self.where[pair].append(number)

    def merge(self, pair, new):
        """Put ``new`` in the place of ``pair`` in all words; return the pairs that occur more often than before."""
        where, words, changes = self.where, self.words, defaultdict(int)
        left, right = pair
        for number, _ in groupby(where.pop(pair)):  # a word in which the pair is made often is named as often, in a row
            parts = words[number].split(pair)  # what stands between the places of the pair
            frequency = self.frequencies[number]
            if len(parts) == 2:  # nearly always there is one place: ``changed_neighbours`` without a call
                before, after = parts
                if before:
                    made = before[-1] + new
                    changes[before[-1] + left] -= frequency
                    changes[made] += frequency
                    where[made].append(number)
                if after:
                    made = new + after[0]
                    changes[right + after[0]] -= frequency
                    changes[made] += frequency
                    where[made].append(number)
            else:
                for gone, made in changed_neighbours(parts, pair, new):
                    changes[gone] -= frequency
                    changes[made] += frequency
                    where[made].append(number)
            words[number] = new.join(parts)
        counts = self.counts
        for neighbours, change in changes.items():
            counts[neighbours] += change
        del counts[pair]  # leftmost first leaves none: of a a a only one a remains beside the new aa
        return [neighbours for neighbours, change in changes.items() if change > 0 and counts[neighbours] > 0]


def changed_neighbours(parts, pair, new):
    """A word split at the places of a pair -> [(pair that is gone, pair in its stead), ...], both with a neighbour.

    >>> changed_neighbours(["c", "", "d"], "ab", "X")    # c a b a b d -> c X X d
    [('ca', 'cX'), ('ba', 'XX'), ('bd', 'Xd')]
    """
    left, right = pair
    last, changes = len(parts) - 1, []
    for place in range(last):
        before, after = parts[place], parts[place + 1]
        if before:
            changes.append((before[-1] + left, before[-1] + new))
        if after:
            changes.append((right + after[0], new + after[0]))
        elif place + 1 < last:
            changes.append((right + left, new + new))
    return changes

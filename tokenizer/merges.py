"""Learning merges from word counts: the core that both trainers share (Sennrich et al. 2016, algorithm 1).

Start from single characters. Again and again, take the pair of neighbours that occurs most often in all words, make it
one new token, and put it in the pair's place. The words never change their number, so a pair's count is the sum of
the counts of the words it stands in.

``reference.py`` has the same in thirty lines, which counts every pair anew at every merge. This one keeps the counts and
corrects them only where a merge changed something, and finds the best pair with a heap. Both give the same merges.
"""
import heapq
from collections import defaultdict
from dataclasses import dataclass


@dataclass
class LearnedMerges:
    """``tokens`` in order of their ids; ``merges`` as pairs of ids in the order learned; ``stopped``: why it ended."""
    tokens: list
    merges: list
    stopped: str


def learn_merges(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(), progress=None):
    """Merge the most frequent pair until the vocabulary has ``vocab_size`` tokens.

    words: list of (ids, count), each word as ids into ``tokens``.  tokens: the tokens to start from, in order of ids.
    join: makes the string of a new token from its two parts.  forbidden: strings that must not become tokens.
    progress: called after each merge with the size of the vocabulary.

    Of pairs with equal counts the one with the smaller left id, then the smaller right id, is taken: the result
    depends on nothing but the counts. Where two merges give the same string, they share one id.

    >>> learn_merges([([0, 1, 0], 3), ([0, 1], 2)], ["a", "b"], vocab_size=4)
    LearnedMerges(tokens=['a', 'b', 'ab', 'aba'], merges=[(0, 1), (2, 0)], stopped='vocabulary is full')
    """
    tokens, merges = list(tokens), []
    ids = {token: i for i, token in enumerate(tokens)}
    pairs = PairCounts(words)
    # A heap entry may be out of date: counts of pairs in the heap fall when other merges take their characters. So
    # what comes out is checked, and goes back with its present count. Counts that rise are pushed anew.
    heap = [(-count, pair) for pair, count in pairs.counts.items()]
    heapq.heapify(heap)
    while len(tokens) < vocab_size:
        if not heap:
            return LearnedMerges(tokens, merges, "no pair is left")
        count, pair = heapq.heappop(heap)
        count, present = -count, pairs.counts.get(pair, 0)
        if present != count:
            if present:
                heapq.heappush(heap, (-present, pair))
            continue
        if count < min_frequency:
            return LearnedMerges(tokens, merges, f"no pair occurs {min_frequency} times")
        token = join(tokens[pair[0]], tokens[pair[1]])
        if token in forbidden:
            continue
        new = ids.setdefault(token, len(tokens))
        if new == len(tokens):
            tokens.append(token)
        merges.append(pair)
        for risen in pairs.merge(pair, new):
            heapq.heappush(heap, (-pairs.counts[risen], risen))
        if progress:
            progress(len(tokens))
    return LearnedMerges(tokens, merges, "vocabulary is full")


class PairCounts:
    """How often each pair of neighbours occurs (``counts``), and in which words (``where``), kept true under merges."""

    def __init__(self, words):
        self.words = [list(ids) for ids, _ in words]
        self.frequencies = [count for _, count in words]
        self.counts = defaultdict(int)
        self.where = defaultdict(list)  # numbers of words; may name a word twice, or one that has lost the pair
        for number, (ids, count) in enumerate(words):
            for pair in zip(ids, ids[1:]):
                self.counts[pair] += count
                self.where[pair].append(number)

    def merge(self, pair, new):
        """Put ``new`` in the place of ``pair`` in all words; return the pairs that occur more often than before."""
        risen = set()
        for number in self.where.pop(pair):
            for neighbours in self._merge_word(number, pair, new):
                risen.add(neighbours)
                self.where[neighbours].append(number)
        del self.counts[pair]  # leftmost first leaves none: of a a a only one a remains beside the new aa
        # Pairs made in one place may be gone again from another: a a a a -> aa a a -> aa aa.
        return [neighbours for neighbours in risen if self.counts[neighbours] > 0]

    def _merge_word(self, number, pair, new):
        """Merge within one word, from the left; return the pairs that this made."""
        left, right = pair
        old, counts, frequency = self.words[number], self.counts, self.frequencies[number]
        merged, made, i, last = [], [], 0, len(old) - 1
        while i <= last:
            if i < last and old[i] == left and old[i + 1] == right:
                if merged:
                    counts[merged[-1], left] -= frequency
                    counts[merged[-1], new] += frequency
                    made.append((merged[-1], new))
                if i + 1 < last:
                    counts[right, old[i + 2]] -= frequency
                    counts[new, old[i + 2]] += frequency
                    made.append((new, old[i + 2]))
                merged.append(new)
                i += 2
            else:
                merged.append(old[i])
                i += 1
        self.words[number] = merged
        return made

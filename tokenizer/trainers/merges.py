"""Learning merges from word counts: the core of byte-level BPE and of WordPiece by frequency (Sennrich et al. 2016, algorithm 1).

Start from single characters. Again and again, take the pair of neighbours that occurs most often in all words, make it
one new token, and put it in the pair's place. A merge changes how a word is cut, never how often it occurs. So a pair's count
is the sum, over all words, of the word's count times the places where the pair stands. (Places may overlap: a a a holds the
pair a a twice, though only one can be merged.)

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


@garbage_collection_paused()
def learn_merges(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(), progress=None):
    """Merge the most frequent pair until the vocabulary has ``vocab_size`` tokens.

    words: list of (ids, count), each word as ids into ``tokens``, [97, 98], or as the string of the characters with these code
    points, "ab".
    tokens: the tokens to start from, in order of ids.
    join: makes the string of a new token from its two parts.  forbidden: strings that must not become tokens.
    progress: called after each merge with the size of the vocabulary.

    Of pairs with equal counts the one with the smaller left id, then the smaller right id, is taken: the result
    depends on nothing but the counts. Where a merge gives a string that is a token already, that one is used: this takes tokens of
    several characters to start from; from single ones no two merges ever give the same string (``likelihood.py`` says why).

    >>> learn_merges([([0, 1, 0], 3), ([0, 1], 2)], ["a", "b"], vocab_size=4)
    LearnedMerges(tokens=['a', 'b', 'ab', 'aba'], merges=[(0, 1), (2, 0)], counts=[5, 3], stopped='vocabulary is full')
    """
    tokens, merges, counts = list(tokens), [], []
    ids = {token: i for i, token in enumerate(tokens)}
    pairs = PairCounts(words, min_frequency)
    heap = pairs.entries()
    while len(tokens) < vocab_size:
        if not heap:
            return LearnedMerges(tokens, merges, counts, pairs.why_none())
        # A heap cannot change an entry. When other merges take a pair's characters its count falls, and its entry keeps the old
        # one, too high. So what comes out is compared with the true count, and goes back with that where it was too high.
        count, pair = heapq.heappop(heap)
        count, present = -count, pairs.counts.get(pair, 0)
        if present != count:
            if present:
                heapq.heappush(heap, (-present, pair))
            continue
        left, right = map(ord, pair)
        token = join(tokens[left], tokens[right])
        if token in forbidden:
            continue
        merges.append((left, right))
        counts.append(count)
        new = ids.setdefault(token, len(tokens))
        if new == len(tokens):
            tokens.append(token)
            for fresh in pairs.merge(pair, chr(new)):
                heapq.heappush(heap, (-pairs.counts[fresh], fresh))
        else:  # pairs with that token may occur more often now, also those that were too rare: count anew
            pairs.merge(pair, chr(new))
            pairs = PairCounts(zip(pairs.words, pairs.frequencies), min_frequency)
            heap = pairs.entries()
        if progress:
            progress(len(tokens))
    return LearnedMerges(tokens, merges, counts, "vocabulary is full")


class PairCounts:
    """How often each pair of neighbours occurs (``counts``), and in which words (``where``), kept true under merges.

    A word is held as a string in which the character with code point i stands for token i, so a pair is a string of
    two, and merging is to split at the pair and to join with the new token. Both run at the speed of C; and they go from
    the left and use no character twice, which is what a merge must do: "aaa".split("aa") -> ["", "a"].

    Pairs that occur less than ``min_frequency`` times are left out, and forgotten when they come to that: a pair occurs most often
    when it is new, after the merge that made the younger of its tokens. Later merges only take from it.

    >>> pairs = PairCounts([([97, 98, 97, 98], 3)], min_frequency=2)     # abab, three times
    >>> dict(pairs.counts), pairs.merge("ab", "X"), pairs.counts
    ({'ab': 6, 'ba': 3}, ['XX'], {'XX': 3})
    """

    def __init__(self, words, min_frequency):
        self.words, self.frequencies = [], []
        self.min_frequency = min_frequency
        counts, where = defaultdict(int), defaultdict(list)
        for number, (ids, frequency) in enumerate(words):
            word = ids if isinstance(ids, str) else "".join(map(chr, ids))
            self.words.append(word)
            self.frequencies.append(frequency)
            for pair in map(str.__add__, word, word[1:]):
                counts[pair] += frequency
                where[pair].append(number)
        self.counts = {}
        self.where = {}  # pair -> numbers of words; may name a word twice, or one that has lost the pair
        self._add(counts, where)

    def entries(self):
        """A heap of (-count, pair): the smallest entry is the most frequent pair."""
        heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(heap)
        return heap

    def merge(self, pair, new):
        """Put ``new`` in the place of ``pair`` in all words; return the pairs that this made, if they are frequent enough."""
        words, gone, made, where_made = self.words, defaultdict(int), defaultdict(int), defaultdict(list)
        left, right = pair
        del self.counts[pair]  # leftmost first leaves none: of a a a only one a remains beside the new aa
        for number, _ in groupby(self.where.pop(pair)):  # a word in which the pair is made often is named as often, in a row
            parts = words[number].split(pair)  # what stands between the places of the pair
            frequency = self.frequencies[number]
            if len(parts) == 2:  # nearly always there is one place: ``changed_neighbours`` without a call
                before, after = parts
                if before:
                    gone[before[-1] + left] += frequency
                    neighbours = before[-1] + new
                    made[neighbours] += frequency
                    where_made[neighbours].append(number)
                if after:
                    gone[right + after[0]] += frequency
                    neighbours = new + after[0]
                    made[neighbours] += frequency
                    where_made[neighbours].append(number)
            else:  # many places; or none, where another merge took the pair
                for old, neighbours in changed_neighbours(parts, pair, new):
                    gone[old] += frequency
                    made[neighbours] += frequency
                    where_made[neighbours].append(number)
            words[number] = new.join(parts)
        self._take(gone)
        return self._add(made, where_made)

    def _add(self, counts, where):
        """Keep the pairs that are frequent enough, and return them."""
        frequent = [pair for pair, count in counts.items() if count >= self.min_frequency]
        for pair in frequent:
            self.counts[pair], self.where[pair] = counts[pair], where[pair]
        return frequent

    def _take(self, counts):
        """Subtract from the pairs that are still known."""
        for pair, count in counts.items():
            present = self.counts.get(pair, 0) - count
            if present >= self.min_frequency:
                self.counts[pair] = present
            elif self.counts.pop(pair, None):
                del self.where[pair]

    def why_none(self):
        """Why no pair is left in ``counts``."""
        return f"no pair occurs {self.min_frequency} times" if any(len(word) > 1 for word in self.words) else "no pair is left"


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

"""Learn merges from word counts: the training of byte-level BPE, and of WordPiece by frequency.

The algorithm is byte-pair encoding (Sennrich et al. 2016, algorithm 1):

    1. Spell every word as a sequence of single-character tokens.
    2. Find the pair of adjacent tokens that occurs most often in all words.
    3. Add that pair to the vocabulary as a new token, and replace the pair with it in all words.
    4. Repeat from 2 until the vocabulary is full.

A word that occurs 1,000 times in the corpus is processed once and counts 1,000 times.

``reference.train`` does this in thirty lines, and counts all pairs again after every merge. This
module learns the same merges in less time: a merge updates only the counts that it changes, and a
heap finds the most frequent pair.
"""
import contextlib
import gc
import heapq
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby, pairwise

from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural


@dataclass
class LearnedMerges:
    """The result of training."""
    tokens: list   # all tokens, in order of their ids
    merges: list   # (left id, right id) of each merge, in the order learned
    counts: list   # how often each pair occurred when it was merged
    stopped: str   # why training ended


@contextlib.contextmanager
def garbage_collection_paused():
    """Training makes millions of objects without cycles: scanning them repeatedly finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@garbage_collection_paused()
def learn_merges(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(),
                 show_progress=False):
    """Merge the most frequent pair repeatedly until the vocabulary has ``vocab_size`` tokens.

    words       list of (word, count); a word is a list of ids into ``tokens``, such as [97, 98],
                or the string of the characters with these code points, "ab"
    tokens      the initial tokens, in order of their ids
    join        function that makes the string of a new token from its two parts
    forbidden   strings that must not become tokens

    Ties go to the pair with the smaller left id, then the smaller right id, so the result
    depends on the word counts only, not on their order.

    low, lower and lowest once each:

    >>> tokens = ["e", "l", "o", "r", "s", "t", "w"]
    >>> words = [([1, 2, 6], 1), ([1, 2, 6, 0, 3], 1), ([1, 2, 6, 0, 4, 5], 1)]
    >>> learned = learn_merges(words, tokens, vocab_size=10)
    >>> learned.tokens[7:], learned.merges, learned.counts
    (['lo', 'low', 'lowe'], [(1, 2), (7, 6), (8, 0)], [3, 3, 2])
    """
    tokens = list(tokens)
    merges = []
    counts = []
    min_frequency = max(1, min_frequency)
    pairs = PairCounts(words, min_frequency)
    heap = pairs.heap()
    num_new = vocab_size - len(tokens)
    with progress_bar(num_new, "learning tokens", "tokens", show_progress) as bar:
        while len(tokens) < vocab_size:
            pair, count = pop_most_frequent(heap, pairs.counts)
            if pair is None:
                stopped = f"no pair occurs {plural(min_frequency, 'time')}"
                return LearnedMerges(tokens, merges, counts, stopped)
            left, right = map(ord, pair)  # a pair is stored as two characters, see ``PairCounts``
            token = join(tokens[left], tokens[right])
            if token in forbidden:
                continue
            # No other pair makes the same string, see ``likelihood.Candidates.merge``.
            new = chr(len(tokens))
            tokens.append(token)
            merges.append((left, right))
            counts.append(count)
            # Only pairs with the new token can become more frequent, so only they are pushed.
            for new_pair in pairs.merge(pair, new):
                heapq.heappush(heap, (-pairs.counts[new_pair], new_pair))
            bar.update()
    return LearnedMerges(tokens, merges, counts, "vocabulary is full")


def pop_most_frequent(heap, counts):
    """Remove the most frequent pair from the heap; return (pair, count), (None, 0) if empty."""
    # A heap cannot change the entries in it. A merge lowers the counts of other pairs, whose
    # entries become stale: their counts are too high.
    while heap:
        negative_count, pair = heapq.heappop(heap)
        count = counts.get(pair, 0)
        if count == -negative_count:
            return pair, count
        if count > 0:  # stale: push the pair again with its current count
            heapq.heappush(heap, (-count, pair))
    return None, 0


class PairCounts:
    """The count of each pair of adjacent tokens, kept up to date under merges.

    A word is stored as a string in which the character with code point i is token i. A pair is
    a string of two characters, and a merge is ``new.join(word.split(pair))``, which runs at the
    speed of C. ``str.split`` searches from the left and uses no character twice, exactly as a
    merge does: "aaa".split("aa") -> ["", "a"].

    Overlapping pairs all count: a a a contains the pair a a twice, though only one can be merged.

    >>> pairs = PairCounts([("abab", 3)], min_frequency=2)     # the word abab, three times
    >>> pairs.counts
    {'ab': 6, 'ba': 3}
    >>> pairs.merge("ab", "X"), pairs.words, pairs.counts
    (['XX'], ['XX'], {'XX': 3})
    """

    def __init__(self, words, min_frequency):
        self.min_frequency = min_frequency
        self.words = []
        self.word_counts = []
        self.counts = {}        # pair -> its count in the corpus
        # pair -> indices of words, so that a merge visits only these. Some may have lost the pair.
        self.word_indices = {}

        counts = defaultdict(int)
        word_indices = defaultdict(list)
        for i, (word, count) in enumerate(words):
            if not isinstance(word, str):
                word = "".join(map(chr, word))
            self.words.append(word)
            self.word_counts.append(count)
            for left, right in pairwise(word):  # "abc" -> "ab", "bc"
                counts[left + right] += count
                word_indices[left + right].append(i)
        self._add(counts, word_indices)

    def heap(self):
        """Return a heap of (-count, pair): its smallest entry is the most frequent pair."""
        heap = [(-count, pair) for pair, count in self.counts.items()]
        heapq.heapify(heap)
        return heap

    def merge(self, pair, new):
        """Replace ``pair`` with ``new`` in all words; return the new pairs that are kept.

        In the word l o w e r, merging o w into X removes the pairs l o and w e, and adds l X and
        X e: l X e r. The pair e r is not touched.
        """
        left, right = pair
        words = self.words
        removed = defaultdict(int)     # pair -> how many occurrences it loses
        added = defaultdict(int)       # pair -> how many occurrences it gains
        added_in = defaultdict(list)   # pair -> indices of the words in which it gains them

        # The pair itself is gone after the merge, also where it overlaps: a a a becomes aa a.
        del self.counts[pair]
        # A word that gained the pair several times is listed as often, in a row: visit it once.
        for i, _ in groupby(self.word_indices.pop(pair)):
            parts = words[i].split(pair)
            count = self.word_counts[i]
            if len(parts) == 2:
                # Nearly always the pair occurs once: ``changed_pairs`` without the call.
                before, after = parts  # "lower" split at "ow": "l" and "er"
                if before:
                    removed[before[-1] + left] += count
                    neighbors = before[-1] + new
                    added[neighbors] += count
                    added_in[neighbors].append(i)
                if after:
                    removed[right + after[0]] += count
                    neighbors = new + after[0]
                    added[neighbors] += count
                    added_in[neighbors].append(i)
            else:
                # Several occurrences; or none, if another merge has consumed them.
                for old, neighbors in changed_pairs(parts, pair, new):
                    removed[old] += count
                    added[neighbors] += count
                    added_in[neighbors].append(i)
            words[i] = new.join(parts)

        self._subtract(removed)
        return self._add(added, added_in)

    def _add(self, counts, word_indices):
        """Store the pairs that are frequent enough, and return them."""
        # Rare pairs are dropped for good. That is safe because a pair's count can only fall: its
        # occurrences appear when the younger of its two tokens is made, and each later merge can
        # only consume some of them.
        frequent = [pair for pair, count in counts.items() if count >= self.min_frequency]
        for pair in frequent:
            self.counts[pair] = counts[pair]
            self.word_indices[pair] = word_indices[pair]
        return frequent

    def _subtract(self, counts):
        """Lower the counts of pairs, and drop those that became too rare."""
        for pair, removed in counts.items():
            if pair not in self.counts:
                continue
            count = self.counts[pair] - removed
            if count >= self.min_frequency:
                self.counts[pair] = count
            else:
                del self.counts[pair]
                del self.word_indices[pair]


def changed_pairs(parts, pair, new):
    """Return [(old pair, new pair), ...] for the neighbors of a pair that is merged into ``new``.

    parts: the word, split at the pair

    >>> changed_pairs(["c", "", "d"], "ab", "X")    # c a b a b d -> c X X d
    [('ca', 'cX'), ('ba', 'XX'), ('bd', 'Xd')]
    """
    left, right = pair
    last = len(parts) - 1
    changes = []
    for i in range(last):
        before = parts[i]
        after = parts[i + 1]
        if before:
            changes.append((before[-1] + left, before[-1] + new))
        if after:
            changes.append((right + after[0], new + after[0]))
        elif i + 1 < last:  # the next occurrence follows directly
            changes.append((right + left, new + new))
    return changes

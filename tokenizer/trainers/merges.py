"""Learn merges from word counts: the training of byte-level BPE, and of WordPiece by frequency.

The algorithm is byte-pair encoding (Sennrich et al. 2016, algorithm 1):

    1. Spell every word as a sequence of single-character tokens.
    2. Find the pair of adjacent tokens that occurs most often in all words.
    3. Add that pair to the vocabulary as a new token, and replace the pair with it in all words.
    4. Repeat from 2 until the vocabulary is full.

A word that occurs 1,000 times in the corpus is processed once and counts 1,000 times.

``reference.train`` does this in thirty lines, and counts all pairs again after every merge. This
module learns the same merges in less time:

    - Each pair has a list of the positions where it occurs, and a merge visits only these.
    - A pair's count can only fall, so an old count is an upper bound. A pair is counted again only
      when its bound is among the highest.
    - Pairs that share no token anywhere are merged together, with a few array operations.
"""
import contextlib
import gc
import heapq
from dataclasses import dataclass

import numpy as np

from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural

# Pairs that are counted again together: at most so many, and fewer if they have many positions.
MAX_CANDIDATES = 128
MAX_POSITIONS = 1 << 14


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
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
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
    # Each merge leaves fewer symbols, so more ids than this cannot be needed.
    most_ids = len(tokens) + sum(len(word) for word, _ in words)
    words = TokenizedWords(words, min(vocab_size, most_ids), min_frequency)
    heap = words.all_pairs()
    heapq.heapify(heap)
    candidates = []
    max_merges = vocab_size
    with progress_bar(vocab_size - len(tokens), "learning tokens", "tokens", show_progress) as bar:
        while len(tokens) < vocab_size:
            candidates = most_frequent(words, candidates, heap)
            if not candidates:
                stopped = f"no pair occurs {plural(min_frequency, 'time')}"
                return LearnedMerges(tokens, merges, counts, stopped)
            allowed = [pair for pair in candidates
                       if join(tokens[pair[1]], tokens[pair[2]]) not in forbidden]
            if len(allowed) < len(candidates):
                candidates = allowed
                max_merges = 1  # see ``num_disjoint``
                continue

            num_merges = min(words.num_disjoint(candidates), max_merges, vocab_size - len(tokens))
            batch = candidates[:num_merges]
            candidates = candidates[num_merges:]
            positions = words.merge(batch, new_id=len(tokens))
            for negative_count, left, right, _ in batch:
                # No other pair makes the same string (exercise 3 of chapter 4).
                tokens.append(join(tokens[left], tokens[right]))
                merges.append((left, right))
                counts.append(-negative_count)
            for pair in words.pairs(positions):
                heapq.heappush(heap, pair)
            bar.update(num_merges)
    return LearnedMerges(tokens, merges, counts, "vocabulary is full")


def most_frequent(words, candidates, heap):
    """Return the most frequent pairs in order, at least one unless there are none.

    words: ``TokenizedWords``.  candidates: pairs that are not in the heap.
    """
    while candidates or heap:
        num_positions = sum(len(positions) for *_, positions in candidates)
        while heap and len(candidates) < MAX_CANDIDATES and num_positions < MAX_POSITIONS:
            candidates.append(heapq.heappop(heap))
            num_positions += len(candidates[-1][-1])
        candidates = words.count_again(candidates)
        # Counts in the heap are at least the true ones. So a candidate that comes before the first
        # entry of the heap comes before all of them.
        while candidates and heap and candidates[-1] > heap[0]:
            heapq.heappush(heap, candidates.pop())
        if candidates:
            break
    return candidates


class TokenizedWords:
    """All words in one array of ids, with a separator around each.

    A token covers as many positions as it has initial tokens, and its id is at the first and the
    last of them. So ``ids[p - 1]`` is the token before a token that starts at p, and
    ``ids[p + length]`` the one after it. The words "hugs" and "hug", and two merges:

        position    0 1 2 3  4  5 6 7 8  9
        ids         | h u g  s  | h u g  |
        u g         | h ug ug s | h ug ug |
        h ug        | hug - hug s | hug - hug |

    A pair is a tuple (-count, left id, right id, positions). The positions are those where its left
    token starts, in ascending order. If other merges have used these tokens since, positions are
    outdated and the count is too high. Overlapping pairs all count: a a a contains a a twice,
    though only one can be merged.

    >>> words = TokenizedWords([([0, 1, 0, 1], 3)], vocab_size=4)  # the word abab, three times
    >>> ab, ba = words.all_pairs()
    >>> ab[:3], ba[:3], ab[3].tolist()
    ((-6, 0, 1), (-3, 1, 0), [1, 3])
    >>> [abab] = words.pairs(words.merge([ab], new_id=2))
    >>> abab[:3], words.count_again([ba])
    ((-3, 2, 2), [])
    """

    def __init__(self, words, vocab_size, min_frequency=2):
        self.separator = vocab_size  # an id that no token has
        self.min_frequency = min_frequency
        spelled = []
        for word, _ in words:
            spelled.append(word if isinstance(word, str) else "".join(map(chr, word)))
        joined = "\0".join(["", *spelled, ""]).encode("utf-32-le", "surrogatepass")
        sizes = np.array([1, *(len(word) + 1 for word in spelled)])  # with the separators
        # numpy sorts 16-bit integers faster than others.
        self.ids = np.frombuffer(joined, np.uint32).astype(np.min_scalar_type(vocab_size))  # (N,)
        self.ids[sizes.cumsum() - 1] = self.separator
        # position -> how often its word occurs (N,)
        self.counts = np.repeat([0, *(count for _, count in words)], sizes)
        # id -> how many positions it covers
        self.lengths = np.ones(vocab_size + 1, np.int32)
        # position -> index of the pair that starts there; used by ``num_disjoint`` only (N,)
        self.owner_at = np.full(len(self.ids), -1, np.int32)

    def all_pairs(self):
        """Return the pairs of all words."""
        return self.pairs(np.arange(1, len(self.ids) - 1, dtype=np.int32))

    def pairs(self, positions):
        """Return the pairs that start at these positions, without those that are too rare."""
        left = self.ids[positions]
        right = self.ids[positions + self.lengths[left]]
        is_pair = (left != self.separator) & (right != self.separator)
        left = left[is_pair]
        right = right[is_pair]
        positions = positions[is_pair]
        if not len(positions):
            return []
        # Sort by pair. The positions of equal pairs keep their order.
        order = np.lexsort((right, left))
        left = left[order]
        right = right[order]
        positions = positions[order]
        is_first = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
        starts = np.append(0, np.flatnonzero(is_first) + 1)
        ends = np.append(starts[1:], len(positions))
        counts = np.add.reduceat(self.counts[positions], starts)
        # Rare pairs are dropped for good. That is safe because a pair's count can only fall: its
        # occurrences appear when the younger of its two tokens is made, and each later merge can
        # only consume some of them.
        frequent = np.flatnonzero(counts >= self.min_frequency)
        starts = starts[frequent]
        columns = (-counts[frequent], left[starts], right[starts], starts, ends[frequent])
        return [(negative_count, left_id, right_id, positions[start:end])
                for negative_count, left_id, right_id, start, end
                in zip(*(column.tolist() for column in columns))]

    def count_again(self, pairs):
        """Return the pairs that are still frequent, with exact counts, the most frequent first."""
        left, right, positions, owners = flat(pairs)
        is_left = self.ids[positions] == left[owners]
        is_right = self.ids[positions + self.lengths[left][owners]] == right[owners]
        positions = positions[is_left & is_right]
        owners = owners[is_left & is_right]
        counts = np.bincount(owners, self.counts[positions], len(pairs)).astype(int).tolist()
        ends = np.bincount(owners, minlength=len(pairs)).cumsum().tolist()
        result = []
        start = 0
        for (_, left_id, right_id, _), count, end in zip(pairs, counts, ends):
            if count >= self.min_frequency:
                result.append((-count, left_id, right_id, positions[start:end]))
            start = end
        return sorted(result)

    def num_disjoint(self, pairs):
        """Return how many of the most frequent pairs can be merged at once.

        pairs: the most frequent ones, in order, with exact counts

        Pairs can be merged at once up to the first one that shares a token with an earlier pair:
        in a b c, the pairs a b and b c share b. Up to there, no merge changes the count of another
        pair, and no new pair gets ahead: x ab occurs at most as often as x a did, which shares a
        token with a b and therefore comes later. (Unless x a is forbidden and was dropped. Then
        only one pair is merged at a time.)
        """
        left, _, positions, owners = flat(pairs)
        self.owner_at[positions] = owners
        next_owners = self.owner_at[positions + self.lengths[left][owners]]
        self.owner_at[positions] = -1
        shared = next_owners >= 0
        owners = owners[shared]
        next_owners = next_owners[shared]
        # A pair that overlaps itself, as in a a a, can be merged but is the last one: aa aa may be
        # more frequent than the pairs after a a.
        num = np.maximum(owners, next_owners) + (owners == next_owners)
        return int(num.min(initial=len(pairs)))

    def merge(self, pairs, new_id):
        """Merge disjoint pairs into the tokens ``new_id``, ``new_id + 1``, ...

        Return the positions where pairs with a new token start.
        """
        left, right, positions, owners = flat(pairs)
        new_ids = np.arange(new_id, new_id + len(pairs))
        self.lengths[new_ids] = self.lengths[left] + self.lengths[right]
        kept = without_overlaps(positions, self.lengths[left][owners])
        positions = positions[kept]
        owners = owners[kept]
        right_starts = positions + self.lengths[left][owners]
        new_ids = new_ids[owners]
        # No token starts there any more: outdated positions are recognized by that.
        self.ids[right_starts] = self.separator
        self.ids[positions] = new_ids
        self.ids[positions + self.lengths[new_ids] - 1] = new_ids
        # Pairs with a token before the new one. If that is new as well, it is in ``positions``.
        before = positions - self.lengths[self.ids[positions - 1]]
        before = before[self.ids[before] < new_id]
        return np.append(before, positions)


def flat(pairs):
    """Return (left ids (P,), right ids (P,), positions (M,), owners (M,)) of pairs.

    owners: for each of all their positions the index of its pair
    """
    _, left, right, positions = zip(*pairs)
    owners = np.repeat(np.arange(len(pairs)), list(map(len, positions)))
    return np.array(left), np.array(right), np.concatenate(positions), owners


def without_overlaps(positions, lengths):
    """Return a mask of the occurrences to merge: of a run of overlapping ones, every other one.

    Of the three pairs a a in a a a a, at 1, 2 and 3, the first and the last are merged:

    >>> without_overlaps(np.array([1, 2, 3, 7]), np.array([1, 1, 1, 4]))
    array([ True, False,  True,  True])
    """
    indices = np.arange(len(positions))
    overlaps = np.append(False, positions[:-1] + lengths[:-1] == positions[1:])
    run_starts = np.maximum.accumulate(np.where(overlaps, 0, indices))
    return (indices - run_starts) % 2 == 0

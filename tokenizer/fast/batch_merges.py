"""Not needed to understand BERT. The same as: ``ByteLevelBPE._merge`` for each word of a list.

``_merge`` applies the merge of the lowest rank to a word, until none is left. Here each round makes
one such step in all words together, with a few array operations.

The words are in one array, with separators around them. A merge leaves its token at the left
position and removes the right one, as in a linked list: ``before`` and ``after`` have the positions
of a token's neighbors. The words "hug" and "hi", and the merge of h and u:

    position    0 1 2 3 4 5 6 7                 0  1   2   3   4   5   6   7
    ids         | h u g | h i |         ->      |  hu      g   |   h   i   |
    after       1 2 3 4 5 6 7 8                 1  3   3   4   5   6   7   8
"""
import numpy as np

from tokenizer.fast.corpus_encoder import take_slices

POSITION_BITS = 32
NO_MERGE = 1 << 30  # the rank of a pair that is not merged
HASH_BITS = 20
FACTOR = np.uint64(0x9E3779B97F4A7C15)
SEVERAL = -1        # several pairs have this hash
REMOVED = -1        # the id at a position whose token was merged into the one on the left


class BatchMerges:
    """Merges many words at once.

    ranks        {(left id, right id): rank}
    merged_ids   rank -> id of the merged token
    byte_ids     byte -> id; None for a byte that never occurs
    """

    def __init__(self, ranks, merged_ids, byte_ids, vocab_size):
        self.separator = vocab_size  # an id that no pair has
        self.byte_ids = np.array([REMOVED if i is None else i for i in byte_ids])
        self.merged_ids = np.array(merged_ids, np.int64)
        # A pair is one integer. The pairs are sorted; the last one never occurs. (M + 1,)
        left, right = np.array(list(ranks), np.int64).reshape(-1, 2).T
        pairs = self._pair(left, right)
        order = pairs.argsort()
        never = self._pair(vocab_size + 1, 0)
        self.pairs = np.append(pairs[order], never)
        self.ranks = np.append(np.array(list(ranks.values()), np.int64)[order], NO_MERGE)
        # hash -> index of its only pair; SEVERAL, or the last index if there is none
        slots = table_slots(self.pairs[:-1])
        self.index_at = np.full(1 << HASH_BITS, len(pairs), np.int32)
        self.index_at[slots] = np.arange(len(pairs))
        self.index_at[np.bincount(slots, minlength=1 << HASH_BITS) > 1] = SEVERAL

    def encode(self, words):
        """Return (ids of all words joined (N,), number of ids of each word (W,)).

        words: list of bytes, none of them empty
        """
        # The longest first: after k rounds, words of up to k + 1 bytes are done, and the others are
        # the first ones.
        lengths = np.array([len(word) for word in words], np.int64)
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
        joined = b"|".join([b"", *(words[i] for i in order.tolist()), b""])
        ids = self.byte_ids[np.frombuffer(joined, np.uint8)]  # (N,)
        ends = np.cumsum(lengths + 1)  # (W,)
        starts = ends - lengths        # (W,)
        ids[0] = self.separator
        ids[ends] = self.separator

        self._merge(ids, starts, lengths)

        # Count the ids of each word, then bring the words back into their order.
        num_before = np.cumsum(ids != REMOVED) - 1  # separators are counted, too
        first = num_before[starts]
        num_ids = num_before[ends] - first
        ids = ids[ids != REMOVED]
        back = np.argsort(order)
        return take_slices(ids, first[back], num_ids[back]), num_ids[back]

    def _merge(self, ids, starts, lengths):
        """Merge in place. starts, lengths: of the words, the longest first"""
        positions = np.arange(len(ids))
        before = positions - 1
        after = positions + 1
        # The key of a position is that of the pair that starts there: its rank, then the position,
        # so that the smallest key of a word is the leftmost pair of the lowest rank.
        keys = np.full(len(ids), NO_MERGE << POSITION_BITS)
        keys[:-1] = self._keys(ids[:-1], ids[1:], positions[:-1])
        for num_rounds in range(lengths.max(initial=0) - 1):
            num_words = np.count_nonzero(lengths > num_rounds + 1)
            end = starts[num_words - 1] + lengths[num_words - 1]
            smallest = np.minimum.reduceat(keys[:end], starts[:num_words])  # one key per word
            smallest = smallest[smallest < NO_MERGE << POSITION_BITS]
            if not len(smallest):
                break
            left = smallest & (1 << POSITION_BITS) - 1
            right = after[left]
            next_right = after[right]
            ids[left] = self.merged_ids[smallest >> POSITION_BITS]
            ids[right] = REMOVED
            keys[right] = NO_MERGE << POSITION_BITS
            after[left] = next_right
            before[next_right] = left
            # Only the pairs on both sides of the merged token have changed.
            next_left = before[left]
            keys[next_left] = self._keys(ids[next_left], ids[left], next_left)
            keys[left] = self._keys(ids[left], ids[next_right], left)

    def _pair(self, left, right):
        return left * (self.separator + 1) + right

    def _keys(self, left, right, positions):
        """Return the keys of pairs of ids that start at ``positions``."""
        pairs = self._pair(left, right)
        i = self.index_at[table_slots(pairs)]
        unknown = np.flatnonzero(i == SEVERAL)
        i[unknown] = self.pairs.searchsorted(pairs[unknown])  # binary search, which is slower
        ranks = np.where(self.pairs[i] == pairs, self.ranks[i], NO_MERGE)
        return ranks << POSITION_BITS | positions


def table_slots(pairs):
    """Return the hashes of pairs. -> (N,) int64"""
    return (pairs.view(np.uint64) * FACTOR >> np.uint64(64 - HASH_BITS)).view(np.int64)

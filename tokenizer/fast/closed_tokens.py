"""Which tokens of a byte-pair encoding are whole: their own text, encoded, is that one token. For such a word no merging is needed.

All tokens that training made are whole. For wherever the text of a token stands between two borders that no merge crosses, the merges
within go as they do when it stands alone; and training made the token in such a place. But a vocabulary from a file may hold others: with the
merges (b c), (a b), (ab c) in this order, "abc" is encoded as a, bc, and the token abc is never used.

So the borders are checked. A token made of ``left`` and ``right`` is whole if both are, and no merge crosses from one to the other
before they are complete. Go back in time: undo the later of the two merges that made what now stands to the left and to the right
of the border, and ask whether the new neighbours would have been merged first. It is one question for each token, asked of all tokens at once.
"""
import numpy as np

NEVER = np.iinfo(np.int64).max  # the rank of a pair that is not merged


def tokens_that_encode_to_themselves(letters, merges, vocab_size):
    """letters: ids of the tokens that texts begin with; merges: (left id, right id, id of the result), in order of rank. -> set of ids

    >>> sorted(tokens_that_encode_to_themselves([0, 1, 2], [(1, 2, 3), (0, 1, 4), (4, 2, 5)], 6))        # a b c; bc, ab, abc
    [0, 1, 2, 3, 4]
    """
    whole = np.zeros(vocab_size, bool)
    whole[letters] = True
    if not merges:
        return set(letters)
    left, right, made = np.array(merges).T  # (M,)
    ranks = np.arange(len(merges))
    left_of, right_of = np.zeros((2, vocab_size), np.int64)
    born = np.full(vocab_size, -1)  # id -> rank of the merge that makes it
    left_of[made], right_of[made], born[made] = left, right, ranks
    sure = (np.bincount(made, minlength=vocab_size)[made] == 1) & (np.maximum(born[left], born[right]) < ranks)
    sure &= ~_crossed(left, right, left_of, right_of, born)
    while (found := sure & whole[left] & whole[right] & ~whole[made]).any():
        whole[made[found]] = True
    return set(np.flatnonzero(whole).tolist())


def _crossed(left, right, left_of, right_of, born):
    """Which merges another one forestalls, across the border of its two parts. -> (M,) bool"""
    keys = left * len(born) + right
    order = keys.argsort()
    keys = keys[order]
    crossed = np.zeros(len(left), bool)
    here, x, y = np.arange(len(left)), left, right  # the merges not yet decided; what stands before and after the border
    while len(here):
        limit = np.maximum(born[x], born[y])
        undo_right = born[y] == limit  # of two equal merges the one on the right was made later
        x, y = np.where(undo_right, x, right_of[x]), np.where(undo_right, left_of[y], y)
        place = np.minimum(keys.searchsorted(x * len(born) + y), len(keys) - 1)
        rank = np.where(keys[place] == x * len(born) + y, order[place], NEVER)
        # equal ranks are three equal tokens in a row: the two on the left are merged
        first = (rank < limit) | (rank == limit) & undo_right
        crossed[here[first & (limit >= 0)]] = True
        going_on = ~first & (limit >= 0)
        here, x, y = here[going_on], x[going_on], y[going_on]
    return crossed

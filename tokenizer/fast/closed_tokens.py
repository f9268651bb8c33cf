"""Not needed to understand BERT. The same as: all tokens t for which ``encode_word(t) == [t]``.

A word that is such a token, *closed*, needs no merging: its id is the result. All tokens that
training made are closed. But the merges of a file may be in another order: with b c -> bc,
a b -> ab, ab c -> abc, the word "abc" becomes a, bc, and the token abc is never used.

A token made of ``left`` and ``right`` is closed if both are closed, and no merge joins the end of
``left`` with the start of ``right`` before both are complete. To check this, go back in time: undo
the later of the merges that made the two neighbors of the boundary, and ask whether the new
neighbors would have been merged first. Repeat. That is one question for each token, and is asked
here for all tokens at once.
"""
import numpy as np

NEVER = np.iinfo(np.int64).max  # the rank of a pair that is not merged


def tokens_that_encode_to_themselves(letters, merges, vocab_size):
    """Return the ids of the closed tokens as a set.

    letters   ids of the single-character tokens
    merges    (left id, right id, id of the result), in order of rank

    >>> merges = [(1, 2, 3), (0, 1, 4), (4, 2, 5)]     # of a, b, c: bc, ab, abc
    >>> sorted(tokens_that_encode_to_themselves([0, 1, 2], merges, 6))
    [0, 1, 2, 3, 4]
    """
    if not merges:
        return set(letters)
    left, right, result = np.array(merges).T  # (M,) each
    ranks = np.arange(len(merges))
    left_of = np.zeros(vocab_size, np.int64)  # id -> left part of the token
    right_of = np.zeros(vocab_size, np.int64)
    merge_rank = np.full(vocab_size, -1)      # id -> rank of the merge that makes the token
    left_of[result] = left
    right_of[result] = right
    merge_rank[result] = ranks

    # Candidates: one merge makes the token, after those of its parts, and nothing preempts it.
    is_unique = np.bincount(result, minlength=vocab_size)[result] == 1
    is_in_order = np.maximum(merge_rank[left], merge_rank[right]) < ranks
    is_preempted = _preempted(left, right, left_of, right_of, merge_rank)
    candidates = is_unique & is_in_order & ~is_preempted

    closed = np.zeros(vocab_size, bool)
    closed[letters] = True
    while True:
        found = candidates & closed[left] & closed[right] & ~closed[result]
        if not found.any():
            return set(np.flatnonzero(closed).tolist())
        closed[result[found]] = True


def _preempted(left, right, left_of, right_of, merge_rank):
    """Return for each merge whether another one is applied first, across its boundary. (M,) bool"""
    vocab_size = len(merge_rank)
    keys = left * vocab_size + right  # one integer per pair, for binary search
    order = keys.argsort()
    sorted_keys = keys[order]

    preempted = np.zeros(len(left), bool)
    undecided = np.arange(len(left))  # merges, with the tokens before and after their boundaries
    before = left
    after = right
    while len(undecided):
        # Undo the later of the two merges; of equal ones, the right one was applied later.
        limit = np.maximum(merge_rank[before], merge_rank[after])
        undo_right = merge_rank[after] == limit
        before = np.where(undo_right, before, right_of[before])
        after = np.where(undo_right, left_of[after], after)

        # The rank of the merge of the new neighbors, if there is one.
        pair = before * vocab_size + after
        i = np.minimum(sorted_keys.searchsorted(pair), len(keys) - 1)
        rank = np.where(sorted_keys[i] == pair, order[i], NEVER)

        # With equal ranks there are three equal tokens in a row, and the left two are merged.
        is_first = (rank < limit) | ((rank == limit) & undo_right)
        has_undone = limit >= 0  # else both neighbors are letters: nothing is left to undo
        preempted[undecided[is_first & has_undone]] = True
        remaining = ~is_first & has_undone
        undecided = undecided[remaining]
        before = before[remaining]
        after = after[remaining]
    return preempted

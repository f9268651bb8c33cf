"""Not needed to understand BERT. The same as ``ByteLevelBPE._merge``, for words of any length.

``_merge`` scans all pairs of a word for each merge, so its time grows with the square of the word's
length. Here a long word, such as a megabyte of base64, is cut into short pieces, which are merged
separately. Then the boundaries between the pieces are repaired, by this rule:

    Tokens are the encoding of their text if every two neighbors, encoded together, stay the
    same two tokens.

Why: suppose that the merges of the entire text cross boundaries of these tokens. Until the first
merge that does, the bytes of the two tokens at its boundary are merged as if they were alone. So
this merge also happens if only the two are encoded, and they do not stay the same.
"""
import heapq
from functools import lru_cache
from itertools import chain

PIECE = 32  # bytes
FEW = 64  # bytes; up to this length scanning all pairs is faster than a heap
LONGEST_WINDOW = 1 << 15  # bytes; only a vocabulary of tokens above 8,192 bytes needs more


def merge_long_word(ids, ranks, merged_ids, merge, bytes_of):
    """Return the token ids of a word from the ids of its bytes.

    ranks        {(left id, right id): rank}
    merged_ids   rank -> id of the merged token
    merge        the same function for a short word
    bytes_of   token id -> the ids of its bytes
    """
    def merge_window(window):
        return merge(window) if len(window) <= FEW else merge_with_heap(window, ranks, merged_ids)

    windows = Windows(merge_window, bytes_of)
    result = []
    for start in range(0, len(ids), PIECE):
        piece = windows.merge(tuple(ids[start:start + PIECE]))
        if not windows.append(result, piece):
            return merge_with_heap(ids, ranks, merged_ids)
    return result


class Windows:
    """Merges windows of a word, and remembers them: a long word often repeats a few bytes."""

    def __init__(self, merge, bytes_of):
        self.merge = lru_cache(1 << 9)(merge)
        self.bytes_of = lru_cache(1 << 12)(bytes_of)
        self.fits = lru_cache(1 << 16)(self._fits)

    def append(self, tokens, piece):
        """Append the tokens of the next piece; return False if that takes too long a window."""
        if not tokens or self.fits(tokens[-1], piece[0]):
            tokens += piece
            return True
        width = 1  # tokens on each side of the boundary that are merged again
        while True:
            window = self._bytes(tokens[-width:] + piece[:width])
            if len(window) > LONGEST_WINDOW:
                return False
            middle = self.merge(window)
            fits_left = width >= len(tokens) or self.fits(tokens[-width - 1], middle[0])
            fits_right = width >= len(piece) or self.fits(middle[-1], piece[width])
            if fits_left and fits_right:
                tokens[-width:] = middle + piece[width:]
                return True
            width += 1 + width // 2

    def _bytes(self, tokens):
        return tuple(chain.from_iterable(map(self.bytes_of, tokens)))

    def _fits(self, left, right):
        return self.merge(self._bytes([left, right])) == [left, right]


def merge_with_heap(byte_ids, ranks, merged_ids):
    """Merge a word of n bytes in O(n log n): the merges wait in a heap, each adds at most two."""
    ids = list(byte_ids)
    # A linked list of positions. A merge leaves its token at the left position and removes
    # the right one.
    before = list(range(-1, len(ids) - 1))
    after = list(range(1, len(ids) + 1))
    heap = []  # (rank, left position, left id, right id): the smallest is merged next

    def push(left, right):
        """Push the pair at two neighboring positions, if it can be merged."""
        if left >= 0 and right < len(ids):
            rank = ranks.get((ids[left], ids[right]))
            if rank is not None:
                heapq.heappush(heap, (rank, left, ids[left], ids[right]))

    for right in range(1, len(ids)):
        push(right - 1, right)
    while heap:
        rank, left, left_id, right_id = heapq.heappop(heap)
        right = after[left]
        if ids[left] != left_id or right == len(ids) or ids[right] != right_id:
            continue  # outdated: another merge took one of the two
        ids[left] = merged_ids[rank]
        ids[right] = None
        after[left] = after[right]
        if after[right] < len(ids):
            before[after[right]] = left
        push(before[left], left)
        push(left, after[left])
    return [token_id for token_id in ids if token_id is not None]

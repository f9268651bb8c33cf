"""Find many strings in a text at once, in a time that hardly depends on their number.

A table of hashes tells where one of the strings may start, and a second one, there only, where one
of them may be. These are array operations. The strings themselves are compared where both say yes.
"""
import re

import numpy as np

PREFIXES = (6, 4, 3, 2, 1)  # bytes; a string is filed under the longest that it has
CHUNK = 1 << 17  # bytes of a text that are searched at once, to limit memory
ENTRIES_PER_STRING = 128  # of a table: so few others have the same hash
MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)  # keep the first bytes
FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, of random bits


class PrefixSearch:
    """Finds strings from left to right, the longest of those that start at the same position.

    >>> list(PrefixSearch(["a", "ab", "b"]).find("xabb"))
    [(1, 3), (3, 4)]
    """

    def __init__(self, strings):
        self.strings = frozenset(strings)
        self._lengths = sorted(set(map(len, self.strings)), reverse=True)
        first = {string[0] for string in self.strings}
        # Special tokens start with characters that are rare in texts: '<', '['.
        is_rare = not any(char.isalnum() or char.isspace() for char in first)
        pattern = "|".join(map(re.escape, sorted(first))) or "(?!)"
        self._rare_first = re.compile(pattern) if is_rare else None

        encoded = {utf8_bytes(string) for string in self.strings}
        self._byte_lengths = sorted(set(map(len, encoded)), reverse=True)
        prefixes = {string[: prefix_size(string)] for string in encoded}
        self._prefix_sizes = set(map(len, prefixes))
        self._hashes = HashTable(encoded, FACTORS)
        self._prefix_hashes = HashTable(prefixes, FACTORS[::-1])

    def find(self, text):
        """Yield (start, end) of each match; matches do not overlap."""
        done = 0
        for start, end in self._candidates(text):
            if start >= done and (string := text[start:end]) in self.strings:
                done = start + len(string)  # less than ``end`` at the end of the text
                yield start, done

    def _candidates(self, text):
        """Yield (start, end) where a string may be, by start, the longest first."""
        if self._rare_first:
            for match in self._rare_first.finditer(text):
                for length in self._lengths:
                    yield match.start(), match.start() + length
            return
        data = utf8_bytes(text)
        longest = self._byte_lengths[0]
        padded = np.frombuffer(data + bytes(longest + 8), np.uint8)
        num_chars = 0  # before the chunk
        for first in range(0, len(data), CHUNK):
            size = min(CHUNK, len(data) - first)
            chunk = padded[first : first + size + longest + 8]
            starts, ends = self._find_bytes(chunk, size)
            if not text.isascii():
                is_first = chunk & 0xC0 != 0x80  # of the bytes of a character
                num_before = np.cumsum(is_first) - is_first + num_chars  # characters before each
                starts = num_before[starts]
                ends = num_before[ends]
                num_chars = int(num_before[size])
            else:
                starts += first
                ends += first
            yield from zip(starts.tolist(), ends.tolist())

    def _find_bytes(self, chunk, num_starts):
        """Return the starts and ends of candidates, (C,) each.

        chunk: as many bytes of a text as ``num_starts``, and what strings there may go on to
        """
        eight_bytes = np.ndarray(len(chunk) - 7, "<u8", chunk, strides=(1,))  # at each byte
        heads = eight_bytes[:num_starts]
        has_prefix = np.zeros(num_starts, bool)
        for size in self._prefix_sizes:
            has_prefix |= self._prefix_hashes.may_have(heads & MASKS[size])
        has_prefix &= chunk[:num_starts] & 0xC0 != 0x80  # not inside a character
        positions = np.flatnonzero(has_prefix)
        if not len(positions):  # as in most short texts
            return positions, positions.copy()
        heads = eight_bytes[positions]
        starts = []
        ends = []
        for length in self._byte_lengths:
            tails = eight_bytes[positions + (length - 8)] if length > 8 else None
            is_hit = self._hashes.may_have(heads & MASKS[min(length, 8)], tails)
            starts.append(positions[is_hit])
            ends.append(positions[is_hit] + length)
        starts = np.concatenate(starts)
        order = starts.argsort(kind="stable")
        return starts[order], np.concatenate(ends)[order]


class HashTable:
    """Tells which strings may be among given ones, by their first and their last eight bytes.

    factors: for the first and the last bytes. Two tables with other factors err independently.
    """

    def __init__(self, strings, factors):
        self.factors = factors
        bits = (ENTRIES_PER_STRING * len(strings) + 1).bit_length()
        self.shift = np.uint64(64 - bits)  # the highest bits of a hash depend on all bytes
        self.table = np.zeros(1 << bits, bool)
        heads = b"".join(string[:8].ljust(8, b"\0") for string in strings)
        tails = b"".join(string[-8:] if len(string) > 8 else bytes(8) for string in strings)
        self.table[self._hashes(np.frombuffer(heads, "<u8"), np.frombuffer(tails, "<u8"))] = True

    def may_have(self, heads, tails=None):
        """Return whether the table has the hash of each string, (N,) bool.

        heads: the first eight bytes, with zeros after the end.  tails: the last, of longer strings
        """
        return self.table.take(self._hashes(heads, tails))

    def _hashes(self, heads, tails):
        hashes = heads * self.factors[0]
        if tails is not None:
            hashes += tails * self.factors[1]
        hashes >>= self.shift
        return hashes.view(np.int64)


def prefix_size(string):
    """prefix_size(b"abcde") -> 4"""
    return next(size for size in PREFIXES if size <= len(string))


def utf8_bytes(text):
    """Return a text in UTF-8, with any half character, which is refused elsewhere."""
    return text.encode("utf-8", "surrogatepass")

"""Find many strings in a text at once, in a time that hardly depends on their number.

Each string has a prefix: its first 6, 4, 3, 2 or 1 characters, the most that it has. A prefix is
looked for at all positions together, by array operations: a table has True at the hash of each
prefix. A few positions are found by mistake, where another string has the same hash (a Bloom filter
with one hash function). The strings themselves are compared only there.
"""
import re

import numpy as np

PREFIX_LENGTHS = (6, 4, 3, 2, 1)  # characters; a string has the longest prefix that fits into it
TABLE_ENTRIES_PER_PREFIX = 128  # so that fewer than 1 % of the positions are found by mistake
CHUNK = 1 << 16  # characters of a text that are hashed at once, to limit memory
FACTOR = np.uint32(0x9E3779B1)  # odd, of random bits


class StringSearch:
    """Finds strings from left to right, the longest of those that start at the same position.

    >>> list(StringSearch(["a", "ab", "b"]).find("xabb"))
    [(1, 3), (3, 4)]
    """

    def __init__(self, strings):
        self.strings = frozenset(strings)
        first = {string[0] for string in self.strings}
        # Special tokens start with characters that are rare in texts: '<', '['.
        is_rare = not any(char.isalnum() or char.isspace() for char in first)
        pattern = "|".join(map(re.escape, sorted(first))) or "(?!)"
        self._rare_first = re.compile(pattern) if is_rare else None

        self._lengths = {}  # {prefix: {length: None} of the strings that have it, longest first}
        for string in sorted(self.strings, key=len, reverse=True):
            self._lengths.setdefault(prefix_of(string), {})[len(string)] = None
        self._prefix_lengths = sorted(set(map(len, self._lengths)), reverse=True)
        num_bits = (TABLE_ENTRIES_PER_PREFIX * len(self._lengths)).bit_length()
        self._shift = np.uint32(32 - num_bits)  # to keep a hash's highest bits, the best mixed
        self._table = np.zeros(1 << num_bits, bool)
        for size in self._prefix_lengths:
            joined = "".join(prefix for prefix in self._lengths if len(prefix) == size)
            self._table[self._hashes(code_points(joined), size)[::size]] = True

    def find(self, text):
        """Yield (start, end) of each match; matches do not overlap."""
        done = 0
        for start in self._candidates(text):
            if start >= done and (end := self._match_at(text, start)):
                yield start, end
                done = end

    def _match_at(self, text, start):
        """Return the end of the longest string that starts at ``start``, None if there is none."""
        for size in self._prefix_lengths:  # the longer prefixes are those of the longer strings
            for length in self._lengths.get(text[start : start + size], ()):
                string = text[start : start + length]  # shorter at the end of the text
                if string in self.strings:
                    return start + len(string)

    def _candidates(self, text):
        """Yield the positions where a string may start."""
        if self._rare_first:
            yield from (match.start() for match in self._rare_first.finditer(text))
            return
        for first in range(0, len(text), CHUNK):
            codes = code_points(text[first : first + CHUNK + PREFIX_LENGTHS[0] - 1])
            has_prefix = np.zeros(len(codes), bool)
            for size in self._prefix_lengths:
                hashes = self._hashes(codes, size)
                has_prefix[: len(hashes)] |= self._table[hashes]
            yield from (first + np.flatnonzero(has_prefix[:CHUNK])).tolist()

    def _hashes(self, codes, size):
        """Return a hash of the ``size`` characters that start at each position: (N - size + 1,)."""
        num_starts = max(len(codes) - size + 1, 0)
        hashes = np.zeros(num_starts, np.uint32)
        for i in range(size):
            hashes += codes[i : i + num_starts]
            hashes *= FACTOR
        return (hashes >> self._shift).astype(np.int64)


def prefix_of(string):
    """prefix_of("token") -> "toke", as 4 is the longest of PREFIX_LENGTHS that fits"""
    return string[: next(size for size in PREFIX_LENGTHS if size <= len(string))]


def code_points(text):
    """Return the code points of a text, (N,) uint32. Half a character is refused elsewhere."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")

"""Find many strings in a text at once, in a time that hardly depends on their number.

Each string is filed under its first characters. A text is searched for these prefixes, and only
where one of them occurs are the strings themselves compared.
"""
import re

import numpy as np

PREFIXES = (8, 6, 4, 3, 2, 1)  # characters; a string is filed under the longest that it has
SHORT_TEXT = 400  # characters; for a longer text, array operations are faster
CHUNK = 1 << 17  # characters that are hashed at once, to limit memory
ENTRIES_PER_PREFIX = 64  # of the table of hashes: so few other characters have the same hash
FACTOR = np.uint32(0x9E3779B1)  # 2^32 / golden ratio: multiples of it spread evenly


class PrefixSearch:
    """Finds strings from left to right, the longest of those that start at the same position.

    >>> list(PrefixSearch(["a", "ab", "b"]).find("xabb"))
    [(1, 3), (3, 4)]
    """

    def __init__(self, strings):
        self.strings = frozenset(strings)
        self.lengths = {}  # prefix -> lengths of the strings that are filed under it
        for string in sorted(self.strings, key=len, reverse=True):
            prefix = string[: next(size for size in PREFIXES if size <= len(string))]
            self.lengths.setdefault(prefix, {})[len(string)] = True  # ordered, without duplicates
        self.sizes = [size for size in PREFIXES if size in set(map(len, self.lengths))]
        first = {prefix[0] for prefix in self.lengths}
        # Special tokens start with characters that are rare in texts: '<', '['.
        is_rare = not any(char.isalnum() or char.isspace() for char in first)
        pattern = "|".join(map(re.escape, sorted(first))) or "(?!)"
        self._rare_first = re.compile(pattern) if is_rare else None
        hash_bits = (ENTRIES_PER_PREFIX * len(self.lengths) + 1).bit_length()
        self._shift = np.uint32(32 - hash_bits)  # the highest bits depend on all characters
        self._is_hash = np.zeros(1 << hash_bits, bool)  # whether a prefix has this hash
        for size in self.sizes:
            prefixes = [prefix for prefix in self.lengths if len(prefix) == size]
            *_, hashes = prefix_hashes(code_points("".join(prefixes)).reshape(-1, size).T)
            self._is_hash[hashes >> self._shift] = True

    def find(self, text):
        """Yield (start, end) of each match; matches do not overlap."""
        done = 0
        for start in self._candidates(text):
            if start >= done and (length := self._longest_at(text, start)):
                done = start + length
                yield start, done

    def _longest_at(self, text, start):
        """Return the length of the longest string that starts here; 0 if none does."""
        for size in self.sizes:  # strings with a longer prefix are longer
            for length in self.lengths.get(text[start : start + size], ()):
                string = text[start : start + length]
                if string in self.strings:
                    return len(string)  # less than length at the end of the text
        return 0

    def _candidates(self, text):
        """Yield all positions where a string starts, and a few others, in ascending order."""
        if self._rare_first:
            for match in self._rare_first.finditer(text):
                yield match.start()
        elif len(text) <= SHORT_TEXT:
            for start in range(len(text)):
                for size in self.sizes:
                    if text[start : start + size] in self.lengths:
                        yield start
                        break
        else:
            longest = self.sizes[0]
            for start in range(0, len(text), CHUNK):
                # The characters after the end count as 0.
                codes = code_points(text[start : start + CHUNK + longest - 1] + "\0" * longest)
                num_positions = min(CHUNK, len(text) - start)
                columns = [codes[i : i + num_positions] for i in range(longest)]
                found = np.zeros(num_positions, bool)
                for size, hashes in enumerate(prefix_hashes(columns), start=1):
                    if size in self.sizes:
                        found |= self._is_hash.take(hashes >> self._shift)
                yield from (np.flatnonzero(found) + start).tolist()


def prefix_hashes(columns):
    """Yield the hashes of the first 1, 2, ... characters, each (N,) uint32.

    columns: the code points of the first characters (N,), of the second characters (N,), ...
    """
    hashes = np.zeros(len(columns[0]), np.uint32)
    for codes in columns:
        hashes += codes
        hashes *= FACTOR
        yield hashes


def code_points(text):
    """Return the code points of a text: 'ab' -> array([97, 98], dtype=uint32)"""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)

"""Texts -> numbers of units: which of the distinct stretches of text (``borders.py``) stands where, for a whole batch at once.

A dict of bytes would do it, and does for what is new or long. But a unit of at most 16 bytes is two 64-bit numbers and a length, and
whole arrays of those can be looked up together, in a table with one place for each hash. Two units that share a place
take turns in it, which costs time and nothing else: a unit counts as found only where all of it is equal.
"""
import numpy as np

from .pretokenize import utf8

MARGIN = 8  # bytes before and after the texts, so that eight bytes can be read anywhere
PLACES = 20  # the table has 2^20 places: four megabytes
_MASK = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # keeps the first count bytes of eight
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)  # odd, their bits well mixed


def joined(texts):
    """Texts -> (their UTF-8 end to end, between margins, uint8; where each begins in it, and where the last ends, int64).

    Raises ValueError for half a character. ["ab", "", "c"] -> 8 zeros, a, b, c, 8 zeros; [8, 10, 10, 11]
    """
    encoded = list(map(utf8, texts))
    starts = np.cumsum([MARGIN, *map(len, encoded)])
    margin = bytes(MARGIN)
    return np.frombuffer(b"".join((margin, *encoded, margin)), np.uint8), starts


class Units:
    """Numbers the distinct units, from 1 in the order in which they come. ``borders``: as ``borders.gpt2_borders``."""

    def __init__(self, borders):
        self.borders = borders
        self.number_of = {}  # bytes -> number
        self._place = np.zeros(1 << PLACES, np.int32)  # hash -> number of the unit that was there last
        self._first, self._last = np.zeros((2, 1024), np.uint64)  # number -> its first eight bytes; its last eight, if it is longer
        self._length = np.zeros(1024, np.int64)  # number -> bytes; 0 for what is too long for the table

    def __len__(self):
        return len(self.number_of)

    def since(self, number):
        """The units from ``number`` on, as bytes."""
        return list(self.number_of)[number - 1:]

    def find(self, data, text_starts):
        """data, text_starts: as ``joined`` gives them. -> (numbers of the units in order (U,) int32, where they begin in data (U,))"""
        begins = np.zeros(len(data), bool)
        begins[text_starts] = True
        first, last = text_starts[0], text_starts[-1]
        starts = np.flatnonzero(self.borders(data, begins)[first:last]) + first  # (U,)
        ends = np.append(starts[1:], last)[:len(starts)]
        lengths = ends - starts
        eight = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))  # the eight bytes from each byte on
        head = eight[starts] & _MASK[np.minimum(lengths, 8)]
        tail = np.where(lengths > 8, eight[ends - 8], np.uint64(0))
        mixed = head * _FACTORS[0] ^ tail * _FACTORS[1] ^ lengths.astype(np.uint64) * _FACTORS[2]
        place = (mixed >> np.uint64(64 - PLACES)).astype(np.int64)
        numbers = self._place[place]
        missed = np.flatnonzero((self._first[numbers] != head) | (self._last[numbers] != tail) | (self._length[numbers] != lengths))
        if len(missed):
            found = numbers[missed] = self._look_up(data, starts[missed], ends[missed])
            self._first[found], self._last[found] = head[missed], tail[missed]
            self._length[found] = np.where(lengths[missed] > 16, 0, lengths[missed])
            self._place[place[missed]] = found
        return numbers, starts

    def _look_up(self, data, starts, ends):
        text, number_of = data.tobytes(), self.number_of
        found = np.array([number_of.setdefault(text[start:end], len(number_of) + 1) for start, end in zip(starts.tolist(), ends.tolist())])
        while len(number_of) >= len(self._length):
            self._first, self._last, self._length = (np.append(a, np.zeros_like(a)) for a in (self._first, self._last, self._length))
        return found

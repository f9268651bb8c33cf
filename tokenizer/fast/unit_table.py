"""Texts -> numbers of units: which of the distinct stretches of text (``word_boundaries.py``) stands where, for a whole batch at once.

A dict of bytes would do it, and does for what is new or long. But a unit of at most 16 bytes is two 64-bit numbers and a length, and
whole arrays of those can be looked up together, in a table with one place for each hash. Two units that share a place
take turns in it, which costs time and nothing else: a unit counts as found only where all of it is equal.
"""
from itertools import islice

import numpy as np

from tokenizer.pretokenize import utf8

MARGIN = 8  # bytes before and after the texts, so that eight bytes can be read anywhere
PLACES = 20  # the table has 2^20 places: four megabytes
MANY = 1000  # units that are not in the table, from which on sorting them out first is faster
_MASK = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # keeps the first count bytes of eight
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)  # odd, their bits well mixed


def join_texts(texts):
    """Texts -> (their UTF-8 end to end, between margins, uint8; where each begins in it, and where the last ends, int64).

    Raises ValueError for half a character. ["ab", "", "c"] -> 8 zeros, a, b, c, 8 zeros; [8, 10, 10, 11]
    """
    encoded = list(map(utf8, texts))
    starts = np.cumsum([MARGIN, *map(len, encoded)])
    margin = bytes(MARGIN)
    return np.frombuffer(b"".join((margin, *encoded, margin)), np.uint8), starts


class UnitTable:
    """Numbers the distinct units, from 1 in the order in which they come. ``borders``: as ``borders.gpt2_boundaries``.

    >>> from tokenizer.fast.word_boundaries import gpt2_boundaries
    >>> units = UnitTable(gpt2_boundaries)
    >>> numbers, starts = units.find(*join_texts(["a b\\n", "a"])); numbers, starts - MARGIN, units.since(1)
    (array([1, 2, 3, 1], dtype=int32), array([0, 1, 3, 4]), [b'a', b' b', b'\\n'])
    """

    def __init__(self, borders):
        self.boundaries = borders
        self.number_of = {}  # bytes -> number
        self._place = np.zeros(1 << PLACES, np.int32)  # hash -> number of the unit that was there last; 0 is no unit
        self._keys = np.zeros((3, 1024), np.uint64)  # number -> its key (``_keys``); its length is 0 for what is too long for the table

    def __len__(self):
        return len(self.number_of)

    def since(self, number):
        """The units from ``number`` on, as bytes."""
        return list(islice(reversed(self.number_of), len(self) - number + 1))[::-1]

    def find(self, data, text_starts):
        """data, text_starts: as ``join_texts`` gives them. -> (numbers of the units in order (U,) int32, where they begin in data (U,))"""
        begins = np.zeros(len(data), bool)
        begins[text_starts] = True
        first, last = text_starts[0], text_starts[-1]
        starts = np.flatnonzero(self.boundaries(data, begins)[first:last]) + first  # (U,)
        ends = np.append(starts[1:], last)[:len(starts)]

        keys = _keys(data, starts, ends)
        mixed = keys[0] * _FACTORS[0] ^ keys[1] * _FACTORS[1] ^ keys[2] * _FACTORS[2]
        places = (mixed >> np.uint64(64 - PLACES)).astype(np.int64)
        numbers = self._place[places]
        missed = np.flatnonzero(self._differ(numbers, keys))
        if len(missed) > MANY:  # look up one for each place; then most of the others are found
            one = missed[np.unique(places[missed], return_index=True)[1]]
            self._look_up(data, starts[one], ends[one], at(keys, one), places[one])
            numbers[missed] = self._place[places[missed]]
            missed = missed[self._differ(numbers[missed], at(keys, missed))]
        if len(missed):
            numbers[missed] = self._look_up(data, starts[missed], ends[missed], at(keys, missed), places[missed])
        return numbers, starts

    def _differ(self, numbers, keys):
        """Where the units of these numbers are not the ones with these keys. -> (U,) bool"""
        return (self._keys[0][numbers] != keys[0]) | (self._keys[1][numbers] != keys[1]) | (self._keys[2][numbers] != keys[2])

    def _look_up(self, data, starts, ends, keys, places):
        """The numbers of some units, by the dict. What is new to it gets the next number; each unit takes its place in the table. -> (U,)"""
        text, number_of = data.tobytes(), self.number_of
        numbers = np.array([number_of.setdefault(text[start:end], len(number_of) + 1) for start, end in zip(starts.tolist(), ends.tolist())])
        while len(number_of) >= self._keys.shape[1]:
            self._keys = np.concatenate((self._keys, np.zeros_like(self._keys)), axis=1)
        self._keys[:, numbers] = keys
        self._keys[2, numbers] *= keys[2] <= 16  # only of these does the key hold every byte
        self._place[places] = numbers
        return numbers


def _keys(data, starts, ends):
    """The first eight bytes of each unit, its last eight if it is longer, and its length. -> three arrays (U,) uint64"""
    lengths = ends - starts
    eight = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))  # the eight bytes from each byte on
    head = eight[starts] & _MASK[np.minimum(lengths, 8)]
    tail = np.where(lengths > 8, eight[ends - 8], np.uint64(0))
    return head, tail, lengths.astype(np.uint64)


def at(keys, where):
    """The keys of some of the units."""
    return tuple(part[where] for part in keys)

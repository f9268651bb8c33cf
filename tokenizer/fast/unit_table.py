"""Not needed to understand BERT. The same as: {unit: id} looked up for each unit of each text.

A *unit* is a stretch of text that can be tokenized independently: mostly a word with the space
before it (``word_boundaries.py``). Here the units of a whole batch are looked up with a few array
operations. A unit of up to 16 bytes is two 64-bit integers and a length, so an array of units can
be looked up together, in a table with one entry per hash. Units with the same hash evict each
other, which costs time but is never wrong, as all bytes are compared. Longer units are looked up in
a dict.
"""
from itertools import islice

import numpy as np

from tokenizer.pretokenize import utf8

MARGIN = 8         # zero bytes around the texts, so that eight bytes can be read at any position
HASH_BITS = 20     # the table has 2^20 entries, 4 MB
MANY_MISSES = 1000  # from this many on, it pays to look up one unit per hash first
MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # keep the first bytes
FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)  # odd


def join_texts(texts):
    """Return (UTF-8 of all texts between margins (N,) uint8, offsets of the texts (len + 1,)).

    Raises ValueError for half a character (a surrogate).

    ["ab", "", "c"] -> 8 zeros, a, b, c, 8 zeros; [8, 10, 10, 11]
    """
    return join_bytes([utf8(text) for text in texts])


def join_bytes(encoded):
    """Return what ``join_texts`` returns, from the UTF-8 of each text."""
    starts = np.cumsum([MARGIN, *map(len, encoded)])
    margin = bytes(MARGIN)
    return np.frombuffer(b"".join((margin, *encoded, margin)), np.uint8), starts


class UnitTable:
    """Gives each distinct unit an id: 1, 2, 3, ... in the order in which they occur.

    boundaries: such as ``word_boundaries.gpt2_boundaries``

    >>> from tokenizer.fast.word_boundaries import gpt2_boundaries
    >>> units = UnitTable(gpt2_boundaries)
    >>> ids, starts = units.find(*join_texts(["a b\\n", "a"]))
    >>> ids, starts - MARGIN, units.since(1)
    (array([1, 2, 3, 1], dtype=int32), array([0, 1, 3, 4]), [b'a', b' b', b'\\n'])
    """

    def __init__(self, boundaries):
        self.boundaries = boundaries
        self.ids = {}  # bytes -> id
        self._id_at = np.zeros(1 << HASH_BITS, np.int32)  # hash -> id of the last unit; 0: none
        # id -> key, see ``_keys``; grows. The length is 0 for units that are too long for a key.
        self._key_of = np.zeros((3, 1024), np.uint64)

    def __len__(self):
        return len(self.ids)

    def since(self, first_id):
        """Return the units from ``first_id`` on, as bytes."""
        num_units = len(self) - first_id + 1
        return list(islice(reversed(self.ids), num_units))[::-1]

    def find(self, data, text_starts):
        """Return (ids of the units in order (U,) int32, their offsets in ``data`` (U,)).

        data, text_starts: as ``join_texts`` returns them
        """
        is_text_start = np.zeros(len(data), bool)
        is_text_start[text_starts] = True
        first = text_starts[0]
        last = text_starts[-1]
        is_unit_start = self.boundaries(data, is_text_start)
        starts = np.flatnonzero(is_unit_start[first:last]) + first  # (U,)
        ends = np.append(starts[1:], last)[:len(starts)]            # (U,)

        keys = _keys(data, starts, ends)                            # (3, U)
        mixed = keys[0] * FACTORS[0] ^ keys[1] * FACTORS[1] ^ keys[2] * FACTORS[2]
        hashes = (mixed >> np.uint64(64 - HASH_BITS)).astype(np.int64)
        ids = self._id_at[hashes]
        missed = np.flatnonzero(self._differs(ids, keys))
        if len(missed) > MANY_MISSES:
            # The same new word often occurs many times: look up one unit for each hash, then
            # most of the others are found in the table.
            _, one_per_hash = np.unique(hashes[missed], return_index=True)
            one = missed[one_per_hash]
            self._look_up(data, starts[one], ends[one], keys[:, one], hashes[one])
            ids[missed] = self._id_at[hashes[missed]]
            missed = missed[self._differs(ids[missed], keys[:, missed])]
        if len(missed):
            ids[missed] = self._look_up(data, starts[missed], ends[missed], keys[:, missed],
                                        hashes[missed])
        return ids, starts

    def _differs(self, ids, keys):
        """Return where the units with these ids have other keys. -> (U,) bool"""
        differs = self._key_of[0][ids] != keys[0]
        differs |= self._key_of[1][ids] != keys[1]
        differs |= self._key_of[2][ids] != keys[2]
        return differs

    def _look_up(self, data, starts, ends, keys, hashes):
        """Return the ids of units from the dict, giving new ones the next id; update the table."""
        text = data.tobytes()
        ids = self.ids
        found = []
        for start, end in zip(starts.tolist(), ends.tolist()):
            found.append(ids.setdefault(text[start:end], len(ids) + 1))
        ids = np.array(found)
        while len(self.ids) >= self._key_of.shape[1]:
            self._key_of = np.concatenate((self._key_of, np.zeros_like(self._key_of)), axis=1)
        self._key_of[:, ids] = keys
        self._key_of[2, ids] *= keys[2] <= 16  # the key of a longer unit does not hold every byte
        self._id_at[hashes] = ids
        return ids


def _keys(data, starts, ends):
    """Return the keys of units: the first 8 bytes, the last 8 if longer, the length. -> (3, U)"""
    lengths = ends - starts
    eight_bytes_at = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    head = eight_bytes_at[starts] & MASKS[np.minimum(lengths, 8)]
    tail = np.where(lengths > 8, eight_bytes_at[ends - 8], np.uint64(0))
    return np.stack((head, tail, lengths.astype(np.uint64)))

"""Not needed to understand BERT. The same as: ``Tokenizer.encode_ids(text)`` for each text.

The words of a language are few and occur again and again. So each distinct unit of text (mostly a
word, see ``unit_table.py``) is encoded once. The ids of all units are kept in one long array, and a
unit becomes a slice of it. Finding the units of a batch and copying their ids are array operations.
``reference.py`` has the slow way; ``Tokenizer.encode`` is between the two.
"""
import os
import threading
from array import array
from itertools import chain

import numpy as np

from tokenizer.fast.unit_table import UnitTable, join_texts
from tokenizer.fast.word_boundaries import split_text
from tokenizer.unknown import UnknownText
from tokenizer.utils.workers import batch_texts, map_in_order

MAX_CACHED_UNITS = 1 << 19  # about 100 MB with their ids; real texts mostly have far fewer
LONG_TEXT = 1 << 18         # characters that are encoded at once; arrays take 30 bytes for each
BATCH_CHARACTERS = 1 << 17  # large enough that sending a batch to a worker costs nothing
# One process encodes for this long before workers start, which is all of a small corpus. The
# workers, which are forked, know all words that have occurred by then.
INLINE_SECONDS = 0.2

# Encoding changes a cache: one thread at a time. A forked worker copies the caches and the lock, so
# forking waits for the thread that holds it. (An RLock, because byte-level BPE encodes words by a
# ``CorpusEncoder`` of fragments inside that of words.)
LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release,
                        after_in_child=LOCK.release)


class CorpusEncoder:
    """Encodes batches of texts.

    boundaries    such as ``word_boundaries.gpt2_boundaries``
    encode_units  function from a list of units, as bytes, to what ``encode`` returns for texts
    unknown_in    function from a unit, as str, to its ``UnknownText`` or None; None: nothing is
                  unknown
    unknown       ``UnknownText`` of everything encoded so far

    The ids of unit u are ``ids[starts[u]:starts[u] + lengths[u]]``.
    """

    def __init__(self, boundaries, encode_units, unknown_in=None):
        self.boundaries = boundaries
        self.encode_units = encode_units
        self.unknown_in = unknown_in
        self.unknown = UnknownText()  # clearing the cache keeps it
        self.clear()

    def clear(self):
        """Forget all units."""
        self.units = UnitTable(self.boundaries)
        self.ids = array("I")
        self.starts = array("q", [0])   # unit ids start at 1
        self.lengths = array("q", [0])
        self.unknown_units = {}  # unit id -> UnknownText; most units have none

    def encode(self, texts):
        """Return (ids of all texts joined (N,) uint32, number of ids of each text (T,) int64)."""
        parts = [split_text(text, LONG_TEXT) if len(text) > LONG_TEXT else [text] for text in texts]
        ids = [np.zeros(0, np.uint32)]
        lengths = [np.zeros(0, np.int64)]
        for batch in batch_texts(chain.from_iterable(parts), LONG_TEXT):
            batch_ids, batch_lengths = self.encode_joined(*join_texts(batch))
            ids.append(batch_ids)
            lengths.append(batch_lengths)
        # from the lengths of the parts to the lengths of the texts
        part_ends = np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
        text_ends = part_ends[np.cumsum([0, *map(len, parts)])]
        return np.concatenate(ids), np.diff(text_ends)

    def encode_joined(self, data, text_starts):
        """Return what ``encode`` returns. Arguments as ``join_texts`` returns them."""
        with LOCK:
            if len(self.units) > MAX_CACHED_UNITS or len(self.ids) > 16 * MAX_CACHED_UNITS:
                self.clear()
            try:
                unit_ids, unit_starts = self.units.find(data, text_starts)  # (U,), (U,)
                self._encode_new_units()
            except BaseException:  # also Ctrl-C: no unit may stay without its ids
                self.clear()
                raise
            return self._ids_of_units(unit_ids, unit_starts, text_starts)

    def _ids_of_units(self, unit_ids, unit_starts, text_starts):
        if self.unknown_units:
            self._count_unknown(unit_ids)
        lengths = np.frombuffer(self.lengths, np.int64)[unit_ids]  # (U,)
        starts = np.frombuffer(self.starts, np.int64)[unit_ids]    # (U,)
        ids = np.zeros(0, np.uint32)
        if self.ids:
            ids = take_slices(np.frombuffer(self.ids, np.uint32), starts, lengths)  # (N,)

        num_units_before = np.searchsorted(unit_starts, text_starts)                # (T + 1,)
        num_ids_before = np.concatenate(([0], lengths.cumsum()))[num_units_before]  # (T + 1,)
        return ids, np.diff(num_ids_before)

    def _encode_new_units(self):
        """Encode the units that ``find`` has added since the last call."""
        first_id = len(self.starts)
        new_units = self.units.since(first_id)
        if not new_units:
            return
        ids, lengths = self.encode_units(new_units)
        for unit_id, unit in enumerate(new_units if self.unknown_in else (), first_id):
            if unknown := self.unknown_in(unit.decode("utf-8")):
                self.unknown_units[unit_id] = unknown
        starts = len(self.ids) + lengths.cumsum() - lengths
        self.starts.extend(starts.tolist())
        self.lengths.extend(lengths.tolist())
        self.ids.frombytes(ids.astype(np.uint32).tobytes())

    def _count_unknown(self, unit_ids):
        """Add the units with unknown words among ``unit_ids`` to ``unknown``."""
        counts = np.bincount(unit_ids, minlength=len(self.starts))
        candidates = np.fromiter(self.unknown_units, np.int64)
        for unit_id in candidates[counts[candidates] > 0].tolist():
            self.unknown.add(self.unknown_units[unit_id], int(counts[unit_id]))


def take_slices(values, starts, lengths):
    """Return slices of an array, joined: of ``lengths`` values each, from ``starts`` on.

    >>> take_slices(np.array([10, 20, 30, 40]), np.array([2, 0]), np.array([2, 1]))
    array([30, 40, 10])
    """
    # Where each value is copied from: counting up within a slice, from the slice's start.
    # By hand: starts 5 and 2, lengths 2 and 1 -> source 5 6 2.
    num_before = lengths.cumsum() - lengths
    source = np.arange(lengths.sum()) + np.repeat(starts - num_before, lengths)
    return values[source]


def dtype_for(vocab_size):
    """Return the smallest type that holds every id: 2 bytes for nearly all vocabularies.

    >>> dtype_for(65_536), dtype_for(65_537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def encode_documents(tokenizer, documents, workers=None):
    """Yield an array of ids for each text, on all cores; see ``Tokenizer.encode_documents``."""
    batches = batch_texts(documents, BATCH_CHARACTERS)
    results = map_in_order(_encode_batch, batches, shared=tokenizer, workers=workers,
                           inline_seconds=INLINE_SECONDS)
    for ids, lengths in results:
        start = 0
        for length in lengths.tolist():
            yield ids[start:start + length]
            start += length


def _encode_batch(tokenizer, texts):
    """Encode in a worker; return the ids in the smallest type, which is faster to send."""
    ids, lengths = tokenizer.encode_texts(texts)
    return ids.astype(dtype_for(tokenizer.vocab_size)), lengths

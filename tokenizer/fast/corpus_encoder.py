"""The fast way for many texts, without offsets: texts -> one array of ids, fast enough that no one waits for the tokenizer.

The words of a language are few and come again and again. So each distinct unit of text (a word, mostly: ``word_boundaries.py``) is encoded once;
its ids are kept at the end of one long array, and from then on the unit is a number: where to look. Finding the units of a batch, their
numbers and their ids are operations on whole arrays. ``reference.py`` has the slow way, and ``Tokenizer.encode`` is between the two.
"""
import threading
from array import array
from itertools import accumulate, chain

import numpy as np

from tokenizer.fast.unit_table import UnitTable, join_texts
from tokenizer.fast.word_boundaries import split_text
from tokenizer.utils.workers import batch_texts, map_in_order

MAX_CACHED_UNITS = 1 << 19  # distinct units; with their ids about 100 MB. In real texts far fewer make up nearly everything
LONG_TEXT = 1 << 18  # characters that are encoded at once: arrays of some 30 bytes for each
BATCH_CHARACTERS = 1 << 19  # what goes to a worker at once: large enough that sending it costs nothing
NUM_INLINE_BATCHES = 64  # batches that are encoded before workers start: most words have come by then, and all workers know them


class CorpusEncoder:
    """Encodes batches of texts. ``borders``: as ``borders.gpt2_boundaries``; ``encode_unit``: str -> list of ids.

    The ids of unit n are ``ids[starts[n]:starts[n] + lengths[n]]``.
    """

    def __init__(self, borders, encode_unit):
        self.boundaries, self.encode_unit = borders, encode_unit
        self.lock = threading.Lock()  # what is kept is changed while texts are encoded: one thread at a time
        self.clear()

    def clear(self):
        """Forget all units."""
        self.units = UnitTable(self.boundaries)
        self.ids, self.starts, self.lengths = array("I"), array("q", [0]), array("q", [0])  # unit 0 is none

    def encode(self, texts):
        """A list of texts -> (ids of all, one after the other (N,) uint32; how many of them are each text's (texts,) int64)."""
        short = [[part] if len(part) <= LONG_TEXT else split_text(part, LONG_TEXT) for part in texts]
        results = []
        with self.lock:
            for some in batch_texts(chain.from_iterable(short), LONG_TEXT):
                results.append(self._encode(some))
        ids, lengths = zip(*results) if results else ((np.zeros(0, np.uint32),), (np.zeros(0, np.int64),))
        ids, ends = np.concatenate(ids), np.concatenate(([0], np.cumsum(np.concatenate(lengths))))
        return ids, np.diff(ends[np.cumsum([0, *map(len, short)])])

    def _encode(self, texts):
        """As ``encode``, for texts that are together no longer than arrays should be."""
        if len(self.units) > MAX_CACHED_UNITS or len(self.ids) > 16 * MAX_CACHED_UNITS:
            self.clear()  # rare, and cheap to make again
        data, text_starts = join_texts(texts)
        try:
            numbers, unit_starts = self.units.find(data, text_starts)  # (U,), (U,)
            self._encode_new()
        except BaseException:  # Ctrl-C: no number without ids may stay
            self.clear()
            raise
        lengths = np.frombuffer(self.lengths, np.int64)[numbers]  # (U,)
        starts = np.frombuffer(self.starts, np.int64)[numbers]
        ends = lengths.cumsum()
        # where each id is taken from: counting up within a unit, and jumping to its start at its border
        source = np.arange(lengths.sum()) + np.repeat(starts - (ends - lengths), lengths)  # (N,)
        ids = np.frombuffer(self.ids, np.uint32)[source] if len(source) else np.zeros(0, np.uint32)
        before = np.concatenate(([0], ends))[np.searchsorted(unit_starts, text_starts)]  # ids before each text, and all
        return ids, np.diff(before)

    def _encode_new(self):
        """Encode the units that ``find`` has numbered since the last time, and keep their ids."""
        encoded = [self.encode_unit(unit.decode("utf-8")) for unit in self.units.since(len(self.starts))]
        lengths = list(map(len, encoded))
        self.starts.extend(start for start, _ in zip(accumulate(lengths, initial=len(self.ids)), lengths))
        self.lengths.extend(lengths)
        self.ids.extend(chain.from_iterable(encoded))


def dtype_for(vocab_size):
    """The smallest type that holds every id: 2 bytes a token for nearly all vocabularies.

    >>> dtype_for(65_536), dtype_for(65_537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def encode_documents(tokenizer, documents, workers=None):
    """An iterator of texts -> an iterator of arrays of ids, one for each, encoded on all cores; see ``Tokenizer.encode_documents``."""
    for ids, lengths in map_in_order(_encode_batch, batch_texts(documents, BATCH_CHARACTERS), shared=tokenizer, workers=workers, num_inline=NUM_INLINE_BATCHES):
        ends = lengths.cumsum().tolist()
        yield from (ids[end - length:end] for end, length in zip(ends, lengths.tolist()))


def _encode_batch(tokenizer, texts):
    """In a worker: as ``encode_texts``, the ids in the smallest type."""
    ids, lengths = tokenizer.encode_texts(texts)
    return ids.astype(dtype_for(tokenizer.vocab_size)), lengths

"""The corpus path: many texts -> one array of ids, fast enough that no one waits for the tokenizer.

The words of a language are few and come again and again. So each distinct piece of text (``pretokenize.cut_texts``) is
encoded once; its ids are kept at the end of one long array, and from then on the piece is a number: where to look. A text
is split (in C), its pieces become numbers through a dict (in C), and numpy gathers their ids.
"""
from array import array
from itertools import accumulate, chain

import numpy as np

from .counting import batches
from .pretokenize import TEXT, cut_texts
from .workers import map_in_order

KEPT_PIECES = 1 << 19  # distinct pieces; with their ids about 100 MB. Real corpora come again to nearly all of far fewer
BATCH_CHARACTERS = 1 << 19  # what goes to a worker at once: large enough that sending it costs nothing


class PieceTable(dict):
    """piece -> number n; its ids are ``ids[starts[n]:starts[n] + lengths[n]]``. A piece that is not there yet gets the next number."""

    def __init__(self, encode_piece):
        self.encode_piece = encode_piece
        self.clear()

    def clear(self):
        super().clear()
        self.new = []  # pieces that have a number and no ids yet
        self.ids, self.starts, self.lengths, self.begins_text = array("I"), array("q"), array("q"), array("b")

    def __missing__(self, piece):
        self.new.append(piece)
        number = self[piece] = len(self)
        return number

    def _encode_new(self):
        encoded = list(map(self.encode_piece, self.new))
        lengths = list(map(len, encoded))
        self.starts.extend(start for start, _ in zip(accumulate(lengths, initial=len(self.ids)), lengths))
        self.lengths.extend(lengths)
        self.begins_text.extend(piece.startswith(TEXT) for piece in self.new)
        self.ids.extend(chain.from_iterable(encoded))
        self.new = []

    def encode(self, texts):
        """A list of texts -> (ids of all, one after the other (N,) uint32; how many of them are each text's (texts,) int64)."""
        if not texts:
            return np.zeros(0, np.uint32), np.zeros(0, np.int64)
        if len(self) > KEPT_PIECES or len(self.ids) > 16 * KEPT_PIECES:
            self.clear()  # rare, and cheap to make again
        pieces = cut_texts(texts)
        try:
            numbers = np.fromiter(map(self.__getitem__, pieces), np.int64, len(pieces))  # (P,)
            self._encode_new()
        except BaseException:  # a text that cannot be encoded, or Ctrl-C: no number without ids may stay
            self.clear()
            raise
        lengths = np.frombuffer(self.lengths, np.int64)[numbers]  # (P,)
        starts = np.frombuffer(self.starts, np.int64)[numbers]
        first_pieces = np.flatnonzero(np.frombuffer(self.begins_text, np.int8)[numbers])  # (texts,)
        ends = lengths.cumsum()
        # where each id is taken from: counting up within a piece, and jumping to its start at its border
        source = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)  # (N,)
        ids = np.frombuffer(self.ids, np.uint32)[source] if len(source) else np.zeros(0, np.uint32)
        return ids, np.add.reduceat(lengths, first_pieces)


def dtype_for(vocab_size):
    """The smallest type that holds every id: 2 bytes a token for nearly all vocabularies.

    >>> dtype_for(65_536), dtype_for(65_537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def encode_documents(tokenizer, documents, workers=None):
    """An iterator of texts -> an iterator of arrays of ids, one for each, encoded on all cores; see ``Tokenizer.encode_documents``."""
    for ids, lengths in map_in_order(_encode_batch, batches(documents, BATCH_CHARACTERS), shared=tokenizer, workers=workers):
        ends = lengths.cumsum().tolist()
        yield from (ids[end - length:end] for end, length in zip(ends, lengths.tolist()))


def _encode_batch(tokenizer, texts):
    ids, lengths = tokenizer.encode_lines(texts)
    return ids.astype(dtype_for(tokenizer.vocab_size)), lengths

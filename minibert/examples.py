"""A token file as a sequence of examples: lines, documents, packed sequences or sentence pairs.

A token file contains documents, a document contains segments (lines), and a segment contains ids
without special tokens. How the file is read decides what an example is:

    lines       [CLS] line [SEP]                        long lines are cut off
    documents   [CLS] piece of a document [SEP]         nothing is lost
    blocks      [CLS] exactly max_length - 2 ids [SEP]  packed sequences: all documents are joined
                                                        and cut at any token; no padding
    pairs       [CLS] sentence A [SEP] sentence B [SEP]  see sentence_pairs.py

Packed sequences are RoBERTa's FULL-SENTENCES (Liu et al. 2019, section 4.2), except that RoBERTa
cuts between sentences.

Examples are a sequence: len(examples), examples[i] -> 1-D int64 array, and have the attributes
``lengths`` (n,) and ``max_length``. ``examples.at(seed, epoch)`` returns the examples of an epoch:
pairs are drawn again each time, and packed sequences are cut at other tokens after the first epoch.
"""
from bisect import bisect_right
from copy import copy

import numpy as np

from data.token_file.reader import iter_lengths
from minibert.sentence_pairs import Pairs


def make_examples(kind, token_file, tokenizer, max_length):
    """Return the examples of a token file; max_length includes special tokens.

    kind: 'lines', 'documents', 'blocks' or 'pairs'. Raises ValueError if another tokenizer wrote
    the file, or if max_length is too short.
    """
    if token_file.tokenizer_fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"the token file {token_file.folder} was written with another tokenizer (fingerprint "
            f"{token_file.tokenizer_fingerprint[:12]}, not {tokenizer.fingerprint[:12]}): "
            "prepare it again, or use that tokenizer")
    max_ids(kind, tokenizer, max_length)
    classes = {"lines": Lines, "documents": Documents, "blocks": PackedSequences, "pairs": Pairs}
    return classes[kind](token_file, tokenizer, max_length)


def max_ids(kind, tokenizer, max_length):
    """Return how many ids of text fit into an example; raise ValueError if that is too few."""
    is_pair = kind == "pairs"
    num_special = tokenizer.num_special_tokens_to_add(pair=is_pair)
    if max_length - num_special < 1 + is_pair:
        text = "two sentences" if is_pair else "a token of text"
        raise ValueError(f"max_length {max_length} leaves no room for {text} "
                         f"next to the {num_special} special tokens")
    return max_length - num_special


def add_special_tokens(ids, cls, sep):
    """Return [CLS] ids [SEP] as a 1-D int64 array.

    >>> add_special_tokens(np.array([7, 8], dtype=np.uint16), cls=0, sep=2)
    array([0, 7, 8, 2])
    """
    out = np.empty(len(ids) + 2, dtype=np.int64)
    out[0] = cls
    out[1:-1] = ids
    out[-1] = sep
    return out


class Examples:
    """What all examples but pairs have in common."""

    segment_b_starts = None  # only pairs have a sentence B
    nsp_labels = None

    def __init__(self, tokenizer, max_length):
        self.cls = tokenizer.cls_token_id
        self.sep = tokenizer.sep_token_id
        self.max_length = max_length
        self.max_ids = max_length - 2

    def at(self, seed, epoch):
        return self

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        i = range(len(self))[i]  # raises IndexError after the last; makes a numpy integer an int
        return add_special_tokens(self.ids_of(i), self.cls, self.sep)


class Lines(Examples):
    """Each segment is an example, cut off after max_ids ids. Empty segments are dropped."""

    def __init__(self, token_file, tokenizer, max_length):
        super().__init__(tokenizer, max_length)
        self.ids = token_file.ids
        self.segments = token_file.segments  # (n + 1,): where each segment starts in ids
        self.lengths = np.empty(token_file.num_segments, np.int32)  # (n,)
        # The index is read in parts: it may be larger than the memory.
        for first, sizes in iter_lengths(self.segments):
            self.lengths[first : first + len(sizes)] = np.minimum(sizes, self.max_ids)
        self.not_empty = None  # indices of the segments that have ids; None: all have
        if not self.lengths.all():
            self.not_empty = np.flatnonzero(self.lengths)
            self.lengths = self.lengths[self.not_empty]
        self.lengths += 2  # [CLS] and [SEP]

    def ids_of(self, i):
        segment = i if self.not_empty is None else self.not_empty[i]
        start = self.segments[segment]
        return self.ids[start : start + self.lengths[i] - 2]


class Documents(Examples):
    """Each document is cut into pieces of max_ids ids; its last piece may be shorter."""

    def __init__(self, token_file, tokenizer, max_length):
        super().__init__(tokenizer, max_length)
        self.stream = TokenStream(token_file, tokenizer)
        # The pieces of document d are the examples first_piece[d] to first_piece[d + 1] - 1.
        self.first_piece = np.zeros(self.stream.num_documents + 1, np.int64)
        parts = [np.zeros(0, np.int32)]
        for first, sizes in self.stream.iter_document_lengths():
            num_pieces = -(-sizes // self.max_ids)  # rounded up
            ends = num_pieces.cumsum()
            self.first_piece[first + 1 : first + 1 + len(ends)] = self.first_piece[first] + ends
            # All pieces are full, except that the last one of a document has what remains.
            lengths = np.full(ends[-1], self.max_ids, np.int32)
            has_text = num_pieces > 0
            remaining = sizes - (num_pieces - 1) * self.max_ids
            lengths[ends[has_text] - 1] = remaining[has_text]
            parts.append(lengths)
        self.lengths = np.concatenate(parts)
        self.lengths += 2  # [CLS] and [SEP]

    def ids_of(self, i):
        # From the index of a piece to its document, and to the piece's index in the document
        document = int(np.searchsorted(self.first_piece, i, side="right")) - 1
        piece = i - int(self.first_piece[document])
        start = self.stream.document_start(document) + piece * self.max_ids
        return self.stream.read(start, start + int(self.lengths[i]) - 2)


class PackedSequences(Examples):
    """All documents are joined and cut into sequences of max_ids ids: nothing needs padding.

    The first epoch cuts at the multiples of max_ids. Later ones start ``offset`` ids further on, so
    that a token is not always next to the same boundary, with the same context.
    """

    def __init__(self, token_file, tokenizer, max_length):
        super().__init__(tokenizer, max_length)
        self.stream = TokenStream(token_file, tokenizer)
        self.total = len(self.stream)
        self.size = min(self.max_ids, self.total)  # a shorter corpus is one short sequence
        self.offset = 0

    def at(self, seed, epoch):
        sequences = copy(self)
        if epoch:
            highest = min(self.size - 1, self.total - self.size)  # leaves at least one sequence
            sequences.offset = int(np.random.default_rng([seed, epoch]).integers(highest + 1))
        return sequences

    @property
    def lengths(self):
        # The ids before the first cut and after the last one are not in this epoch.
        num_sequences = (self.total - self.offset) // self.size if self.size else 0
        return np.broadcast_to(np.int32(self.size + 2), num_sequences)  # takes no memory

    def ids_of(self, i):
        start = self.offset + i * self.size
        return self.stream.read(start, start + self.size)


class TokenStream:
    """A token file as one stream of ids: a line end after each segment, [SEP] after each document.

        segments    abc  de | fghi | m  no        (| is the end of a document)
        stream      a b c / d e > f g h i > m / n o >

    The [SEP] (>) replaces the line end (/) of a document's last segment. Nothing is copied: where a
    segment starts in the stream follows from where it starts in the file.
    """

    def __init__(self, token_file, tokenizer):
        self.ids = token_file.ids
        self.segments = token_file.segments  # (n + 1,): where each segment starts in ids
        self.documents = token_file.documents  # (m + 1,): the first segment of each document
        self.num_documents = len(self.documents) - 1
        # Byte-level BPE has a token for the line end, 'Ċ' (preceded by 'Ġ' if it adds a space), so
        # the ids are those of the unbroken text. WordPiece drops white space: no line end, [].
        self.line_end = tokenizer.encode_ids("\n")[-1:]
        self.sep = [tokenizer.sep_token_id]

    def __len__(self):
        return self.document_start(self.num_documents)

    def segment_start(self, segment, document):
        """Return where a segment, which belongs to that document, starts in the stream."""
        # Before it, each segment or only each document has ended with one extra token.
        num_separators = segment if self.line_end else document
        return int(self.segments[segment]) + num_separators

    def document_start(self, document):
        """Return where a document starts in the stream."""
        return self.segment_start(int(self.documents[document]), document)

    def iter_document_lengths(self):
        """Yield (index of the first document, lengths without [SEP]) for many documents at once."""
        for first, num_segments in iter_lengths(self.documents):
            boundaries = self.segments[self.documents[first : first + len(num_segments) + 1]]
            num_line_ends = num_segments - 1 if self.line_end else 0
            yield first, np.diff(boundaries) + num_line_ends

    def read(self, start, end):
        """Return the ids at positions start to end - 1 of the stream, a 1-D int64 array."""
        # Find the document, and in it the segment, that contains position ``start``.
        documents = range(self.num_documents)
        document = bisect_right(documents, start, key=self.document_start) - 1
        segments = range(self.documents[document], self.documents[document + 1])
        segment = segments[bisect_right(
            segments, start, key=lambda segment: self.segment_start(segment, document)) - 1]
        skip = start - self.segment_start(segment, document)  # ids of it that come before

        # Copy segment after segment, and after each its line end or [SEP].
        out = np.empty(end - start, dtype=np.int64)
        filled = 0
        while filled < len(out):
            is_last = segment + 1 == self.documents[document + 1]
            ids = self.ids[self.segments[segment] + skip : self.segments[segment + 1]]
            separator = self.sep if is_last else self.line_end
            for piece in (ids, separator):
                piece = piece[: len(out) - filled]  # the last one may not fit completely
                out[filled : filled + len(piece)] = piece
                filled += len(piece)
            segment += 1
            document += is_last
            skip = 0  # all but the first segment are read from their start
        return out

"""A token file seen as examples: lines, cut documents, packed blocks, or pairs.

A token file holds documents, a document holds segments (lines), a segment holds ids without any special token. One
file serves all four kinds; what an example is gets decided here, when it is read:

    lines       [CLS] line [SEP]                      KantaiBERT; longer lines are cut off
    documents   [CLS] piece of one document [SEP]     nothing is lost, no piece crosses a document's end
    blocks      [CLS] exactly N - 2 ids [SEP]         all documents in one row, [SEP] between them, cut into equal blocks: no padding.
                                                      RoBERTa's FULL-SENTENCES (Liu et al. 2019, section 4.2), but cut at any token
    pairs       [CLS] sentence A [SEP] sentence B [SEP]    BERT's next-sentence prediction: see pairs.py

Where lines are joined, the line end between them comes back as the tokenizer writes it: byte-level BPE has a token for it
('Ċ'), so the ids are exactly those of the unbroken text; WordPiece drops white space, so there is none.

Each kind is a sequence: len(examples), examples[i] -> 1-D int64 array, examples.lengths -> (n,) ints, examples.max_length.
Pairs are drawn anew for each epoch, so all kinds have ``at(seed, epoch)``: the examples of that epoch. (For pairs only the result is a sequence.)
"""
from bisect import bisect_right
from functools import partial

import numpy as np

from data.token_file.reader import iter_lengths
from minibert.sentence_pairs import Pairs


def make_examples(kind, token_file, tokenizer, max_length):
    """The examples of a token file: kind is 'lines', 'documents', 'blocks' or 'pairs'; max_length counts special tokens.

    Raises ValueError where the tokenizer is not the one that wrote the file, or where max_length leaves no room.
    """
    if token_file.tokenizer_fingerprint != tokenizer.fingerprint:
        raise ValueError(f"the token file {token_file.folder} was written with another tokenizer "
                         f"(fingerprint {token_file.tokenizer_fingerprint[:12]}, this one has {tokenizer.fingerprint[:12]}): "
                         "prepare it again, or use the tokenizer it was made with")
    room = max_ids(kind, tokenizer, max_length)
    if kind == "pairs":
        return Pairs(token_file, tokenizer, max_length)
    examples = {"lines": Lines, "documents": Documents, "blocks": PackedSequences}[kind](token_file, tokenizer, room)
    examples.max_length = max_length
    return examples


def max_ids(kind, tokenizer, max_length):
    """How many ids of text an example has beside its special tokens; ValueError where that is too few.

    ``"lines", a tokenizer with [CLS] and [SEP], 128 -> 126``
    """
    special, least = tokenizer.num_special_tokens_to_add(pair=kind == "pairs"), "two sentences" if kind == "pairs" else "an id"
    if max_length - special < (2 if kind == "pairs" else 1):
        raise ValueError(f"max_length {max_length} has no room for {least} beside the {special} special tokens")
    return max_length - special


class Examples:
    """What the kinds that do not change from epoch to epoch have in common."""
    segment_b_starts = nsp_labels = None  # of pairs alone: where sentence B begins, whether it follows A

    def at(self, seed, epoch):
        return self


class Lines(Examples):
    """Each segment is an example, cut off after ``room`` ids (transformers' LineByLineTextDataset). Empty ones are left out."""

    def __init__(self, token_file, tokenizer, room):
        self.ids, self.starts = token_file.ids, token_file.segments
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.lengths = np.empty(token_file.num_segments, np.int32)
        for first, sizes in iter_lengths(self.starts):
            self.lengths[first : first + len(sizes)] = np.minimum(sizes, room)
        self.kept = None  # all
        if not self.lengths.all():
            self.kept = np.flatnonzero(self.lengths)
            self.lengths = self.lengths[self.kept]
        self.lengths += 2

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        i = range(len(self))[i]  # IndexError past the last one
        start = self.starts[i if self.kept is None else self.kept[i]]
        return add_special_tokens(self.ids[start : start + self.lengths[i] - 2], self.cls, self.sep)


class Documents(Examples):
    """Each document cut into pieces of at most ``room`` ids."""

    def __init__(self, token_file, tokenizer, room):
        self.row, self.room = TokenStream(token_file, tokenizer), room
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.first = np.zeros(len(token_file.documents), np.int64)  # (documents + 1,): the first piece of each, and the number of pieces
        lengths = [np.zeros(0, np.int32)]
        for number, sizes in self.row.documents_in_parts():
            pieces = -(-sizes // room)  # ceil: pieces of each document
            ends = pieces.cumsum()
            self.first[number + 1 : number + 1 + len(pieces)] = self.first[number] + ends
            some, real = np.full(ends[-1], room + 2, np.int32), pieces > 0
            some[ends[real] - 1] -= (pieces * room - sizes)[real].astype(np.int32)  # the last one of a document is shorter
            lengths.append(some)
        self.lengths = np.concatenate(lengths)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        i = range(len(self))[i]
        document = int(np.searchsorted(self.first, i, side="right")) - 1
        start = self.row.begin(document) + (i - int(self.first[document])) * self.room
        return add_special_tokens(self.row.read(start, start + int(self.lengths[i]) - 2), self.cls, self.sep)


class PackedSequences(Examples):
    """All documents in one row, cut into blocks of ``room`` ids. The tail that fills no block is dropped: less than one block."""

    def __init__(self, token_file, tokenizer, room):
        self.row = TokenStream(token_file, tokenizer)
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        total = self.row.begin(len(token_file.documents) - 1)
        self.room = min(room, total)  # a corpus shorter than one block is one short block
        self.lengths = np.broadcast_to(np.int32(self.room + 2), total // self.room if total else 0)  # one number, seen often

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        i = range(len(self))[i]  # a Python int: numpy's small ones would run over
        return add_special_tokens(self.row.read(i * self.room, (i + 1) * self.room), self.cls, self.sep)


class TokenStream:
    """All segments of a token file in one row, a line end after each segment and [SEP] after each document (which also ends its last line).

    Nothing is kept but the memory maps. Where a segment begins in the row follows from where it begins in ``ids`` and from the number
    of line ends and [SEP] before it: with a token for the line end one for each segment, without one for each document.
    """

    def __init__(self, token_file, tokenizer):
        self.ids, self.starts, self.documents = token_file.ids, token_file.segments, token_file.documents
        self.line_end = tokenizer.encode_ids("\n")[-1:]  # [Ċ] for byte-level BPE (behind Ġ where it adds a space), [] for WordPiece
        self.sep = [tokenizer.sep_token_id]

    def position(self, segment, document):
        """Where in the row a segment begins, which is of that document."""
        return int(self.starts[segment]) + (segment if self.line_end else document)

    def begin(self, document):
        """Where in the row a document begins; that of the number of documents is the length of the row."""
        return self.position(int(self.documents[document]), document)

    def documents_in_parts(self):
        """Yield (number of the first, ids of each in the row, without the [SEP] after it) for a million documents at a time."""
        for first, segments in iter_lengths(self.documents):
            borders = self.starts[self.documents[first : first + len(segments) + 1]]
            yield first, np.diff(borders) + (segments - 1 if self.line_end else 0)

    def read(self, start, end):
        """The ids at [start, end) of the row -> 1-D int64 array."""
        out = np.empty(end - start, dtype=np.int64)
        document = bisect_right(range(len(self.documents) - 1), start, key=self.begin) - 1
        segments = range(self.documents[document], self.documents[document + 1])
        segment = segments[bisect_right(segments, start, key=partial(self.position, document=document)) - 1]
        skipped, filled = start - self.position(segment, document), 0  # the first segment may have begun before
        while filled < len(out):
            ids = self.ids[self.starts[segment] + skipped : self.starts[segment + 1]]
            last = segment + 1 == self.documents[document + 1]
            for part in (ids, self.sep if last else self.line_end):
                part = part[: len(out) - filled]
                out[filled : filled + len(part)] = part
                filled += len(part)
            segment, document, skipped = segment + 1, document + last, 0
        return out


def add_special_tokens(ids, cls, sep):
    """[CLS] ids [SEP] -> 1-D int64 array.

    >>> add_special_tokens(np.array([7, 8], dtype=np.uint16), cls=0, sep=2)
    array([0, 7, 8, 2])
    """
    out = np.empty(len(ids) + 2, dtype=np.int64)
    out[0], out[1:-1], out[-1] = cls, ids, sep
    return out

"""A token file seen as examples: lines, cut documents, packed blocks, or pairs.

A token file holds documents, a document holds segments (lines), a segment holds ids without any special token. One
file serves all four kinds; what an example is gets decided here, when it is read:

    lines       [CLS] line [SEP]                      KantaiBERT; longer lines are cut off
    documents   [CLS] piece of one document [SEP]     nothing is lost, no piece crosses a document's end
    blocks      [CLS] exactly N - 2 ids [SEP]         RoBERTa's FULL-SENTENCES (Liu et al. 2019, section 4.2): all documents
                                                      in one row, [SEP] between them, cut into equal blocks, no padding
    pairs       [CLS] sentence A [SEP] sentence B [SEP]    BERT's next-sentence prediction: see pairs.py

Where lines are joined, the line end between them comes back as the tokenizer writes it: byte-level BPE has a token for it
('Ċ'), so the ids are exactly those of the unbroken text; WordPiece drops white space, so there is none.

Each kind is a sequence: len(examples), examples[i] -> 1-D int64 array, examples.lengths -> (n,) ints, examples.max_length.
Pairs are drawn anew for each epoch, so all kinds have ``at(seed, epoch)``: the examples of that epoch. (For pairs only the result is a sequence.)
"""
import numpy as np

from minibert.pairs import Pairs


def make_examples(kind, token_file, tokenizer, max_length):
    """The examples of a token file: kind is 'lines', 'documents', 'blocks' or 'pairs'; max_length counts special tokens.

    Raises ValueError where the tokenizer is not the one that wrote the file, or where max_length leaves no room.
    """
    if token_file.tokenizer_fingerprint != tokenizer.fingerprint:
        raise ValueError(f"the token file {token_file.folder} was written with another tokenizer "
                         f"(fingerprint {token_file.tokenizer_fingerprint[:12]}, this one has {tokenizer.fingerprint[:12]}): "
                         "prepare it again, or use the tokenizer it was made with")
    if kind == "pairs":
        return Pairs(token_file, tokenizer, max_length)
    room = max_length - tokenizer.num_special_tokens_to_add()
    if room < 1:
        raise ValueError(f"max_length {max_length} has no room beside {tokenizer.num_special_tokens_to_add()} special tokens")
    examples = {"lines": Lines, "documents": Documents, "blocks": Blocks}[kind](token_file, tokenizer, room)
    examples.max_length = max_length
    return examples


class Examples:
    """What the kinds that do not change from epoch to epoch have in common."""
    second = labels = None  # of pairs alone: where sentence B begins, whether it follows A

    def at(self, seed, epoch):
        return self


class Lines(Examples):
    """Each segment is an example, cut off after ``room`` ids (transformers' LineByLineTextDataset). Empty ones are left out."""

    def __init__(self, token_file, tokenizer, room):
        self.ids, self.starts, self.room = token_file.ids, token_file.segments, room
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        sizes = np.diff(self.starts)
        self.kept = np.flatnonzero(sizes)
        self.lengths = np.minimum(sizes[self.kept], room) + 2

    def __len__(self):
        return len(self.kept)

    def __getitem__(self, i):
        start, end = self.starts[self.kept[i] : self.kept[i] + 2]
        return framed(self.ids[start : min(end, start + self.room)], self.cls, self.sep)


class Documents(Examples):
    """Each document cut into pieces of at most ``room`` ids."""

    def __init__(self, token_file, tokenizer, room):
        self.row = Row(token_file, tokenizer)
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        first, after = token_file.documents[:-1], token_file.documents[1:]
        # A document ends where its last segment ends: the [SEP] that follows it in the row is left out.
        start = self.row.position[first]
        end = self.row.position[after] - self.row.gap[after - 1]
        pieces = -(-(end - start) // room)  # ceil: pieces of each document
        owner = np.repeat(np.arange(len(first)), pieces)  # the document of each piece
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # 0, 1, ... within its document
        self.start = start[owner] + nth * room
        self.end = np.minimum(self.start + room, end[owner])
        self.lengths = self.end - self.start + 2

    def __len__(self):
        return len(self.start)

    def __getitem__(self, i):
        return framed(self.row.read(self.start[i], self.end[i]), self.cls, self.sep)


class Blocks(Examples):
    """All documents in one row, cut into blocks of ``room`` ids. The tail that fills no block is dropped: less than one block."""

    def __init__(self, token_file, tokenizer, room):
        self.row, self.room = Row(token_file, tokenizer), room
        self.cls, self.sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        total = int(self.row.position[-1])
        self.room = min(room, total)  # a corpus shorter than one block is one short block
        self.lengths = np.full(total // self.room if total else 0, self.room + 2)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(f"block {i} of {len(self)}")
        return framed(self.row.read(i * self.room, (i + 1) * self.room), self.cls, self.sep)


class Row:
    """All segments of a token file in one row, a line end after each segment and [SEP] after each document.

    position (segments + 1,): where in the row each segment begins. Nothing is copied but what read() returns.
    """

    def __init__(self, token_file, tokenizer):
        line_end = tokenizer.encode_ids("\n")[-1:]  # [Ċ] for byte-level BPE (behind Ġ where it adds a space), [] for WordPiece
        self.ids, self.starts = token_file.ids, token_file.segments
        count = token_file.num_segments
        last = token_file.documents[1:] - 1  # the last segment of each document
        self.gap = np.full(count, len(line_end), dtype=np.int64)  # ids between this segment and the next
        self.gap[last] = 1
        self.filler = np.full(count, line_end[0] if line_end else -1, dtype=np.int64)
        self.filler[last] = tokenizer.sep_token_id
        self.position = self.starts + np.concatenate([[0], np.cumsum(self.gap)])

    def read(self, start, end):
        """The ids at [start, end) of the row -> 1-D int64 array."""
        out = np.empty(end - start, dtype=np.int64)
        filled = 0
        segment = int(np.searchsorted(self.position, start, side="right")) - 1
        while filled < len(out):
            inside = start + filled - self.position[segment]  # how far into this segment and its gap we are
            ids = self.ids[self.starts[segment] + inside : self.starts[segment + 1]][: len(out) - filled]
            out[filled : filled + len(ids)] = ids
            filled += len(ids)
            if self.gap[segment] and filled < len(out):
                out[filled] = self.filler[segment]
                filled += 1
            segment += 1
        return out


def framed(ids, cls, sep):
    """[CLS] ids [SEP] -> 1-D int64 array.

    >>> framed(np.array([7, 8], dtype=np.uint16), cls=0, sep=2)
    array([0, 7, 8, 2])
    """
    out = np.empty(len(ids) + 2, dtype=np.int64)
    out[0], out[1:-1], out[-1] = cls, ids, sep
    return out

"""Pairs of sentences for next-sentence prediction, made as Google's create_pretraining_data.py makes them, and anew in every epoch.

    [CLS] sentence A [SEP] sentence B [SEP]        (Devlin et al. 2018, section 3.1, task 2, and appendix A.2)

A document is read into chunks of as many segments as fill an example (now and then of fewer). A is the first few segments of its chunk, their
number drawn at random. B is the rest of the chunk, and the label 0; or, half of the time, as long a piece of another document, and the label 1. What
B did not use then begins the next chunk, so each segment is seen in its place once an epoch. A chunk of one segment has no rest: its B is always
random, so that more than half of all labels are 1. What is too long is cut from the longer of the two, at its beginning or its end by a coin.

Google writes its pairs to disk ten times over (dupe_factor); here they are drawn from (seed, epoch), and cost no disk.

A chunk begins where the one before left off, so drawing is a walk through the segments. What the walk does at a segment, if it comes there, is
drawn for all segments at once, in arrays; the walk itself is then a chain of look-ups, and all the rest is arrays again. A pair is kept in 13 bytes.
"""
from pathlib import Path

import numpy as np

from data.token_file.reader import lengths_in_parts

SHORT = 0.1  # this share of the documents is cut into shorter chunks, so that short inputs are known too
AT_ONCE = 1 << 14  # segments whose draws are in memory at once


class TooFewDocuments(ValueError):
    """There is no other document that a random sentence could come from."""


class Pairs:
    """The pairs of a token file: ``at(seed, epoch)`` are those of one epoch. ValueError for fewer than two documents."""

    def __init__(self, token_file, tokenizer, max_length):
        self.ids, self.max_length = token_file.ids, max_length
        self.frame = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.room = max_length - tokenizer.num_special_tokens_to_add(pair=True)  # 2 at least: ``examples.max_ids``
        segments, documents = token_file.segments, token_file.documents
        if not all(sizes.all() for _, sizes in lengths_in_parts(segments)):
            kept = np.flatnonzero(np.diff(segments))  # segments that have ids
            segments, documents = np.append(segments[kept], segments[-1]), np.unique(np.searchsorted(kept, documents))  # those without ids are none
        self.segments, self.documents = np.asarray(segments), np.asarray(documents)  # where each segment begins in ids, each document in segments
        if len(documents) < 3:
            part = {"train": "the training part", "eval": "the held-out part"}.get(Path(token_file.folder).name, token_file.folder)
            raise TooFewDocuments(f"pairs need two documents at least, {part} has {len(documents) - 1}: the random sentences come from another one. "
                             "Give documents (in a .txt, separated by blank lines), or take other examples")
        begin, length = (np.min_scalar_type(n) for n in (max(len(self.ids), 1 << 16), max(max_length, 1 << 8)))  # 4 and 2 bytes; more where need be
        # Of a pair: where A and B begin in ids, where B begins in the example, how long that is, the label.
        self.record = np.dtype([("a", begin), ("b", begin), ("second", length), ("length", length), ("label", np.uint8)])

    def at(self, seed, epoch):
        """The pairs of an epoch, a pure function of (seed, epoch)."""
        rng = Draws(seed, epoch)
        documents, segments = len(self.documents) - 1, len(self.segments) - 1
        short = rng.documents.random(documents, np.float32) < SHORT
        targets = np.where(short, rng.documents.integers(2, self.room, documents, np.int32, endpoint=True), np.int32(self.room))  # (documents,)
        drawn, segment = bytearray(), 0
        for first in range(0, segments, AT_ONCE):
            starts = np.arange(first, min(first + AT_ONCE, segments))  # a chunk may start at any segment
            numbers = self.documents.searchsorted(starts, side="right") - 1  # of their documents
            middles, ends, labels = self._chunks(starts, numbers, targets[numbers], rng.segments.random((len(starts), 2)))
            extend_digest, begun = np.where(labels, middles, ends).tolist(), []
            while segment <= starts[-1]:
                begun.append(segment - first)
                segment = extend_digest[segment - first]
            drawn += self._pairs(numbers[begun], targets[numbers[begun]], starts[begun], middles[begun], ends[begun], labels[begun], rng).tobytes()
        return DrawnPairs(self, np.frombuffer(drawn, self.record))

    def _chunks(self, starts, numbers, targets, draws):
        """Chunks that start at these segments, of documents of these numbers, all (n,); draws (n, 2) -> three (n,):

        the segment after the last of A, the segment after the chunk, whether B is a random one. A chunk goes up to the segment that fills it, or to
        the end of the document. A random B leaves to the next chunk what follows A.
        """
        ends = self._filled(starts, targets, self.documents[numbers + 1])
        sizes = ends - starts
        middles = starts + 1 + (draws[:, 0] * (sizes - 1)).astype(np.int64)
        return middles, ends, (sizes == 1) | (draws[:, 1] < 0.5)

    def _filled(self, begins, lengths, lasts):
        """Segments (n,), at least one from each on, that together have so many ids, but none past ``lasts`` -> the segment after them (n,)"""
        wanted, low, high = self.segments[begins] + lengths, begins + 1, np.minimum(lasts, begins + np.maximum(lengths, 1))
        while (apart := low < high).any():  # bisection within so many segments as ids are wanted, since each has one at least
            middle = (low + high) // 2
            before = self.segments[middle] < wanted
            low, high = np.where(apart & before, middle + 1, low), np.where(apart & ~before, middle, high)
        return low

    def _pairs(self, numbers, targets, starts, middles, ends, labels, rng):
        """The records of chunks, all (n,): which ids A and B have."""
        b_first, b_after = middles.copy(), ends.copy()
        lengths = (targets - (self.segments[middles] - self.segments[starts]))[labels]  # of the random ones: what A leaves room for
        b_first[labels], b_after[labels] = self._elsewhere(numbers[labels], lengths, rng.elsewhere.random((len(lengths), 2)))
        begins = np.stack((self.segments[starts], self.segments[b_first]), 1)  # (n, 2), in ids: of A and B
        sizes = np.stack((self.segments[middles], self.segments[b_after]), 1) - begins
        stay = np.stack(kept(sizes[:, 0], sizes[:, 1], self.room), 1)
        begins += rng.cuts.binomial(sizes - stay, 0.5)  # for each id too many a coin: does it go at the front or at the back?
        records = np.empty(len(starts), self.record)
        records["a"], records["b"] = begins.T
        records["second"], records["length"], records["label"] = stay[:, 0] + 2, stay.sum(1) + 3, labels
        return records

    def _elsewhere(self, numbers, lengths, draws):
        """For each of these documents as much of another, from one of its segments on, as reaches so many ids. draws (n, 2) -> segments (n,), (n,)"""
        others = (draws[:, 0] * (len(self.documents) - 2)).astype(np.int64)
        others += others >= numbers
        first, last = self.documents[others], self.documents[others + 1]
        begins = first + (draws[:, 1] * (last - first)).astype(np.int64)
        return begins, self._filled(begins, lengths, last)


class Draws:
    """The random numbers of one epoch, of each kind a row of its own: it does not matter how many are drawn at once.

    documents: how long its chunks are; segments: how a chunk that starts there is divided, whether its B is random; elsewhere: where a random B
    comes from; cuts: how much of A and of B goes at the front.
    """

    def __init__(self, seed, epoch):
        rows = np.random.SeedSequence([seed, epoch]).spawn(4)
        self.documents, self.segments, self.elsewhere, self.cuts = map(np.random.default_rng, rows)


def kept(a, b, room):
    """How many of a and b ids stay when, one by one, the longer gives way, b if they are equal: (9, 2, 6) -> (4, 2); (9, 9, 5) -> (3, 2)"""
    half = room // 2
    return np.minimum(a, np.maximum(room - b, room - half)), np.minimum(b, np.maximum(room - a, half))


class DrawnPairs:
    """The pairs of one epoch, a sequence of 1-D arrays of ids like all examples (``examples.py``), and beside it

    segment_b_starts (n,): where sentence B begins in each;  nsp_labels (n,): 0 where B follows A, 1 where it comes from elsewhere.
    """

    def __init__(self, pairs, drawn):
        self.pairs, self.drawn, self.max_length = pairs, drawn, pairs.max_length
        self.lengths = drawn["length"]
        self.segment_b_starts = drawn["second"]
        self.nsp_labels = drawn["label"]

    def __len__(self):
        return len(self.drawn)

    def __getitem__(self, i):
        a, b, second, length, _ = self.drawn[i].item()
        cls, sep = self.pairs.frame
        out = np.empty(length, np.int64)
        out[0], out[second - 1], out[-1] = cls, sep, sep
        out[1:second - 1], out[second:-1] = self.pairs.ids[a:a + second - 2], self.pairs.ids[b:b + length - second - 1]
        return out

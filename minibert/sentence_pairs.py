"""Sentence pairs for next-sentence prediction (Devlin et al. 2018, section 3.1 and appendix A.2).

    [CLS] sentence A [SEP] sentence B [SEP]      label 0: B follows A, 1: B is random

As in Google's create_pretraining_data.py, a document is cut into chunks of as many segments as fill
an example. A is the first few segments of a chunk, a random number of them. Then a coin decides:

    0    B is the rest of the chunk
    1    B is as long a piece of another document, and the rest starts the next chunk

A chunk of one segment has no rest, so its B is always random, and more than half of all labels are
1. If A and B are too long together, the longer one is cut, at its front or at its back.

Google writes ten different draws of the pairs to disk (dupe_factor). Here they are drawn again for
each epoch, as a pure function of (seed, epoch).
"""
from bisect import bisect_left
from itertools import islice

import numpy as np

from data.token_file.reader import iter_lengths

SHORT = 0.1  # the share of documents with shorter chunks, so that the model sees short inputs, too
PAIRS_AT_ONCE = 1 << 14  # pairs whose arrays are in memory together


class TooFewDocuments(ValueError):
    """There is no other document to take a random sentence from."""


class Pairs:
    """The pairs of a token file: ``at(seed, epoch)`` returns those of one epoch.

    Raises TooFewDocuments if the file has fewer than two documents.
    """

    def __init__(self, token_file, tokenizer, max_length):
        self.ids = token_file.ids
        self.cls = tokenizer.cls_token_id
        self.sep = tokenizer.sep_token_id
        self.max_length = max_length
        self.max_ids = max_length - tokenizer.num_special_tokens_to_add(pair=True)
        self.segments, self.documents = without_empty_segments(token_file)
        self.num_documents = len(self.documents) - 1
        if self.num_documents < 2:
            raise TooFewDocuments(
                f"pairs need at least two documents, {token_file.folder} has {self.num_documents}: "
                "separate documents by blank lines in a .txt, or choose other --examples")
        # One pair has 13 bytes, unless the corpus or the model is huge.
        offset = np.uint32 if len(self.ids) < 1 << 32 else np.int64
        length = np.uint16 if max_length < 1 << 16 else np.int32
        self.record = np.dtype([
            ("a", offset),  # where A starts in ids
            ("b", offset),  # where B starts in ids
            ("segment_b_start", length),  # where B starts in the example
            ("length", length),  # of the example
            ("label", np.uint8),
        ])

    def at(self, seed, epoch):
        """Return the pairs of an epoch, a pure function of (seed, epoch)."""
        draws = Draws(seed, epoch)
        walk = self._walk(draws)
        parts = []
        while pairs := list(islice(walk, PAIRS_AT_ONCE)):
            parts.append(self._cut(np.array(pairs), draws.cuts))
        return DrawnPairs(self, np.concatenate(parts))

    def _walk(self, draws):
        """Yield (start of A, end of A, start of B, end of B, label); offsets are those of ids."""
        is_short = draws.documents.random(self.num_documents, np.float32) < SHORT
        short_lengths = draws.documents.integers(
            2, self.max_ids, self.num_documents, np.int32, endpoint=True)
        targets = np.where(is_short, short_lengths, self.max_ids)  # ids in a chunk

        for document in range(self.num_documents):
            target = int(targets[document])
            doc_start = int(self.documents[document])  # indices of segments
            doc_end = int(self.documents[document + 1])
            coins = draws.segments.random((doc_end - doc_start, 2)).tolist()
            start = doc_start
            while start < doc_end:
                # A chunk is the segments start to end - 1, and A is start to middle - 1.
                end = self._fill(start, doc_end, target)
                split, coin = coins[start - doc_start]
                middle = start + 1 + int(split * (end - start - 1))
                a_start = self.segments[start]
                a_end = self.segments[middle]
                if end - start == 1 or coin < 0.5:
                    b_first, b_end = self._random_piece(
                        document, target - (a_end - a_start), draws.elsewhere)
                    yield a_start, a_end, self.segments[b_first], self.segments[b_end], 1
                    start = middle  # the rest of the chunk is not lost
                else:
                    yield a_start, a_end, a_end, self.segments[end], 0
                    start = end

    def _fill(self, start, limit, num_ids):
        """Return the end of the shortest run of segments with num_ids ids, or else ``limit``."""
        return bisect_left(self.segments, self.segments[start] + num_ids, start + 1, limit)

    def _random_piece(self, document, num_ids, rng):
        """Return (first segment, end) of a random piece of another document."""
        document_draw, segment_draw = rng.random(2).tolist()
        other = int(document_draw * (self.num_documents - 1))
        other += other >= document  # skip the document itself
        doc_start = int(self.documents[other])
        doc_end = int(self.documents[other + 1])
        start = doc_start + int(segment_draw * (doc_end - doc_start))
        return start, self._fill(start, doc_end, num_ids)

    def _cut(self, pairs, rng):
        """Return records of pairs (n, 5) from ``_walk``, cut to max_ids."""
        starts = pairs[:, [0, 2]]  # (n, 2): of A and B
        lengths = pairs[:, [1, 3]] - starts  # (n, 2)
        kept = np.stack(kept_lengths(lengths[:, 0], lengths[:, 1], self.max_ids), axis=1)
        # For each id that must go, a coin decides: from the front or from the back?
        starts += rng.binomial(lengths - kept, 0.5)
        records = np.empty(len(pairs), self.record)
        records["a"] = starts[:, 0]
        records["b"] = starts[:, 1]
        records["segment_b_start"] = kept[:, 0] + 2  # after [CLS], A and [SEP]
        records["length"] = kept.sum(axis=1) + 3
        records["label"] = pairs[:, 4]
        return records


def without_empty_segments(token_file):
    """Return (segments, documents) as in the token file, without segments that have no ids."""
    segments = np.asarray(token_file.segments)
    documents = np.asarray(token_file.documents)
    if all(lengths.all() for _, lengths in iter_lengths(segments)):
        return segments, documents
    not_empty = np.flatnonzero(np.diff(segments))
    documents = np.unique(np.searchsorted(not_empty, documents))  # empty documents vanish, too
    return np.append(segments[not_empty], segments[-1]), documents


class Draws:
    """The random numbers of an epoch: each purpose has a generator of its own."""

    def __init__(self, seed, epoch):
        seeds = np.random.SeedSequence([seed, epoch]).spawn(4)
        self.documents = np.random.default_rng(seeds[0])  # how long the chunks are
        self.segments = np.random.default_rng(seeds[1])  # where a chunk is split, is B random?
        self.elsewhere = np.random.default_rng(seeds[2])  # where a random B comes from
        self.cuts = np.random.default_rng(seeds[3])  # how much is cut from the front


def kept_lengths(a, b, max_ids):
    """Return the lengths of A and B after removing ids of the longer (if equal, of B) one by one.

    (9, 2, 6) -> (4, 2);  (9, 9, 5) -> (3, 2)
    """
    half = max_ids // 2
    kept_a = np.minimum(a, np.maximum(max_ids - b, max_ids - half))
    kept_b = np.minimum(b, np.maximum(max_ids - a, half))
    return kept_a, kept_b


class DrawnPairs:
    """The pairs of one epoch: a sequence of 1-D arrays of ids, as all examples, with

    segment_b_starts (n,)    where sentence B starts in each example
    nsp_labels (n,)          0: B follows A, 1: B is random
    """

    def __init__(self, pairs, records):
        self.ids = pairs.ids
        self.cls = pairs.cls
        self.sep = pairs.sep
        self.max_length = pairs.max_length
        self.records = records
        self.lengths = records["length"]
        self.segment_b_starts = records["segment_b_start"]
        self.nsp_labels = records["label"]

    def __len__(self):
        return len(self.records)

    def __getitem__(self, i):
        a, b, segment_b_start, length, _ = self.records[i].item()
        a_length = segment_b_start - 2
        b_length = length - segment_b_start - 1
        out = np.full(length, self.sep, dtype=np.int64)
        out[0] = self.cls
        out[1 : 1 + a_length] = self.ids[a : a + a_length]
        out[segment_b_start : segment_b_start + b_length] = self.ids[b : b + b_length]
        return out

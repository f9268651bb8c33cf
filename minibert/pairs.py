"""Pairs of sentences for next-sentence prediction, made as Google's create_pretraining_data.py makes them, and anew in every epoch.

    [CLS] sentence A [SEP] sentence B [SEP]        (Devlin et al. 2018, section 3.1, task 2, and appendix A.2)

A document is read into chunks of as many segments as fill an example (now and then of fewer). A is the first few segments of its chunk, their
number drawn at random. B is the rest of the chunk, and the label 0; or, half of the time, as long a piece of another document, and the label 1. What
B did not use then begins the next chunk, so each segment is seen in its place once an epoch. A chunk of one segment has no rest: its B is always
random, so that more than half of all labels are 1. What is too long is cut from the longer of the two, at its beginning or its end by a coin.

Google writes its pairs to disk ten times over (dupe_factor); here they are drawn from (seed, epoch), and cost no disk.
"""
import random
from array import array
from bisect import bisect_left
from pathlib import Path

import numpy as np

from data.token_file import lengths_in_parts

SHORT = 0.1  # this share of the documents is cut into shorter chunks, so that short inputs are known too


class TooFewDocuments(ValueError):
    """There is no other document that a random sentence could come from."""


class Pairs:
    """The pairs of a token file: ``at(seed, epoch)`` are those of one epoch. ValueError for fewer than two documents."""

    def __init__(self, token_file, tokenizer, max_length):
        self.ids, self.max_length = token_file.ids, max_length
        self.frame = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
        if self.room < 2:
            raise ValueError(f"max_length {max_length} has no room for two sentences beside the special tokens")
        segments, documents = token_file.segments, token_file.documents
        if not all(sizes.all() for _, sizes in lengths_in_parts(segments)):
            kept = np.flatnonzero(np.diff(segments))  # segments that have ids
            segments, documents = np.append(segments[kept], segments[-1]), np.unique(np.searchsorted(kept, documents))  # those without ids are none
        # Views of the maps (one number of a view is read faster than one of an array): where each segment begins in ids, each document in segments.
        self.segments, self.documents = memoryview(segments), memoryview(documents)
        if len(documents) < 3:
            part = {"train": "the training part", "eval": "the held-out part"}.get(Path(token_file.folder).name, token_file.folder)
            raise TooFewDocuments(f"pairs need two documents at least, {part} has {len(documents) - 1}: the random sentences come from another one. "
                             "Give documents (in a .txt, separated by blank lines), or take other examples")

    def at(self, seed, epoch):
        """The pairs of an epoch, a pure function of (seed, epoch)."""
        rng = random.Random(f"{seed} {epoch}")  # a text: the same numbers in every process
        drawn = array("q")  # of each pair: where A begins and ends in ids, where B does, the label
        for number in range(len(self.documents) - 1):
            self._draw(number, rng, drawn)
        return DrawnPairs(self, np.frombuffer(drawn, np.int64).reshape(-1, 5))

    def _draw(self, number, rng, drawn):
        """The pairs of one document (create_instances_from_document)."""
        starts, target = self.segments, self.room
        if rng.random() < SHORT:
            target = rng.randint(2, self.room)
        segment, last = self.documents[number], self.documents[number + 1]
        while segment < last:
            # The chunk: up to the segment that fills it, or to the end of the document.
            end = max(bisect_left(starts, starts[segment] + target, segment, last), segment + 1)
            middle = segment + (rng.randint(1, end - segment - 1) if end - segment > 1 else 1)  # where A ends
            a = starts[segment], starts[middle]
            if end - segment == 1 or rng.random() < 0.5:
                b, label, segment = self._elsewhere(number, target - (a[1] - a[0]), rng), 1, middle
            else:
                b, label, segment = (starts[middle], starts[end]), 0, end
            drawn.extend((*self._cut(*a, *b, rng), label))

    def _elsewhere(self, number, length, rng):
        """As much of another document, from one of its segments on, as reaches ``length`` ids. -> (start, end) in ids"""
        other = rng.randrange(len(self.documents) - 2)
        other += other >= number
        first, last = self.documents[other], self.documents[other + 1]
        begin = rng.randrange(first, last)
        end = max(bisect_left(self.segments, self.segments[begin] + length, begin, last), begin + 1)
        return self.segments[begin], self.segments[end]

    def _cut(self, a_start, a_end, b_start, b_end, rng):
        """Take ids from the longer of the two, B if they are equal, each from the front or the back by a coin (truncate_seq_pair)."""
        kept_a, kept_b = kept(a_end - a_start, b_end - b_start, self.room)
        front_a = heads(a_end - a_start - kept_a, rng)
        front_b = heads(b_end - b_start - kept_b, rng)
        return a_start + front_a, a_start + front_a + kept_a, b_start + front_b, b_start + front_b + kept_b


def kept(a, b, room):
    """How many of a and b ids stay when, one by one, the longer gives way, b if they are equal: (9, 2, 6) -> (4, 2); (9, 9, 5) -> (3, 2)"""
    if a + b <= room:
        return a, b
    half = room // 2
    if b <= half:
        return room - b, b
    return (a, room - a) if a <= room - half else (room - half, half)


def heads(coins, rng):
    """How many of so many tossed coins show heads."""
    return rng.getrandbits(coins).bit_count() if coins else 0


class DrawnPairs:
    """The pairs of one epoch, a sequence of 1-D arrays of ids like all examples (``examples.py``), and beside it

    second (n,): where sentence B begins in each;  labels (n,): 0 where B follows A, 1 where it comes from elsewhere.
    """

    def __init__(self, pairs, drawn):
        self.pairs, self.drawn, self.max_length = pairs, drawn, pairs.max_length
        a, b = drawn[:, 1] - drawn[:, 0], drawn[:, 3] - drawn[:, 2]
        self.lengths, self.second, self.labels = (a + b + 3).astype(np.int32), (a + 2).astype(np.int32), drawn[:, 4]

    def __len__(self):
        return len(self.drawn)

    def __getitem__(self, i):
        a_start, a_end, b_start, b_end, _ = self.drawn[i].tolist()
        cls, sep = self.pairs.frame
        out = np.empty(self.lengths[i], np.int64)
        middle = self.second[i]
        out[0], out[middle - 1], out[-1] = cls, sep, sep
        out[1:middle - 1], out[middle:-1] = self.pairs.ids[a_start:a_end], self.pairs.ids[b_start:b_end]
        return out

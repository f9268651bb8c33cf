"""Examples -> batches, in an order that is a pure function of (seed, epoch).

Batch number i of a run is computed from i alone: its epoch, its place in that epoch's shuffled order, its masks. Where the epoch
began stands in the checkpoint (``position``), since epochs of pairs differ in length. A run that is resumed at step one
million therefore asks for batch one million, and nothing has to be skipped or replayed.

Examples of similar length are put together, so that less padding is computed: within windows of 50 batches of the
shuffled order the examples are sorted by length, cut into batches, and the batches are shuffled again.
"""
import contextlib
import itertools
import math
import threading
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from data.stream import Prefetcher
from minibert.masking import IGNORE_INDEX
from minibert.sentence_pairs import TooFewDocuments

TENSORS = ("input_ids", "labels", "masked_positions", "attention_mask", "token_type_ids", "next_sentence_label")
WINDOW = 50  # batches sorted by length together: large enough to save padding, small enough to stay random


@dataclass(frozen=True)
class Batch:
    """One batch. ``tensors`` are the model's arguments by name, ``model(**batch.tensors)``:

    input_ids, labels (B, T) int64; masked_positions (M,) int64; attention_mask (B, T) int64, absent where nothing is padded; of pairs also
    token_type_ids (B, T) int64, 1 for sentence B and the [SEP] after it, and next_sentence_label (B,) int64.
    """

    tensors: dict
    num_tokens: int  # special tokens included, padding not
    num_masked: int  # labels that are not -100
    num_examples: int  # the rows, or 0 where they do not count
    fixed_share: float = 0.0  # as ``masked_positions`` takes it

    def __getattr__(self, name):
        """batch.input_ids and the like; None where the batch has no such tensor."""
        if name not in TENSORS:
            raise AttributeError(name)
        return self.tensors.get(name)

    def __len__(self):
        return len(self.tensors["input_ids"])

    def split(self, size):
        """The batch as micro-batches of at most ``size`` examples, in order."""
        if size >= len(self):
            return [self]
        rows = {name: tensor.split(size) for name, tensor in self.tensors.items() if name != "masked_positions"}
        parts = [dict(zip(rows, some)) for some in zip(*rows.values())]
        return [Batch(part | {"masked_positions": masked_positions(part["labels"], self.fixed_share)},
                      int(part.get("attention_mask", torch.ones_like(part["input_ids"])).sum()), int((part["labels"] != IGNORE_INDEX).sum()),
                      len(part["labels"]) if self.num_examples else 0, self.fixed_share) for part in parts]

    def to(self, device):
        """The batch on another device."""
        return replace(self, tensors={name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()})

    def pinned(self):
        """The batch in memory from which a GPU copies while the program goes on."""
        return replace(self, tensors={name: tensor.pin_memory() for name, tensor in self.tensors.items()})

    def as_dummy(self):
        """The batch with nothing to predict and no example that counts."""
        tensors = self.tensors | {"labels": torch.full_like(self.tensors["labels"], IGNORE_INDEX)}
        return Batch(tensors | {"masked_positions": masked_positions(tensors["labels"], self.fixed_share)}, 0, 0, 0, self.fixed_share)


def collate(examples, numbers, masker, pad_token_id, seed, epoch, pad_to_multiple_of=8, fixed_share=0.0):
    """Examples -> Batch. numbers (B,): which of them; on these the masks depend, beside seed and epoch. fixed_share: as for ``masked_positions``.

    Rows of 3 and 5 ids -> input_ids (2, 8): T is the longest row, rounded up to a multiple of 8, but never past max_length. GPUs like such
    shapes, and few of them; a CPU does not mind, and short lines have a fifth less to compute when nothing is rounded.
    """
    rows, numbers = [examples[n] for n in numbers], np.asarray(numbers)
    lengths = np.array([len(row) for row in rows])
    longest = int(lengths.max())  # blocks all have one length and stay as they are
    width = longest if (lengths == longest).all() else min(-(-longest // pad_to_multiple_of) * pad_to_multiple_of, examples.max_length)
    input_ids = np.full((len(rows), width), pad_token_id, dtype=np.int64)  # (B, T)
    for b, row in enumerate(rows):
        input_ids[b, : len(row)] = row
    corrupted, labels = masker(input_ids, seed, epoch, numbers)
    arrays, place = {"input_ids": corrupted, "labels": labels}, np.arange(width)
    if (lengths < width).any():
        arrays["attention_mask"] = place < lengths[:, None]  # (B, T)
    if examples.second is not None:
        arrays["token_type_ids"] = (place >= examples.second[numbers][:, None]) & (place < lengths[:, None])  # (B, T)
        arrays["next_sentence_label"] = examples.labels[numbers]  # (B,)
    tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}
    tensors["masked_positions"] = masked_positions(tensors["labels"], fixed_share)
    return Batch(tensors, int(lengths.sum()), int((labels != IGNORE_INDEX).sum()), len(rows), fixed_share)


def masked_positions(labels, fixed_share=0.0):
    """Where something is to be predicted, counted through the batch: labels (B, T) -> (M,) int64, found here, so that no GPU has to stop for it.

    Filled up to a multiple of 8 with a position that has no label: the shapes that a GPU multiplies fastest, and fewer distinct ones. fixed_share:
    where this share of all tokens is masked at random, up to what one batch in 30,000 exceeds (four standard deviations above the mean), so
    that M is the same: a model is compiled anew for each shape. Of whole words and spans, which are masked together, it is exceeded more
    often: M has some values more there. Where every token has a label nothing is filled up. 0: not so.

    >>> masked_positions(torch.tensor([[-100, 7, -100], [-100, 9, 8]])).tolist()
    [1, 4, 5, 0, 0, 0, 0, 0]
    """
    labels = labels.flatten()
    positions, others = (labels != IGNORE_INDEX).nonzero().squeeze(1), (labels == IGNORE_INDEX).nonzero().squeeze(1)
    mean = fixed_share * len(labels)
    count = max(len(positions), round(mean + 4 * math.sqrt(mean * (1 - fixed_share))))
    fillers = -(-count // 8) * 8 - len(positions) if len(others) else 0
    return torch.cat((positions, others[:1].expand(fillers)))


def prefetch(batches, number, device, size):
    """(the batch in micro-batches of at most ``size`` examples, ``batches.position`` with it) from that number on, each made in a thread
    while the step before is computed.

    To be closed, which closes ``batches`` as well: the thread may be waiting for a window of theirs.
    """
    def made():
        for i in itertools.count(number):
            micros = batches[i].split(size)
            yield [micro.pinned() for micro in micros] if device.type == "cuda" else micros, batches.position
    return Prefetcher(made(), batches.close)


class Order:
    """The batches of an epoch as one array, since a large corpus has millions of them: order[i] -> the numbers of the examples of batch i."""

    def __init__(self, numbers, ends):
        self.numbers, self.ends = numbers, ends

    def __len__(self):
        return len(self.ends) - 1

    def __getitem__(self, i):
        i = range(len(self))[i]
        return self.numbers[self.ends[i] : self.ends[i + 1]]


class NoExample(ValueError):
    """The corpus is empty, or all of its lines are."""


class Batches:
    """The endless row of training batches: batches[i] is batch number i of the run.

    An epoch has ceil(examples / batch_size) batches; its last one may be smaller. ``per_epoch``: that number (of pairs, whose number
    changes a little from epoch to epoch, in the first one). ``position``: from where another ``Batches`` must begin so that it draws the present
    epoch and none before it, {"epoch", "first": the number of its first batch, "examples": of the first epoch}. share: which of the numbers of
    a batch are this process's, and whether they count, as ``ranks.Ranks.share``; None: all are. padding: pad_to_multiple_of and fixed_share of
    ``collate``. Raises NoExample for an empty corpus.
    """

    def __init__(self, examples, masker, batch_size, pad_token_id, seed, position=None, share=None, **padding):
        self.examples, self.masker, self.batch_size, self.share, self.padding = examples, masker, batch_size, share, padding
        self.pad_token_id, self.seed = pad_token_id, seed
        self._epoch = None
        self.position = {"epoch": 0, "first": 0} | (position or {})
        self._enter(self.position["epoch"])
        if not len(self._drawn):
            raise NoExample("the corpus has no example: it is empty, or all of its lines are")
        self.position = {"examples": len(self._drawn)} | self.position
        self.per_epoch = -(-self.position["examples"] // batch_size)

    def _enter(self, epoch):
        """Draw the examples of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._drawn, self._order = epoch, self.examples.at(self.seed, epoch), None

    def size(self, epoch):
        """How many batches an epoch has."""
        self._enter(epoch)
        return -(-len(self._drawn) // self.batch_size)

    def order(self, epoch):
        """The batches of an epoch: a sequence of 1-D arrays of example numbers, each example once. Pure in (seed, epoch)."""
        self._enter(epoch)
        rng = np.random.default_rng([self.seed, epoch])
        count, size = len(self._drawn), self.batch_size
        numbers = np.arange(count, dtype=np.uint32 if count < 1 << 32 else np.int64)
        rng.shuffle(numbers)
        ends = np.append(np.arange(0, count, size), count)  # batch i: numbers[ends[i]:ends[i + 1]]
        lengths = self._drawn.lengths
        if lengths.min() < lengths.max():
            for start in range(0, count, WINDOW * size):
                window = numbers[start : start + WINDOW * size]
                window = window[np.argsort(lengths[window], kind="stable")]
                cut = np.array_split(window, range(size, len(window), size))
                cut = [cut[i] for i in rng.permutation(len(cut))]
                numbers[start : start + len(window)] = np.concatenate(cut)
                first = start // size
                ends[first + 1 : first + 1 + len(cut)] = start + np.cumsum([len(batch) for batch in cut])
        return Order(numbers, ends)

    def __getitem__(self, i):
        epoch, first = self.position["epoch"], self.position["first"]
        if i < first:
            epoch = first = 0
        while i >= first + (size := self.size(epoch)):
            epoch, first = epoch + 1, first + size
        self.position = {**self.position, "epoch": epoch, "first": first}
        return self.batch(epoch, i - first)

    def batch(self, epoch, place):
        """A batch by its epoch and its place in that."""
        self._enter(epoch)
        if self._order is None:
            self._order = self.order(epoch)
        numbers, count = self.share(self._order[place]) if self.share else (self._order[place], True)
        batch = collate(self._drawn, numbers, self.masker, self.pad_token_id, self.seed, epoch, **self.padding)
        return batch if count else batch.as_dummy()

    def close(self):
        """Nothing is open."""


class StreamBatches:
    """The same from a stream (``data.stream``): the batches of one window after another, each window shuffled by itself.

    batches[i] for i that do not fall. ``position``: from where another ``StreamBatches`` must begin so that it has the present window first,
    {"pass", "skip": batches of text before the window, "reached": how far the text reaches with it, "read": (bytes, of how many) of the corpus or
    None, "window": its number, "first": the number of its first batch}. Text that has changed up to there is a ValueError.
    """
    per_epoch = None  # is not known before the end of the first pass

    def __init__(self, stream, make_examples, masker, batch_size, pad_token_id, seed, position=None, **how):
        """make_examples: a Window -> its examples.  position: of an earlier ``StreamBatches``; None: the beginning.  how: as for ``Batches``."""
        self.make_examples = make_examples
        self.batches_of = partial(Batches, masker=masker, batch_size=batch_size, pad_token_id=pad_token_id, seed=seed, **how)
        self.position = position or {"pass": 0, "skip": 0, "window": 0, "first": 0}
        closed = threading.Event()
        windows = stream.windows(self.position["pass"], self.position["skip"], self.position.get("reached"), closed.is_set)
        self._windows = Prefetcher(windows, closed.set)
        try:
            self._batches = self._next_window()
        except BaseException:
            self.close()
            raise

    def _next_window(self):
        """The batches of the next window that has an example: the last one of a pass may hold too little for one."""
        begun = self.position["pass"]
        while self.position["pass"] <= begun + 1:
            window = next(self._windows)
            self.position = {**self.position, "pass": window.pass_index, "skip": window.skip,
                             "reached": window.text_digest, "read": window.progress}
            with contextlib.suppress(TooFewDocuments, NoExample):
                return self.batches_of(self.make_examples(window), position={"epoch": self.position["window"]})
        raise ValueError("the corpus gives no example: its documents are too few or too short")

    def __getitem__(self, i):
        window, place = self.position["window"], i - self.position["first"]
        while place >= (size := self._batches.size(window)):
            window, place = window + 1, place - size
            self.position = {**self.position, "window": window, "first": i - place}
            self._batches = self._next_window()
        return self._batches.batch(window, place)

    def close(self):
        """End the reading and tokenizing in the background, wherever it is."""
        self._windows.close()

"""Examples -> batches, in an order that is a pure function of (seed, epoch).

Batch number i of a run is computed from i alone: its epoch, its place in that epoch's shuffled order, its masks. A run
that is resumed at step one million therefore asks for batch one million, and nothing has to be skipped or replayed.

Examples of similar length are put together, so that less padding is computed: within windows of 50 batches of the
shuffled order the examples are sorted by length, cut into batches, and the batches are shuffled again.
"""
from dataclasses import dataclass

import numpy as np
import torch

from minibert.masking import IGNORED

WINDOW = 50  # batches sorted by length together: large enough to save padding, small enough to stay random


@dataclass(frozen=True)
class Batch:
    """One batch: input_ids and labels (B, T) int64, attention_mask (B, T) int64 or None where nothing is padded."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    attention_mask: torch.Tensor | None
    num_tokens: int  # special tokens included, padding not
    num_masked: int  # labels that are not -100

    def split(self, size):
        """The batch as micro-batches of at most ``size`` examples, in order."""
        if size >= len(self.input_ids):
            return [self]
        masks = self.attention_mask.split(size) if self.attention_mask is not None else [None] * -(-len(self.input_ids) // size)
        return [Batch(ids, labels, mask, ids.numel() if mask is None else int(mask.sum()), int((labels != IGNORED).sum()))
                for ids, labels, mask in zip(self.input_ids.split(size), self.labels.split(size), masks)]

    def to(self, device):
        """The batch on another device."""
        mask = None if self.attention_mask is None else self.attention_mask.to(device, non_blocking=True)
        return Batch(self.input_ids.to(device, non_blocking=True), self.labels.to(device, non_blocking=True), mask, self.num_tokens, self.num_masked)


def collate(rows, numbers, masker, pad_token_id, seed, epoch, max_length):
    """Examples -> Batch. rows: B 1-D id arrays; numbers (B,): the examples' numbers, on which the masks depend.

    Rows of 3 and 5 ids -> input_ids (2, 8): T is the longest row, rounded up to a multiple of 8, but never past max_length.
    """
    lengths = np.array([len(row) for row in rows])
    # Blocks all have one length and stay as they are; else multiples of 8 keep the number of distinct shapes small.
    width = int(lengths.max()) if (lengths == lengths[0]).all() else min(-(-int(lengths.max()) // 8) * 8, max_length)
    input_ids = np.full((len(rows), width), pad_token_id, dtype=np.int64)  # (B, T)
    for b, row in enumerate(rows):
        input_ids[b, : len(row)] = row
    corrupted, labels = masker(input_ids, seed, epoch, numbers)
    attention_mask = None
    if (lengths < width).any():
        attention_mask = torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64))  # (B, T)
    return Batch(torch.from_numpy(corrupted), torch.from_numpy(labels), attention_mask, int(lengths.sum()), int((labels != IGNORED).sum()))


class Batches:
    """The endless row of training batches: batches[i] is batch number i of the run.

    An epoch has ceil(examples / batch_size) batches; its last one may be smaller. Raises ValueError for an empty corpus.
    """

    def __init__(self, examples, masker, batch_size, pad_token_id, seed):
        if not len(examples):
            raise ValueError("the corpus has no example: it is empty, or all of its lines are")
        self.examples, self.masker, self.batch_size = examples, masker, batch_size
        self.pad_token_id, self.seed = pad_token_id, seed
        self.per_epoch = -(-len(examples) // batch_size)
        self._epoch, self._order = None, None

    def order(self, epoch):
        """The batches of an epoch: a list of 1-D arrays of example numbers, each example once. Pure in (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(len(self.examples))
        lengths = self.examples.lengths
        if lengths.min() == lengths.max():
            return np.array_split(shuffled, range(self.batch_size, len(shuffled), self.batch_size))
        batches = []
        for start in range(0, len(shuffled), WINDOW * self.batch_size):
            window = shuffled[start : start + WINDOW * self.batch_size]
            window = window[np.argsort(lengths[window], kind="stable")]
            cut = np.array_split(window, range(self.batch_size, len(window), self.batch_size))
            batches += [cut[i] for i in rng.permutation(len(cut))]
        return batches

    def __getitem__(self, i):
        epoch, place = divmod(i, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        numbers = self._order[place]
        rows = [self.examples[n] for n in numbers]
        return collate(rows, numbers, self.masker, self.pad_token_id, self.seed, epoch, self.examples.max_length)

"""Examples -> batches: order, padding, masking, prefetching.

    batches = Batches(examples, masker, batch_size=64, pad_token_id=1, seed=0)
    batch = next(batches)                       # endless: epoch after epoch
    out = model(**batch.model_inputs())
    state = batches.state_dict()                # {"epoch": 0, "batch": 1, ...}, for the checkpoint

    Batch           the tensors of one batch
    BatchOrder      the indices of the examples in each batch of an epoch
    EpochBatches    the batches of one epoch, as a sequence
    Batches         an endless iterator over the batches of all epochs
    StreamBatches   the same for a streamed text (training/stream_batches.py)

For a given corpus and batch size, the order is a pure function of (seed, epoch), and the masks
of (seed, epoch, example, position). So (epoch, batch) locates the next batch, and a run that is
resumed at step one million computes it directly, replaying nothing.
"""
import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from data.stream import Prefetcher
from minibert.masking import IGNORE_INDEX

SORTED_BATCHES = 50  # batches per length-sorted window: less padding, still random
MODEL_INPUTS = ("input_ids", "labels", "masked_positions", "attention_mask", "token_type_ids",
                "next_sentence_label")


@dataclass
class Batch:
    """B examples, padded to T tokens; the MLM head computes M positions of them.

    Only input_ids and labels are required: masked_positions and the counts follow from the tensors.
    """

    input_ids: torch.Tensor  # (B, T) int64: 80% of the selected tokens are [MASK]
    labels: torch.Tensor  # (B, T) int64: the true ids of the selected tokens, -100 elsewhere
    masked_positions: torch.Tensor | None = None  # (M,) int64: see ``find_masked_positions``
    num_tokens: int | None = None  # special tokens included, padding not
    num_masked: int | None = None  # labels that are not -100
    num_examples: int | None = None  # B, or 0 for a dummy
    attention_mask: torch.Tensor | None = None  # (B, T) int64, 0 for padding; None: no padding
    token_type_ids: torch.Tensor | None = None  # (B, T) int64, 1 for sentence B; None: no pairs
    next_sentence_label: torch.Tensor | None = None  # (B,) int64, 1 if B is random; None: no pairs
    expected_mask_rate: float = 0.0  # see ``find_masked_positions``

    def __post_init__(self):
        if self.masked_positions is None:
            self.masked_positions = find_masked_positions(self.labels, self.expected_mask_rate)
        if self.num_tokens is None:
            mask = self.attention_mask
            self.num_tokens = self.input_ids.numel() if mask is None else int(mask.sum())
        if self.num_masked is None:
            self.num_masked = int((self.labels != IGNORE_INDEX).sum())
        if self.num_examples is None:
            self.num_examples = len(self)

    def __len__(self):
        return len(self.input_ids)

    def model_inputs(self):
        """Return the tensors that the batch has, by name: ``model(**batch.model_inputs())``."""
        tensors = {name: getattr(self, name) for name in MODEL_INPUTS}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def map_tensors(self, function):
        """Return a copy of the batch with ``function`` applied to each tensor."""
        tensors = self.model_inputs()
        return replace(self, **{name: function(tensor) for name, tensor in tensors.items()})

    def to(self, device):
        # non_blocking: pinned memory is copied asynchronously.
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self):
        return self.map_tensors(lambda tensor: tensor.pin_memory())

    def split(self, micro_batch_size):
        """Return the batch as micro-batches of at most ``micro_batch_size`` examples, in order."""
        if len(self) <= micro_batch_size:
            return [self]
        tensors = self.model_inputs()
        # Indices are relative to the micro-batch, so they are computed again.
        del tensors["masked_positions"]
        micro_batches = []
        for start in range(0, len(self), micro_batch_size):
            rows = slice(start, start + micro_batch_size)
            part = {name: tensor[rows] for name, tensor in tensors.items()}
            micro_batches.append(Batch(**part, expected_mask_rate=self.expected_mask_rate))
        return micro_batches

    def as_dummy(self):
        """Return the batch with nothing to predict and all counts 0."""
        # A process without an example still takes part in the all-reduce of the gradients.
        return replace(self, labels=torch.full_like(self.labels, IGNORE_INDEX),
                       masked_positions=None, num_tokens=0, num_masked=0, num_examples=0)


def find_masked_positions(labels, expected_mask_rate=0.0):
    """Return where tokens are to be predicted: labels (B, T) -> (M,) int64, indices into B*T.

    M is rounded up to a multiple of 8 by repeating one position without a label (a filler).

    expected_mask_rate: the share of the tokens that is masked, to get the same M for nearly all
    batches of a shape (torch.compile compiles once per M). With 0, M is as small as possible.

    >>> find_masked_positions(torch.tensor([[-100, 7, -100], [-100, 9, 8]])).tolist()
    [1, 4, 5, 0, 0, 0, 0, 0]
    """
    # Done here, on the CPU: on a GPU, finding the count would wait for all queued work.
    has_label = labels.flatten() != IGNORE_INDEX  # (B*T,)
    positions = has_label.nonzero().squeeze(1)  # (num_masked,)
    if has_label.all():
        return positions  # no position can be a filler
    filler = int((~has_label).nonzero()[0])
    num_positions = max(len(positions), likely_maximum(len(has_label), expected_mask_rate))
    num_fillers = round_up(num_positions, 8) - len(positions)  # GPUs prefer multiples of 8
    return F.pad(positions, (0, num_fillers), value=filler)


def likely_maximum(num_tokens, mask_rate):
    """Return an upper bound on the masked tokens of nearly all batches of num_tokens tokens."""
    # Mean + 4 standard deviations of a binomial distribution: exceeded about once in 30,000 batches
    # (more often with whole words and spans).
    mean = num_tokens * mask_rate
    return round(mean + 4 * math.sqrt(mean * (1 - mask_rate)))


def round_up(size, multiple):
    """Return the smallest multiple that is not below size: (9, 8) -> 16."""
    return math.ceil(size / multiple) * multiple


def pad(rows, value, width=None):
    """Return rows of integers as an array (B, width); ``value`` is what follows a shorter row.

    >>> pad([[5, 6], [7]], value=0).tolist()  # width: that of the longest row
    [[5, 6], [7, 0]]
    """
    padded = np.full((len(rows), width or max(map(len, rows))), value, dtype=np.int64)
    for b, row in enumerate(rows):
        padded[b, : len(row)] = row
    return padded


def collate(examples, indices, masker, pad_token_id, seed, epoch,
            pad_to_multiple_of=8, expected_mask_rate=0.0):
    """Return the examples with these indices (B,) as a Batch, padded and masked.

    Examples of 3 and 5 ids -> input_ids (2, 8)
    """
    indices = np.asarray(indices)
    rows = [examples[i] for i in indices]
    lengths = np.array([len(row) for row in rows])  # (B,)

    T = int(lengths.max())
    if lengths.min() < T:  # packed sequences all have one length and need no padding
        # GPUs prefer multiples of 8; on a CPU, pad_to_multiple_of=1 saves about 20% on short lines.
        T = min(round_up(T, pad_to_multiple_of), examples.max_length)
    input_ids = pad(rows, pad_token_id, T)  # (B, T)

    # The masks depend on (seed, epoch, index, position), not on the rest of the batch. (For an
    # encoder-decoder, inputs and labels have lengths of their own.)
    corrupted, labels = masker(input_ids, seed, epoch, indices)  # (B, T), (B, T)
    arrays = {"input_ids": corrupted, "labels": labels}
    attention_mask = corrupted != pad_token_id  # (B, T): True up to the last [SEP]
    if not attention_mask.all():
        arrays["attention_mask"] = attention_mask
    if examples.segment_b_starts is not None:
        in_b = np.arange(T) >= examples.segment_b_starts[indices][:, None]  # (B, T)
        arrays["token_type_ids"] = in_b & attention_mask  # 1 for sentence B and the [SEP] after it
        arrays["next_sentence_label"] = examples.nsp_labels[indices]  # (B,)
    tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}
    return Batch(**tensors, expected_mask_rate=expected_mask_rate)


def epoch_order(lengths, batch_size, seed, epoch, equal_tokens=False):
    """Return which examples are in which batch of an epoch: order[i] -> indices of batch i.

    lengths (n,): tokens of each example. Examples of similar length share a batch, which saves
    padding. Without equal_tokens, there are ceil(n / batch_size) batches, one maybe smaller.
    equal_tokens: a batch has, with its padding, at most as many tokens as batch_size examples of
    mean length (or one example), so few long examples or many short ones.
    """
    rng = np.random.default_rng([seed, epoch])
    n = len(lengths)
    # uint32 takes 4 bytes per example instead of 8.
    indices = np.arange(n, dtype=np.uint32 if n < 2**32 else np.int64)
    rng.shuffle(indices)
    if lengths.min() == lengths.max():
        return BatchOrder(indices, np.append(np.arange(0, n, batch_size), n))

    max_tokens = batch_size * lengths.mean()  # of a batch, with equal_tokens
    bounds = [np.zeros(1, dtype=np.int64)]
    # Sort each window of 50 x batch_size examples, cut it into batches, and shuffle these.
    for start in range(0, n, SORTED_BATCHES * batch_size):
        window = indices[start : start + SORTED_BATCHES * batch_size]
        by_length = window[np.argsort(lengths[window], kind="stable")]
        cuts = range(batch_size, len(window), batch_size)
        if equal_tokens:
            cuts = cuts_by_tokens(lengths[by_length].tolist(), max_tokens)
        batches = np.split(by_length, cuts)
        batches = [batches[i] for i in rng.permutation(len(batches))]
        indices[start : start + len(window)] = np.concatenate(batches)
        bounds.append(start + np.cumsum([len(batch) for batch in batches]))
    return BatchOrder(indices, np.concatenate(bounds))


def cuts_by_tokens(lengths, max_tokens):
    """Return where to cut sorted lengths so that no batch is padded to more than max_tokens.

    >>> cuts_by_tokens([1, 2, 3, 4, 5, 12, 15], max_tokens=12)  # 3 x 3, 2 x 5, 1 x 12, 1 x 15
    [3, 5, 6]
    """
    cuts, start = [], 0
    for i, longest in enumerate(lengths):
        if i > start and (i + 1 - start) * longest > max_tokens:
            cuts.append(i)
            start = i
    return cuts


class BatchOrder:
    """A sequence of index arrays, stored as one: a large corpus has millions of batches."""

    def __init__(self, indices, bounds):
        self.indices = indices
        self.bounds = bounds  # (batches + 1,): batch i is indices[bounds[i] : bounds[i + 1]]

    def __len__(self):
        return len(self.bounds) - 1

    def __getitem__(self, i):
        if not 0 <= i < len(self):
            raise IndexError(f"no batch {i}")  # this ends a for loop
        return self.indices[self.bounds[i] : self.bounds[i + 1]]


class EmptyCorpusError(ValueError):
    """The corpus is empty, or all of its lines are."""


class EpochBatches:
    """The batches of one epoch as a sequence: epoch_batches[i] depends only on (seed, epoch, i)."""

    def __init__(self, examples, masker, batch_size, pad_token_id, seed, epoch,
                 shard=None, equal_tokens=False, pad_to_multiple_of=8, **options):
        examples = examples.at(seed, epoch)  # sentence pairs are drawn again for each epoch
        if not len(examples):
            raise EmptyCorpusError("the corpus has no example: it is empty, or all of its lines "
                                   "are")
        lengths = examples.lengths
        if equal_tokens:  # count the padding, too
            lengths = -(-lengths // pad_to_multiple_of) * pad_to_multiple_of  # rounded up
            lengths = np.minimum(lengths, examples.max_length)
        self.order = epoch_order(lengths, batch_size, seed, epoch, equal_tokens)
        self.collate = partial(collate, examples, masker=masker, pad_token_id=pad_token_id,
                               seed=seed, epoch=epoch, pad_to_multiple_of=pad_to_multiple_of,
                               **options)
        self.shard = shard

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        indices = self.order[i]
        has_examples = True
        if self.shard:
            indices, has_examples = self.shard(indices)
        batch = self.collate(indices)
        return batch if has_examples else batch.as_dummy()


class Batches:
    """An endless iterator over the training batches of one process, epoch after epoch.

    masker, pad_token_id, pad_to_multiple_of, expected_mask_rate: see ``collate``.
    equal_tokens: see ``epoch_order``.
    shard: a function from the indices of a batch to (the indices of this process, whether they
    count), like ``Distributed.shard``; None: this process takes the whole batch.
    """

    STATE_KEYS = {"epoch", "batch", "batches_per_epoch"}  # of ``state_dict``

    def __init__(self, examples, masker, batch_size, pad_token_id, seed, shard=None, **options):
        self._start_epoch = partial(EpochBatches, examples, masker, batch_size, pad_token_id, seed,
                                    shard=shard, **options)
        self._epoch = 0
        self._batch = 0  # index of the next batch within its epoch
        self._epoch_batches = None  # made when the first batch is needed
        self._batches_per_epoch = None

    @property
    def batches_per_epoch(self):
        """The number of batches in the first epoch; others may differ a little.

        They do with pairs, and with equal_tokens.
        """
        if self._batches_per_epoch is None:
            self._current_epoch()
        return self._batches_per_epoch

    def _current_epoch(self):
        if self._epoch_batches is None:
            self._epoch_batches = self._start_epoch(epoch=self._epoch)
            self._batches_per_epoch = self._batches_per_epoch or len(self._epoch_batches)
        return self._epoch_batches

    def peek(self):
        """Return the next batch without advancing. Raises EmptyCorpusError for an empty corpus."""
        epoch_batches = self._current_epoch()
        if self._batch >= len(epoch_batches):
            raise ValueError(f"batch {self._batch:,} of an epoch of {len(epoch_batches):,}: the "
                             "training data has changed since the checkpoint")
        return epoch_batches[self._batch]

    def __iter__(self):
        return self

    def __next__(self):
        batch = self.peek()
        self._batch += 1
        if self._batch == len(self._current_epoch()):
            self._epoch += 1
            self._batch = 0
            self._epoch_batches = None
        return batch

    def state_dict(self):
        """Return what ``load_state_dict`` needs to continue with the next batch, as JSON values."""
        return {"epoch": self._epoch, "batch": self._batch,
                "batches_per_epoch": self.batches_per_epoch}

    def load_state_dict(self, state, batches_differ=False):
        """Continue where another ``Batches`` was: only the epoch of the next batch is drawn.

        batches_differ: the epoch is cut into other batches now. Continue at the same share of it.
        """
        self._epoch = state["epoch"]
        self._batch = state["batch"]
        self._batches_per_epoch = state["batches_per_epoch"]
        self._epoch_batches = None
        if batches_differ:
            num_batches = len(self._current_epoch())
            same_share = self._batch * num_batches // state["batches_per_epoch"]
            self._batch = min(same_share, num_batches - 1)

    def close(self):
        """Do nothing: only ``StreamBatches`` has a thread to stop."""


def prefetch(batches, device, micro_batch_size):
    """Return an iterator over (micro_batches, state), each made in a background thread.

    micro_batch_size: a function from the size of a batch to that of its micro-batches.
    Close the iterator at the end; that closes ``batches``, too.
    """
    def generate():
        for batch in batches:
            micro_batches = batch.split(micro_batch_size(len(batch)))
            if device.type == "cuda":
                micro_batches = [micro_batch.pin_memory() for micro_batch in micro_batches]
            # The state after this batch: a checkpoint saved after training on it needs this one,
            # not that of ``batches``, which is already ahead.
            yield micro_batches, batches.state_dict()

    return Prefetcher(generate(), batches.close)

"""Several processes that train one model, each on its share of every batch (data parallel).

    torchrun --nproc-per-node 2 train.py --preset kant --out runs/kant

torchrun starts the processes and numbers them: rank 0 to world - 1, one for each GPU (on a CPU: as many as are asked for). All have the same weights.
Each step, every rank computes the gradient of its share; the shares are added up; all take the same step. What only one may do (prepare
the text, print, write checkpoints) is done by rank 0, while the others wait. A run of one process is the same code with nothing to add.

Order and masks are functions of the batch number, so a run may go on with another number of ranks: the batches stay the same.
"""
import contextlib
import inspect
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

# The tables of rotary positions never change: DDP need not send them in every forward pass. Torch 2.13 has another name for that.
SENDING = next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in inspect.signature(DistributedDataParallel).parameters)
PATIENCE = timedelta(days=7)  # rank 0 may prepare a large corpus while the others wait; a rank that dies is noticed by torchrun


class Ranks:
    """This process among those of the run. As a context manager it leaves the group at the end.

    >>> ranks = Ranks()                          # not started by torchrun
    >>> ranks.rank, ranks.world, ranks.sum(3.0, 4.0), ranks.agree(False, 1.5)
    (0, 1, [3.0, 4.0], (False, 1.5))
    """

    def __init__(self):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.local_rank, self.local_world = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", self.world))
        self.cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.world > 1 and not dist.is_initialized():
            one_each = self.cards >= self.local_world
            if one_each:
                torch.cuda.set_device(self.local_rank)  # "cuda" means this card from now on
            dist.init_process_group("cpu:gloo,cuda:nccl" if one_each else "gloo", timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()

    @property
    def first(self):
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    def checked(self, device):
        """The device of the run; ValueError where it is a GPU and this machine has not one for each of its ranks."""
        if device.type == "cuda" and self.world > 1 and self.cards < self.local_world:
            gpus = f"{self.cards} GPU{'s' * (self.cards > 1)}"
            raise ValueError(f"{self.local_world} ranks on this machine, {gpus}: --nproc-per-node {self.cards}, or --device cpu")
        return device

    def share(self, numbers):
        """Which examples of a batch are this rank's -> an array, never empty: (numbers, whether they count).

        A last batch of fewer examples than ranks leaves some without any. They take one that does not count, since all ranks must
        compute a gradient when one does.
        """
        own = numbers[self.rank :: self.world]
        return (own, True) if len(own) else (numbers[:1], False)

    def wrap(self, model):
        """The model whose backward pass adds up the gradients of all ranks: their mean, while it goes on computing."""
        if self.world == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **{SENDING: False})

    def gradients_stay(self, model):
        """A context for a forward and backward pass that adds up nothing yet: of all micro-batches of a step but the last."""
        return model.no_sync() if self.world > 1 else contextlib.nullcontext()

    def sum(self, *values):
        """Each number added up over all ranks -> list of floats."""
        return self._added(values) if self.world > 1 else list(values)

    def agree(self, stop, elapsed):
        """(whether any rank was asked to stop, the seconds of rank 0): what all must decide alike, once a step."""
        if self.world == 1:
            return stop, elapsed
        stops, elapsed = self._added((stop, elapsed if self.first else 0.0))
        return stops > 0, elapsed

    def _added(self, values):
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers)
        return numbers.tolist()

    def text_of_first(self, text):
        """A short text as rank 0 has it."""
        if self.world == 1:
            return text
        size = int(self.sum(len(text.encode()) if self.first else 0)[0])
        letters = torch.tensor(list(text.encode()) if self.first else [0] * size, dtype=torch.uint8)
        dist.broadcast(letters, 0)
        return bytes(letters.tolist()).decode()

    @contextlib.contextmanager
    def in_turn(self):
        """Rank 0 goes first, the others when it is done: they find on disk what it has made."""
        if not self.first:
            dist.barrier()
        yield
        if self.first and self.world > 1:
            dist.barrier()

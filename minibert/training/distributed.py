"""Data-parallel training: several processes train one model, each on its shard of every batch.

    torchrun --nproc-per-node 2 train.py --preset kant --out runs/kant

torchrun starts the processes and numbers them with ranks 0 to world_size - 1, one per GPU (on
a CPU: as many as you ask for). All ranks hold the same weights. In each step every rank
computes the gradient of its shard, the gradients are averaged over the ranks (all-reduce), and
all ranks take the same optimizer step. Rank 0, the main process, also prepares the text,
prints, and writes checkpoints. A run of one process uses the same code.

The order of examples and their masks depend only on (seed, epoch), so a run may be resumed
with another number of ranks: the batches stay the same.
"""
import contextlib
import inspect
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

# The rotary tables are buffers that never change, so DDP need not broadcast them before each
# forward pass. Torch 2.13 renamed the option.
DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
SYNC_BUFFERS = ("forward_sync_buffers" if "forward_sync_buffers" in DDP_OPTIONS
                else "broadcast_buffers")
# The other ranks wait while rank 0 prepares a large corpus. torchrun notices a rank that dies.
TIMEOUT = timedelta(days=7)
LEFT_GROUPS = []  # see Distributed.__exit__


class Distributed:
    """This process's position in the run. Use it as a context manager to leave the group.

    >>> dist = Distributed()            # not started by torchrun: one process
    >>> dist.rank, dist.world_size, dist.is_main, dist.sum(3.0, 4.0)
    (0, 1, True, [3.0, 4.0])
    """

    def __init__(self):
        self.rank = int(os.environ.get("RANK", 0))
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.world_size))
        self.num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.world_size > 1 and not dist.is_initialized():
            gpu_per_rank = self.num_gpus >= self.local_world_size
            if gpu_per_rank:
                torch.cuda.set_device(self.local_rank)  # "cuda" now means this GPU
            backend = "cpu:gloo,cuda:nccl" if gpu_per_rank else "gloo"
            dist.init_process_group(backend, timeout=TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.world_size > 1 and dist.is_initialized():
            # Keep the group until the process ends. If DDP were its last owner, it would wait for
            # gloo's thread while it holds Python's lock (the GIL), and that thread may need the
            # lock to free the tensor of the last all-reduce: a deadlock (seen with torch 2.13).
            LEFT_GROUPS.append(dist.group.WORLD)
            dist.destroy_process_group()

    @property
    def is_main(self):
        """Whether this is rank 0, the process that prints and writes."""
        return self.rank == 0

    def check_device(self, device):
        """Return the device; raise ValueError if this machine has fewer GPUs than ranks."""
        too_few = self.num_gpus < self.local_world_size
        if device.type == "cuda" and self.world_size > 1 and too_few:
            raise ValueError(
                f"{self.local_world_size} ranks but {self.num_gpus} GPU(s) on this machine: "
                f"use --nproc-per-node {self.num_gpus}, or --device cpu")
        return device

    def shard(self, indices):
        """Return (this rank's part of a batch's example indices, whether they count).

        A last batch may hold fewer examples than there are ranks. A rank without an example
        computes one that does not count, since the all-reduce needs a gradient from every rank.
        """
        own = indices[self.rank :: self.world_size]
        return (own, True) if len(own) else (indices[:1], False)

    def wrap(self, model):
        """Return the model with gradients averaged over the ranks during the backward pass."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True, **{SYNC_BUFFERS: False})

    def gradient_sync(self, model, enabled):
        """Return the context of one micro-batch; gradients are all-reduced only if enabled."""
        if self.world_size > 1 and not enabled:
            return model.no_sync()
        return contextlib.nullcontext()

    def sum(self, *values):
        """Return each value summed over the ranks, as a list of floats."""
        return self._all_reduce(values) if values and self.world_size > 1 else list(values)

    def any(self, flag):
        """Return whether the flag is true on at least one rank."""
        return self.sum(float(flag))[0] > 0

    def agree_on_stop(self, stop_requested, elapsed):
        """Return (whether any rank was asked to stop, rank 0's elapsed seconds).

        All ranks must take the same decisions from the same clock, or they would wait for
        each other forever.
        """
        if self.world_size == 1:
            return stop_requested, elapsed
        stops, elapsed = self._all_reduce((stop_requested, elapsed if self.is_main else 0.0))
        return stops > 0, elapsed

    def _all_reduce(self, values):
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def broadcast_str(self, text):
        """Return rank 0's text on every rank."""
        if self.world_size == 1:
            return text
        data = text.encode()
        num_bytes = int(self.sum(len(data) if self.is_main else 0)[0])
        buffer = list(data) if self.is_main else [0] * num_bytes
        tensor = torch.tensor(buffer, dtype=torch.uint8)
        dist.broadcast(tensor, src=0)
        return bytes(tensor.tolist()).decode()

    @contextlib.contextmanager
    def main_process_first(self):
        """Run the block on rank 0 first, then on the others, which reuse the files it wrote."""
        if not self.is_main:
            dist.barrier()
        yield
        if self.is_main and self.world_size > 1:
            dist.barrier()

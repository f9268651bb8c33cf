"""The machine: which device, which precision, how much memory."""
import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

from tokenizer.utils.terminal import plural

try:
    import resource
except ImportError:  # Windows
    resource = None

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name):
    """Return the torch.device for "cuda", "mps" or "cpu"; "auto" is the first one available."""
    is_available = {"cuda": torch.cuda.is_available(),
                    "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [device for device in is_available if is_available[device]]
    if name == "auto":
        name = available[0]
    if name not in available:
        raise ValueError(f"device {name} is not available on this machine: use --device "
                         + " or ".join(available))
    return torch.device(name)


class SkipInitialization(TorchFunctionMode):
    """Within the block, the functions of torch.nn.init draw no random numbers."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def shapes_only():
    """Within the block, new models have shapes but no memory: their weights come from elsewhere.

    >>> with shapes_only():
    ...     layer = torch.nn.Linear(2, 3)
    >>> layer.weight
    Parameter containing:
    tensor(..., device='meta', size=(3, 2), requires_grad=True)
    """
    # To initialize weights on "meta", torch would import its compiler, which takes 1.5 seconds.
    with torch.device("meta"), SkipInitialization():
        yield


def choose_precision(name, device):
    """Return "fp32", "bf16" or "fp16"; "auto" is the fastest one that trains safely."""
    if name != "auto":
        return name
    if device.type == "cuda":
        # fp16 has a small range and needs a GradScaler, so it comes second.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16():
    """Return whether the CPU has bf16 instructions; emulated bf16 is slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, so maybe missing
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def autocast(device, precision):
    """Return a context in which matrix products run in ``precision``.

    Weights and sums stay in float32 (Micikevicius et al. 2018).
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def compile_model(model, config):
    """Return a compiled function that calls ``model``; the model itself stays uncompiled.

    A graph belongs to one shape. For a new shape torch compiles one graph for all shapes, which is
    slower, unless dynamic is False. Packed blocks with random masks have one shape, and another one
    for the short batch at the end of an epoch; other examples have many.
    """
    torch._dynamo.config.recompile_limit = 64  # the default is 8, and pairs need about five
    one_shape = config.examples == "blocks" and config.masking == "tokens" and not config.stream
    return torch.compile(model, dynamic=False if one_shape else None)


def keep_freed_memory():
    """Tell glibc's malloc to keep freed memory; return False where there is no mallopt.

    glibc gives every block above 32 MB a mapping of its own and returns it to the system when
    the block is freed. The kernel would then clear the 160 MB gradient of 52,000 token
    embeddings again at every step. Keeping freed memory costs a few hundred MB.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    # The constants are those of glibc's malloc.h.
    no_own_mappings = mallopt(-4, 0)  # M_MMAP_MAX: take all blocks from the heap
    never_trim = mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not shrink the heap
    grow_in_steps = mallopt(-2, 64 << 20)  # M_TOP_PAD: grow it by 64 MB more than needed
    return bool(no_own_mappings and never_trim and grow_in_steps)


def peak_memory(device):
    """Return the peak memory in bytes: of the GPU, else of the process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


class SharedCores:
    """Measure how much of the cores other programs use, and choose the number of threads.

    The threads of a matrix product wait for the slowest of them. While another program needs one of
    two cores, a step is therefore faster with one thread than with two.

    adapt: use one thread fewer for each core that others use. This changes the last bits of the
    results, since the threads sum in another order. If OMP_NUM_THREADS is set, it is respected.
    """

    def __init__(self, adapt=False):
        self.adapt = adapt and "OMP_NUM_THREADS" not in os.environ
        self.max_threads = torch.get_num_threads()
        self.total = len(usable_cores())
        self.used_by_others = 0.0  # of the cores, on average between the last two readings
        self.time, self.other_seconds = time.monotonic(), other_core_seconds()

    def update(self):
        """Measure what others use since the last call; adapt the number of threads."""
        now = time.monotonic()
        if now - self.time < 1:  # the system counts in hundredths of a second
            return
        other_seconds = other_core_seconds()
        self.used_by_others = max(0.0, (other_seconds - self.other_seconds) / (now - self.time))
        self.time, self.other_seconds = now, other_seconds
        if self.adapt:
            free = self.total - round(self.used_by_others)
            torch.set_num_threads(max(1, min(self.max_threads, free)))


def other_core_seconds():
    """Return the seconds that other programs have computed on our cores (Linux; elsewhere 0)."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0
    cores = {f"cpu{number}" for number in usable_cores()}
    ticks = 0
    for name, *counts in map(str.split, lines):
        if name in cores:
            user, nice, system, _idle, _waiting, irq, softirq = map(int, counts[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def usable_cores():
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def describe(device, precision):
    """Return one line for the screen, such as "cpu (2 threads), bf16"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    return f"{device.type} ({plural(torch.get_num_threads(), 'thread')}), {precision}"

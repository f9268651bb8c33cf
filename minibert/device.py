"""The machine: which device, which precision, how much memory. Everything here is said on the screen before training starts."""
import contextlib
import ctypes
import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name):
    """'auto', 'cuda', 'mps' or 'cpu' -> torch.device; 'auto' takes the first of that order that is there. ValueError where it is not."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, available in there.items() if available)
    if not there[name]:
        raise ValueError(f"device {name} is not available on this machine: use --device {' or '.join(kind for kind in there if there[kind])}")
    return torch.device(name)


def choose_precision(name, device):
    """'auto', 'fp32', 'bf16' or 'fp16' -> one of the last three.

    'auto': bf16 where the hardware multiplies it, else fp16 on CUDA cards (its small range needs a GradScaler), else fp32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16():
    """True where the processor has bf16 dot products (AVX512-BF16 or AMX); elsewhere bf16 is emulated, and slower than fp32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private in torch: absent means no
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def autocast(device, precision):
    """A context manager in which matrix products run in ``precision`` while weights and sums stay float32 (Micikevicius et al. 2018)."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def compile_model(model, config):
    """A compiled way to call a model with batches as a TrainConfig has them. The model itself is called as ever: evaluating it compiles nothing.

    A graph is made for a shape; where another comes, torch makes one for all shapes, which is slower, unless dynamic is False. Packed blocks with
    random masks have one shape, and one more for the short batch at the end of an epoch: two graphs, each for its own. With other examples,
    masks that come in words, and streams, shapes are many.
    """
    import torch._dynamo  # takes seconds

    torch._dynamo.config.recompile_limit = 64  # pairs need five graphs or so; after eight torch would go on uncompiled
    fixed = config.examples == "blocks" and config.masking == "tokens" and not config.stream
    return torch.compile(model, dynamic=False if fixed else None)


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
    """The most memory used so far, in bytes: of the card on CUDA, of the process elsewhere; 0 where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def describe(device, precision):
    """One line for the screen, such as 'cpu (2 threads), bf16'."""
    name = f"{torch.cuda.get_device_name(device)}" if device.type == "cuda" else f"{device.type} ({torch.get_num_threads()} threads)"
    return f"{name}, {precision}"

"""The least memory of a run, known before anything is built: a mistyped size is refused at once."""
import contextlib
import math
import os
from dataclasses import asdict
from pathlib import Path

import torch

from minibert.device import DTYPES
from tokenizer.utils.cli import as_flags

CGROUPS = Path("/sys/fs/cgroup")  # the limits of containers on Linux
MIN_LENGTH = 3  # tokens of the shortest example: [CLS], one of text, [SEP]


def check_memory(model, config, memory, changeable, world_size=1):
    """Raise ValueError, naming the sizes that help, if a run needs more memory than there is.

    memory       {"this machine": bytes}, and "this GPU" if there is one: see ``available_memory``
    changeable   fields that the user can still change; not those of a model that exists
    """
    on_device, on_host = least_memory(model, config, world_size)
    parts_of = {"this machine": on_host + on_device}
    if "this GPU" in memory:
        parts_of = {"this machine": on_host, "this GPU": on_device}
    for owner, parts in parts_of.items():
        needed = sum(num_bytes for num_bytes, _ in parts)
        if needed > memory[owner]:
            raise ValueError(f"this run takes at least {needed / 1e9:,.1f} GB of memory, {owner} "
                             f"has {memory[owner] / 1e9:,.1f} GB: "
                             + remedy(model, config, parts, memory[owner], changeable))


def remedy(model, config, parts, available, changeable):
    """Return what to do about parts that need more bytes: 'lower --hidden-size 1000 or ...'"""
    fixed = sum(num_bytes for num_bytes, names in parts if not changeable.intersection(names))
    if fixed > available:
        return "use a smaller model, or a machine with more memory"
    _, names = max(part for part in parts if changeable.intersection(part[1]))
    values = asdict(model) | asdict(config)
    values["micro_batch_size"] = config.effective_micro_batch_size
    names = [name for name in sorted(changeable.intersection(names)) if values[name] > 1]
    names.sort(key=values.get, reverse=True)
    return "lower " + as_flags(" or ".join(f"{name}={values[name]}" for name in names), names)


def available_memory(device):
    """Return the bytes of this machine and of its GPU, if ``device`` is one."""
    memory = {"this machine": machine_memory()}
    if device.type == "cuda":
        memory["this GPU"] = torch.cuda.get_device_properties(device).total_memory
    return memory


def least_memory(model, config, world_size=1):
    """Return two lists of (bytes, fields they grow with): on the device, and for batches of ids.

    A lower bound: what surely has to be there, without biases, logits and attention scores.
    """
    H, layers = model.hidden_size, model.num_hidden_layers
    # float32: a weight, its gradient, Adam's two moments (Muon has one), and its average
    weight = 4 * ((4 if config.optimizer == "adamw" else 3) + bool(config.average))
    matrices = 3 if model.gated else 2  # of H x I
    block = 4 * H * H + matrices * H * model.intermediate_size
    # Learned positions are weights. Rotary ones are two tables (global, local) of a cosine and a
    # sine for each pair of a head, in memory twice while they are stacked.
    position = 16 * model.head_size if model.rotary else weight * H
    # Only packed sequences surely have the length max_length.
    length = config.max_length if config.examples == "blocks" else MIN_LENGTH
    # Each block keeps its input for the backward pass.
    micro_batch = min(config.effective_micro_batch_size, config.loader_batch_size) // world_size
    activations = micro_batch * length * H * layers * DTYPES[config.precision].itemsize
    on_device = [
        (weight * model.vocab_size * H, ("vocab_size", "hidden_size")),
        (position * model.max_position_embeddings, ("max_position_embeddings", "hidden_size")),
        (weight * block * layers, ("num_hidden_layers", "hidden_size", "intermediate_size")),
        (activations, ("batch_size", "micro_batch_size", "max_length")),
        (weight * model.segments * H, ("type_vocab_size", "hidden_size")),
    ]
    # input_ids and labels, int64
    ids = 16 * length * config.batch_size // world_size
    return on_device, [(ids, ("batch_size", "max_length"))]


def machine_memory():
    """Return the bytes that this process may use: all of the machine, or what a container has."""
    if not hasattr(os, "sysconf"):  # Windows
        return math.inf
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError):
        limits += cgroup_limits(Path("/proc/self/cgroup").read_text(), CGROUPS)
    return min(limits)


def cgroup_limits(own, root):
    """Return the memory limits of a process's control groups, of version 2.

    own: its /proc/self/cgroup, with a line such as 0::/system.slice
    """
    limits = []
    for line in own.splitlines():
        if line.startswith("0::/"):
            folder = root / line.removeprefix("0::/")
            for path in (folder, *folder.parents):  # the groups around it limit it, too
                with contextlib.suppress(OSError, ValueError):  # no such file; "max": no limit
                    limits.append(int((path / "memory.max").read_text()))
    return limits

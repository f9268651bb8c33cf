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
    owner = "this GPU" if "this GPU" in memory else "this machine"
    parts_of = {"this machine": on_host}
    parts_of[owner] = parts_of.get(owner, []) + on_device
    for owner, parts in parts_of.items():
        needed = sum(num_bytes for num_bytes, _ in parts)
        if needed > memory[owner]:
            raise ValueError(f"this run takes at least {needed / 1e9:,.1f} GB of memory, {owner} "
                             f"has {memory[owner] / 1e9:,.1f} GB: "
                             + remedy(model, config, parts, memory[owner], changeable))


def remedy(model, config, parts, available, changeable):
    """Return what to do about parts that need more bytes than are available."""
    fixed = sum(num_bytes for num_bytes, names in parts if not changeable.intersection(names))
    if fixed > available:
        return "use a smaller model, or a machine with more memory"
    _, names = max(part for part in parts if changeable.intersection(part[1]))
    return "lower " + size_flags(model, config, changeable.intersection(names))


def available_memory(device):
    """Return the bytes of this machine and of its GPU, if ``device`` is one."""
    memory = {"this machine": machine_memory()}
    if device.type == "cuda":
        memory["this GPU"] = torch.cuda.get_device_properties(device).total_memory
    return memory


def size_flags(model, config, names):
    """Return the flags with their values, the largest first: '--hidden-size 1000 or ...'"""
    settings = asdict(model) | asdict(config)
    settings["micro_batch_size"] = config.effective_micro_batch_size
    values = {name: settings[name] for name in sorted(names) if settings[name] > 1}
    largest_first = sorted(values, key=values.get, reverse=True)
    return as_flags(" or ".join(f"{name}={values[name]}" for name in largest_first), names)


def least_memory(model, config, world_size=1):
    """Return two lists of (bytes, fields they grow with): on the device, and for batches of ids.

    A lower bound: what surely has to be there, without biases, logits and attention scores.
    """
    H, layers = model.hidden_size, model.num_hidden_layers
    # float32: a weight, its gradient and Adam's two moments (Muon has one)
    weight = 4 * 4 if config.optimizer == "adamw" else 4 * 3
    matrices = 3 if model.gated else 2  # of H x I
    block = 4 * H * H + matrices * H * model.intermediate_size
    # Learned positions are weights; the tables of rotary ones are 8 numbers for each pair.
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
    """Return the memory limits of a process's control groups. own: its /proc/self/cgroup.

    Version 2 has lines such as 0::/system.slice, version 1 such as 4:memory:/docker/1e78.
    """
    limits = []
    for line in own.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            folder, name = root / group.lstrip("/"), "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "memory" / group.lstrip("/"), "memory.limit_in_bytes"
        else:
            continue
        for path in (folder, *folder.parents):  # the groups around it limit it, too
            with contextlib.suppress(OSError, ValueError):  # no such file; "max": no limit
                limits.append(int((path / name).read_text()))
    return limits

"""The least memory of a run, known before anything is built: a mistyped size is refused at once."""
import math
import os

import torch

from minibert.device import DTYPES

MIN_LENGTH = 3  # tokens of the shortest example: [CLS], one of text, [SEP]


def check_memory(model, config, memory, world_size=1):
    """Raise ValueError, naming the largest part, if a run needs more memory than there is.

    memory: {"this machine": bytes}, and "this GPU" if there is one: see ``available_memory``
    """
    on_device, on_host = least_memory(model, config, world_size)
    parts_of = {"this machine": on_host | on_device}
    if "this GPU" in memory:
        parts_of = {"this machine": on_host, "this GPU": on_device}
    for owner, parts in parts_of.items():
        needed = sum(parts.values())
        if needed > memory[owner]:
            raise ValueError(f"this run takes at least {needed / 1e9:,.1f} GB of memory, {owner} "
                             f"has {memory[owner] / 1e9:,.1f} GB: most of it for the "
                             + max(parts, key=parts.get))


def available_memory(device):
    """Return the bytes of this machine and of its GPU, if ``device`` is one."""
    memory = {"this machine": machine_memory()}
    if device.type == "cuda":
        memory["this GPU"] = torch.cuda.get_device_properties(device).total_memory
    return memory


def least_memory(model, config, world_size=1):
    """Return {part: bytes} of what is on the device, and of what is in the machine's own memory.

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
    on_device = {
        f"token embeddings (vocab_size {model.vocab_size:,}, hidden_size {H:,})":
            weight * model.vocab_size * H,
        f"positions (max_position_embeddings {model.max_position_embeddings:,})":
            position * model.max_position_embeddings,
        f"layers ({layers:,} of hidden_size {H:,}, intermediate_size {model.intermediate_size:,})":
            weight * block * layers,
        f"activations ({micro_batch:,} examples at once)": activations,
        f"segment embeddings (type_vocab_size {model.segments:,})": weight * model.segments * H,
    }
    ids = 16 * length * config.batch_size // world_size  # input_ids and labels, int64
    return on_device, {f"token ids (batch_size {config.batch_size:,})": ids}


def machine_memory():
    """Return the bytes of this machine."""
    if not hasattr(os, "sysconf"):  # Windows
        return math.inf
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

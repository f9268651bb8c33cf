"""Weights as other programs leave them: strip the prefixes of wrappers, name what is not read.

    module.bert.embeddings...            DistributedDataParallel, DataParallel
    _orig_mod.bert.embeddings...         torch.compile
    model.bert.embeddings...             an attribute of a LightningModule, here ``self.model``
    {"state_dict": {...}}                a checkpoint of Lightning
"""
import re
from itertools import islice

import torch

from tokenizer.utils.terminal import visible

# Wrappers add a part to names, in front or in the middle: bert._orig_mod.encoder...
WRAPPER = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module"
                     r"|_checkpoint_wrapped_module)\.")
# Each family has one of these. What is in front of it is the prefix of all names.
TOKEN_EMBEDDINGS = (
    "bert.embeddings.word_embeddings.weight", "roberta.embeddings.word_embeddings.weight",
    "embeddings.word_embeddings.weight", "model.embeddings.tok_embeddings.weight",
    "embeddings.tok_embeddings.weight", "transformer.wte.weight", "wte.weight", "shared.weight")
MAX_LISTED = 5  # files, keys or names in an error
SAVE_ALONE = "save nothing but model.state_dict() in a new file"


def strip_prefixes(tensors):
    """Return ({name without wrappers: tensor}, a note about the prefix, or "").

    >>> strip_prefixes({"module.bert.embeddings.word_embeddings.weight": 0, "module.b": 1})
    ({'bert.embeddings.word_embeddings.weight': 0, 'b': 1}, "names without the prefix 'module.'")
    """
    renamed = {WRAPPER.sub("", name): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors):
        return tensors, ""  # with and without a wrapper: two models
    removed = {part for name in tensors for part in WRAPPER.findall(name)}
    prefixes = [prefix for prefix in map(prefix_of_embeddings, renamed) if prefix is not None]
    if len(prefixes) == 1 and prefixes[0]:
        renamed = {name.removeprefix(prefixes[0]): tensor for name, tensor in renamed.items()}
        removed.add(prefixes[0])
    if not removed:
        return tensors, ""
    quoted = ", ".join(f"'{visible(prefix)}'" for prefix in sorted(removed))
    return renamed, f"names without the prefix {quoted}"


def prefix_of_embeddings(name):
    """Return what is in front of one of ``TOKEN_EMBEDDINGS`` in a name; None for other names.

    >>> prefix_of_embeddings("my_bert.embeddings.word_embeddings.weight")
    'my_bert.'
    """
    for known in TOKEN_EMBEDDINGS:
        if f".{name}".endswith(f".{known}"):
            return name.removesuffix(known)
    return None


def tensors_of_pickle(values, path):
    """Return {name: tensor} of what torch.load read; ValueError for anything else."""
    if isinstance(values, dict) and isinstance(values.get("state_dict"), dict):  # Lightning
        values = values["state_dict"]
    is_named = isinstance(values, dict) and all(
        isinstance(name, str) and torch.is_tensor(value) for name, value in values.items())
    if not (is_named and values):
        found = f"a {type(values).__name__}"
        if values and isinstance(values, dict):
            found += f" with the keys {listed(values)}"
        raise ValueError(f"{path}: not a dict of named tensors, but {found}: {SAVE_ALONE}")
    return values


def listed(names):
    """Return the first names, and how many more there are.

    >>> listed("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    text = ", ".join(visible(str(name))[:60] for name in islice(names, MAX_LISTED))
    more = len(names) - MAX_LISTED
    return text + (f" and {more:,} more" if more > 0 else "")

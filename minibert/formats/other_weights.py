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
TOKEN_EMBEDDINGS = re.compile(r"((?:.*?\.)??)(?:(?:(?:bert|roberta)\.)?embeddings\.word_embeddings"
                              r"|(?:model\.)?embeddings\.tok_embeddings)\.weight")
MAX_LISTED = 5  # files, keys or names in an error


def strip_prefixes(tensors):
    """Return ({name without wrappers: tensor}, a note about the prefix, or "").

    >>> strip_prefixes({"module.bert.embeddings.word_embeddings.weight": 0, "module.b": 1})
    ({'bert.embeddings.word_embeddings.weight': 0, 'b': 1}, "names without the prefix 'module.'")
    """
    renamed = {WRAPPER.sub("", name): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors):
        return tensors, ""  # with and without a wrapper: two models
    removed = {part for name in tensors for part in WRAPPER.findall(name)}
    prefixes = [match[1] for match in map(TOKEN_EMBEDDINGS.fullmatch, renamed) if match]
    if len(prefixes) == 1 and prefixes[0]:
        renamed = {name.removeprefix(prefixes[0]): tensor for name, tensor in renamed.items()}
        removed.add(prefixes[0])
    if not removed:
        return tensors, ""
    listed = ", ".join(f"'{visible(prefix)}'" for prefix in sorted(removed))
    return renamed, f"names without the prefix {listed}"


def tensors_of_pickle(values, path):
    """Return {name: tensor} of what torch.load read; ValueError that describes anything else."""
    if isinstance(values, dict) and isinstance(values.get("state_dict"), dict):  # Lightning
        values = {f"state_dict.{name}": value for name, value in values["state_dict"].items()}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: not a dict of named tensors but a {type(values).__name__}: "
                         "save model.state_dict()")
    nested = [key for key, value in values.items()
              if isinstance(value, dict) and any(map(torch.is_tensor, value.values()))]
    if nested:
        raise ValueError(
            f"{path}: not a dict of named tensors: it has the keys {listed(values)}, and tensors "
            f"are in {listed(nested)}. Save the model's alone, in Python: "
            f"torch.save(torch.load(path)[{str(nested[0])[:80]!r}], path)")
    bad = [key for key, value in values.items()
           if not (isinstance(key, str) and torch.is_tensor(value))]
    if not values:
        raise ValueError(f"{path}: not a dict of named tensors: it is empty")
    if bad:
        raise ValueError(f"{path}: not a dict of named tensors: these values are of other types: "
                         f"{listed(bad)}. Save model.state_dict()")
    return values


def listed(names):
    """Return the first names, and how many more there are.

    >>> listed("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    text = ", ".join(visible(str(name))[:60] for name in islice(names, MAX_LISTED))
    more = len(names) - MAX_LISTED
    return text + (f" and {more:,} more" if more > 0 else "")

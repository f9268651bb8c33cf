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
    """Return {name: tensor} of what torch.load read; ValueError that describes anything else."""
    source = f"torch.load({str(path)!r})"
    if isinstance(values, dict) and isinstance(values.get("state_dict"), dict):  # Lightning
        values = values["state_dict"]
        source += "['state_dict']"
    if problem := describe_values(values, path, source):
        raise ValueError(f"{path}: not a dict of named tensors: {problem}")
    return values


def describe_values(values, path, source):
    """Return what is wrong with values of a pickle, or "". source: the code that reads them."""
    if not isinstance(values, dict):
        return f"it is a {type(values).__name__}. Save model.state_dict()"
    nested = [key for key, value in values.items()
              if isinstance(value, dict) and any(map(torch.is_tensor, value.values()))]
    if nested:
        return (f"it has the keys {listed(values)}, and tensors are in {listed(nested)}. "
                + save_alone(path, f"{source}[{nested[0]!r:.80}]"))
    bad = [key for key, value in values.items()
           if not (isinstance(key, str) and torch.is_tensor(value))]
    if bad:
        return f"these values are of other types: {listed(bad)}. Save model.state_dict()"
    return "" if values else "it is empty"


def save_alone(path, tensors):
    """Return how to save the tensors that this code reads from ``path``, which is not changed."""
    return ("Copy the folder to NEW and save the model's tensors alone there, in Python: "
            f"torch.save({tensors}, 'NEW/{path.name}')")


def listed(names):
    """Return the first names, and how many more there are.

    >>> listed("abcdefgh")
    'a, b, c, d, e and 3 more'
    """
    text = ", ".join(visible(str(name))[:60] for name in islice(names, MAX_LISTED))
    more = len(names) - MAX_LISTED
    return text + (f" and {more:,} more" if more > 0 else "")

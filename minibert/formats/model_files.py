"""Locate and read the files of a model, whichever program wrote them.

    model.safetensors                 written by this project and by current libraries
    model.safetensors.index.json      maps each tensor to one of several such files (shards)
    pytorch_model.bin                 written by older libraries; with shards, an index as well

The first of these files that exists is read. No file is trusted and none can run code:
a .bin is a pickle, a program that may call any Python function, so ``torch.load`` gets
``weights_only=True``, which builds tensors and stops at anything else.

``huggingface.py`` maps the names of the tensors to this project's modules.
"""
import json
import re
import warnings
from pathlib import Path

import torch

from minibert.formats import safetensors
from tokenizer.formats.vocab_files import VOCABULARIES, holds_tokenizer

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"
WEIGHT_FILES = (WEIGHTS, WEIGHTS + INDEX_SUFFIX, PICKLED, PICKLED + INDEX_SUFFIX)


# Locating


def locate(folder):
    """Return (folder of the model, folder of its tokenizer).

    ``folder`` is a run, one of its checkpoints, or a folder with both, as published models are.
    A run that has no model/ yet is represented by its newest checkpoint.
    Raises FileNotFoundError or ValueError if there is no model or no tokenizer.

        locate("runs/kant")           -> (runs/kant/model, runs/kant/tokenizer)
        locate("bert-base-uncased")   -> (bert-base-uncased, bert-base-uncased)
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; nothing is downloaded, so copy the {CONFIG}, {WEIGHTS} "
            "and tokenizer.json (or vocab.txt) of a published model into one folder first"
        )
    checkpoints = sorted(folder.glob("checkpoints/step-*"), key=_step, reverse=True)
    candidates = [folder / "model", *checkpoints, folder]
    model_dir = next((path for path in candidates if _holds_model(path)), None)
    if model_dir is None:
        raise ValueError(
            f"{folder}: not a run directory (tokenizer/ and model/ or checkpoints/step-N/), "
            f"nor a model ({CONFIG} and {WEIGHTS} or {PICKLED})"
        )
    candidates = [
        folder / "tokenizer",
        model_dir,
        folder,
        folder.parent / "tokenizer",  # folder is RUN/model
        folder.parent.parent / "tokenizer",  # folder is RUN/checkpoints/step-N
    ]
    tokenizer_dir = next((path for path in candidates if holds_tokenizer(path)), None)
    if tokenizer_dir is None:
        raise ValueError(
            f"{folder}: {model_dir} is a model without a tokenizer: there is no "
            f"{', '.join(VOCABULARIES)} in {folder / 'tokenizer'} or {model_dir}"
        )
    return model_dir, tokenizer_dir


def _step(folder):
    suffix = folder.name.removeprefix("step-")
    return int(suffix) if suffix.isdigit() else -1


def _holds_model(folder):
    return (folder / CONFIG).is_file() and weights_file(folder) is not None


def weights_file(folder):
    """Return the first of ``WEIGHT_FILES`` that is in the folder, or None."""
    paths = (Path(folder) / name for name in WEIGHT_FILES)
    return next((path for path in paths if path.is_file()), None)


# Reading


def read_config(folder):
    """Return the config.json of a folder as a dict; FileNotFoundError if it is not a model."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a model needs {CONFIG} and {WEIGHTS}")
    if weights_file(folder) is None:
        raise FileNotFoundError(f"{folder}: no weights; a model needs {WEIGHTS} or {PICKLED}")
    return read_json_object(path)


def read_json_object(path):
    """Return the object in a JSON file as a dict; ValueError if it holds anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds a {type(values).__name__}, expected an object")
    return values


def read_weights(folder):
    """Return (path that was read, {name: tensor}); ValueError for damaged files."""
    path = weights_file(folder)
    tensors = _read_shards(path) if path.name.endswith(INDEX_SUFFIX) else _read_file(path)
    return path, tensors


def _read_file(path):
    return safetensors.read(path) if path.suffix == ".safetensors" else _read_pickled(path)


def _read_shards(index_path):
    """Return the tensors of all files that an index names.

    index: {"weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}}
    """
    weight_map = read_json_object(index_path).get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) for name in weight_map.values())
    ):
        raise ValueError(f"{index_path}: weight_map must give the file of each tensor")
    tensors = {}
    for shard_name in sorted(set(weight_map.values())):
        # A hostile index could name any file of the machine.
        if Path(shard_name).name != shard_name or "\\" in shard_name:
            raise ValueError(f"{index_path}: {shard_name!r} is not a file in the same folder")
        shard_path = index_path.parent / shard_name
        if not shard_path.is_file():
            raise FileNotFoundError(f"{shard_path}: no such file, {index_path.name} names it")
        shard = _read_file(shard_path)
        expected = {tensor for tensor, name in weight_map.items() if name == shard_name}
        different = sorted(set(shard) ^ expected)
        if different:
            raise ValueError(
                f"{shard_path} does not match {index_path.name}: they disagree about "
                f"{different[0]!r}; copy all files of the model again"
            )
        tensors |= shard
    return tensors


def _read_pickled(path):
    """Return the tensors of a .bin as {name: tensor}, without running any of its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to the author of the file
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise  # these say nothing about the content of the file
    except Exception as error:  # a broken or hostile file can make the parser raise anything
        forbidden = re.search(r"GLOBAL (\S+)|function (<.*?>)", str(error))
        if forbidden:
            name = forbidden[1] or forbidden[2]
            raise ValueError(
                f"{path}: not only tensors: it calls {name}, which could run any code. "
                f"Nothing was run. Ask its author for a {WEIGHTS}"
            ) from None
        summary = error_summary(error)
        raise ValueError(f"{path}: cannot be read ({summary}): copy it again") from None
    if not isinstance(tensors, dict):
        raise ValueError(f"{path}: holds a {type(tensors).__name__}, expected named tensors")
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, path)
    # Tensors may share one storage, and training would then change all of them at once:
    # copy each, and free the original as soon as it is copied.
    copies = {}
    for name in list(tensors):
        tensor = tensors.pop(name).detach()
        copies[name] = tensor.clone(memory_format=torch.contiguous_format)
    return copies


def _check_tensor(name, tensor, path):
    """Raise ValueError unless name and tensor are a dense CPU tensor with a printable name."""
    if not isinstance(name, str) or not name.isprintable():
        raise ValueError(f"{path}: {str(name)[:100]!r} is not the name of a tensor")
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        raise ValueError(f"{path}: {name[:100]!r} is a {type(tensor).__name__}, not a dense tensor")
    if tensor.dtype not in safetensors.NAMES or tensor.device.type != "cpu":
        raise ValueError(f"{path}: tensor {name} is {tensor.dtype} on {tensor.device}: unsupported")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        raise ValueError(f"{path}: tensor {name} is expanded: save it again with .contiguous()")


def error_summary(error):
    """Return the first sentence of an error: 'RuntimeError: invalid header'.

    torch wraps the reason in advice that would be wrong here.
    """
    message = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return re.split(r"\n|\. ", f"{type(error).__name__}: {message}")[0]

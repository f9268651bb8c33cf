"""A folder that holds a model, whoever wrote it: where the model and its tokenizer stand, and the numbers of its weights.

    model.safetensors                 as this project writes them, and the ecosystem today
    model.safetensors.index.json      which tensor stands in which of several such files: too much for one
    pytorch_model.bin                 as the ecosystem wrote them before; with several, an index as well

The first of these that is there is read. None is believed, and none runs code. A .bin is a pickle, a small program that may have Python
call any function: ``torch.load`` is told to build tensors and nothing else (``weights_only=True``), and stops where a file asks for more.

What the names of the tensors mean is the matter of ``interop.py``.
"""
import json
import re
import warnings
from collections import Counter
from pathlib import Path

import torch

from minibert.formats import safetensors
from tokenizer.formats.vocab_files import VOCABULARIES, holds_tokenizer

CONFIG, WEIGHTS, PICKLED, INDEX = "config.json", "model.safetensors", "pytorch_model.bin", ".index.json"
WEIGHT_FILES = (WEIGHTS, WEIGHTS + INDEX, PICKLED, PICKLED + INDEX)
A_MODEL_IS = f"a model is a folder with {CONFIG} and {WEIGHTS} (or the parts of one and {WEIGHTS + INDEX}, or {PICKLED})"


# ---------------------------------------------------------------------------------------------- where things stand


def locate(folder):
    """(folder of the model, folder of its tokenizer): of a run, of one of its checkpoints, or of a folder that holds both, as published ones do.

    Where RUN/model is missing, because the run has not come to its end, the newest checkpoint is taken.
    Raises FileNotFoundError or ValueError that say what was looked for.

    "runs/kant" -> runs/kant/model, runs/kant/tokenizer;  "bert-base-uncased" -> bert-base-uncased, bert-base-uncased
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a run is what train.py wrote under --out, e.g. runs/quickstart. Nothing is "
                                f"downloaded: of a published model fetch {CONFIG}, {WEIGHTS} and tokenizer.json (or vocab.txt) into one folder")
    places = [folder / "model", *sorted((folder / "checkpoints").glob("step-*"), key=_step, reverse=True), folder]
    model = next((place for place in places if (place / CONFIG).is_file() and weights_file(place)), None)
    if model is None:
        raise ValueError(f"{folder}: no run directory. One holds tokenizer/ and model/ (or checkpoints/step-N/); a model with its tokenizer's "
                         f"files beside it will do as well: {A_MODEL_IS}")
    # beside the model, or, where the folder is RUN/model or RUN/checkpoints/step-N, in the run above it
    places = [folder / "tokenizer", model, folder, folder.parent / "tokenizer", folder.parent.parent / "tokenizer"]
    tokenizer = next((place for place in places if holds_tokenizer(place)), None)
    if tokenizer is None:
        raise ValueError(f"{folder}: there is a model in {model}, but no tokenizer: looked for {', '.join(VOCABULARIES)} in {places[0]} and {model}")
    return model, tokenizer


def _step(folder):
    number = folder.name.removeprefix("step-")
    return int(number) if number.isdigit() else -1


def weights_file(folder):
    """The file to begin with, None where the folder has no weights."""
    return next((Path(folder) / name for name in WEIGHT_FILES if (Path(folder) / name).is_file()), None)


# ---------------------------------------------------------------------------------------------- reading


def read_config(folder):
    """config.json of a folder that must hold a model -> dict. FileNotFoundError, ValueError that name the file."""
    for path in (Path(folder) / CONFIG, weights_file(folder) or Path(folder) / WEIGHTS):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; {A_MODEL_IS}")
    return read_object(Path(folder) / CONFIG)


def read_object(path):
    """A JSON file -> dict; ValueError where it holds anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds a {type(values).__name__}, it must be an object")
    return values


def read_weights(folder):
    """All tensors of a folder: (the file that was read, {name: tensor}). ValueError for files that are damaged or hold more than tensors."""
    path = weights_file(folder)
    return path, _read_parts(path) if path.name.endswith(INDEX) else _read_file(path)


def _read_file(path):
    return safetensors.read(path) if path.suffix == ".safetensors" else _read_pickled(path)


def _read_parts(path):
    """An index, {"weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}} -> the tensors of all the files that it names."""
    places = read_object(path).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{path}: weight_map must say for each tensor in which file it stands, not {str(places)[:100]}")
    tensors = {}
    for name, count in sorted(Counter(places.values()).items()):
        part = path.parent / name
        if Path(name).name != name or "\\" in name:
            raise ValueError(f"{path}: weight_map names {name!r}, but only files beside it are read")
        if not part.is_file():
            raise FileNotFoundError(f"{part}: no such file, but {path.name} has {count} tensors in it: copy all parts of the model")
        found = _read_file(part)
        other = set(found) ^ {tensor for tensor, place in places.items() if place == name}
        if other:
            raise ValueError(f"{part} and {path.name} disagree about {', '.join(map(repr, sorted(other)[:5]))}{' ...' if len(other) > 5 else ''}: "
                             "they are not of one model, copy all parts again")
        tensors |= found
    return tensors


def _read_pickled(path):
    """A .bin -> {name: tensor}. ValueError for one that names a function other than those that tensors are made with; none has run then."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on how to write such files
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise  # says nothing of what is in the file
    except Exception as error:  # whatever a broken or hostile file makes a parser raise
        if asked := re.search(r"GLOBAL (\S+)|function (<.*?>)", str(error)):
            raise ValueError(f"{path}: holds more than tensors: it wants {asked[1] or asked[2]}, with which it could run any code. Nothing of it "
                             f"was run. Ask who made it for a {WEIGHTS}") from None
        raise ValueError(f"{path}: cannot be read ({error_summary(error)}): no file that torch.save wrote, or truncated; nothing of it was run. "
                         "Copy it or save it again") from None
    if not isinstance(tensors, dict):
        raise ValueError(f"{path}: holds a {type(tensors).__name__}, it must be tensors by name")
    for name, tensor in tensors.items():
        if not (isinstance(name, str) and name.isprintable() and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided):
            raise ValueError(f"{path}: {str(name)[:100]!r} is a {type(tensor).__name__}, but all must be dense tensors, by name: "
                             "are these the weights of a model?")
        if tensor.dtype not in safetensors.NAMES or tensor.device.type != "cpu":
            raise ValueError(f"{path}: tensor {name} is of type {tensor.dtype} on the device {tensor.device}, but weights are read into the CPU's "
                             f"memory as {', '.join(safetensors.DTYPES)}: save them so")
        needed, held = tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes()
        if held < needed:  # an expanded tensor: it shows the same numbers in several places, and an optimiser would write there
            raise ValueError(f"{path}: tensor {name} of shape {tuple(tensor.shape)} needs {needed:,} bytes, the file has {held:,} for it: "
                             "save it again, with .contiguous()")
    # Memory of its own for each: tensors may lie in one storage, where a step of training would change them all. Freed as they are copied.
    return {name: tensors.pop(name).detach().clone(memory_format=torch.contiguous_format) for name in list(tensors)}


def error_summary(error):
    """What a library says in its first sentence: torch goes on with advice that is none here, or begins with it. -> 'RuntimeError: invalid header'"""
    said = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return re.split(r"\n|\. ", f"{type(error).__name__}: {said}")[0]

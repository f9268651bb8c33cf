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
from minibert.formats.other_weights import SAVE_ALONE, listed, tensors_of_pickle
from tokenizer.formats.other_kinds import describe_other_kind
from tokenizer.formats.vocab_files import VOCABULARIES, check_downloaded, holds_tokenizer
from tokenizer.utils.files import file_checksum
from tokenizer.utils.terminal import visible

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX_SUFFIX = ".index.json"
# Only a checkpoint has these: the state of its run, and the checksums of its files
STATE = "state.json"
CHECKSUMS = "checksums.json"
WEIGHT_FILES = (WEIGHTS, WEIGHTS + INDEX_SUFFIX, PICKLED, PICKLED + INDEX_SUFFIX)

# Files that are not read: (pattern of their names, what they are and how to convert them)
CONVERT = ("convert it with transformers 4: "
           "AutoModelForMaskedLM.from_pretrained(FOLDER, {}).save_pretrained(FOLDER)")
EXPORTED = f"an export, which cannot be trained: find the {WEIGHTS} of this model"
CHECKPOINT = f"a checkpoint of PyTorch: copy it to {PICKLED} in the same folder"
OTHER_FORMATS = (
    ("tf_model.h5", "a model of TensorFlow: " + CONVERT.format("from_tf=True")),
    ("flax_model.msgpack", "a model of Flax: " + CONVERT.format("from_flax=True")),
    ("*.ckpt.index", "a checkpoint of TensorFlow 1: convert it with transformers 4: python -m "
     "transformers.models.bert.convert_bert_original_tf_checkpoint_to_pytorch"),
    ("adapter_model.*", "an adapter of PEFT: put it into its model with merge_and_unload(), then "
     "save_pretrained(FOLDER)"),
    ("*.safetensors", f"a file of weights: rename it to {WEIGHTS}"),
    ("*.onnx", EXPORTED), ("*.gguf", EXPORTED), ("*.tflite", EXPORTED), ("*.pb", EXPORTED),
    ("*.pt", CHECKPOINT), ("*.pth", CHECKPOINT), ("*.ckpt", CHECKPOINT), ("*.bin", CHECKPOINT),
)


def locate(folder):
    """Return (folder of the model, folder of its tokenizer).

    ``folder`` is a run, one of its checkpoints, or a folder with both, as published models are.
    A run that has no model/ yet is represented by its newest checkpoint.

        locate("runs/kant")           -> (runs/kant/model, runs/kant/tokenizer)
        locate("bert-base-uncased")   -> (bert-base-uncased, bert-base-uncased)
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder. Name a run, or a folder with the {CONFIG}, {WEIGHTS} and "
            "tokenizer.json (or vocab.txt) of a published model; nothing is downloaded"
        )
    checkpoints = sorted(folder.glob("checkpoints/step-*"), key=_step, reverse=True)
    candidates = [folder / "model", *checkpoints, folder]
    model_dir = next((path for path in candidates if _holds_model(path)), None)
    if model_dir is None:
        raise ValueError(
            f"{folder}: not a run directory (tokenizer/ and model/ or checkpoints/step-N/), "
            f"nor a model ({CONFIG} and {WEIGHTS} or {PICKLED}): {describe_files(folder)}"
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
            describe_other_kind(model_dir) or
            f"{model_dir} is a model without a tokenizer: there is no "
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


def describe_files(folder):
    """Return what a folder holds instead of a model that can be read, and what to do."""
    if not folder.is_dir():
        return "no such folder"
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if weights := weights_file(folder):
        return f"{weights.name} needs the {CONFIG} of its model next to it"
    if models := [path.name for path in paths if _holds_model(path)]:
        return f"the models are in {listed(models)}: name one of these folders"
    for pattern, meaning in OTHER_FORMATS:
        for path in paths:
            if path.match(pattern) and path.is_file():
                return f"{visible(path.name)} is {meaning}"
    return f"it holds {listed([path.name for path in paths])}" if paths else "it is empty"


def read_config(folder):
    """Return the config.json of a folder as a dict; FileNotFoundError if it is not a model."""
    path = Path(folder) / CONFIG
    if not _holds_model(Path(folder)):
        raise FileNotFoundError(f"{folder}: a model needs {CONFIG} and {WEIGHTS} or {PICKLED}: "
                                + describe_files(Path(folder)))
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


def write_checksums(folder):
    """Write the CRC-32 of every file in ``folder``: {"model.safetensors": "5d1c09a7", ...}"""
    checksums = {path.name: file_checksum(path) for path in sorted(folder.iterdir())}
    (folder / CHECKSUMS).write_text(json.dumps(checksums, indent=1) + "\n", encoding="utf-8")


def check_checksums(folder, names):
    """Raise ValueError, naming the file, unless all of these are as checksums.json has them."""
    for name in (CHECKSUMS, *names):
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is missing")
    expected = read_json_object(folder / CHECKSUMS)
    for name in names:
        checksum = file_checksum(folder / name)
        if name not in expected:
            raise ValueError(f"{folder / CHECKSUMS} is damaged: it has no checksum of {name}")
        if checksum != expected[name]:
            raise ValueError(f"{folder / name} was changed or is damaged: its checksum is "
                             f"{checksum}, {CHECKSUMS} has {visible(str(expected[name]))[:60]}")


def read_weights(folder):
    """Return (path that was read, {name: tensor}); ValueError for damaged files."""
    path = weights_file(folder)
    if all((path.parent / name).is_file() for name in (STATE, CHECKSUMS)):
        check_checksums(path.parent, (CONFIG, path.name))
    if not path.name.endswith(INDEX_SUFFIX):
        return path, _read_file(path)
    # {"weight_map": {"a.weight": "model-00001-of-00002.safetensors", ...}}
    weight_map = read_json_object(path).get("weight_map")
    if not isinstance(weight_map, dict) or {*map(type, weight_map.values())} != {str}:
        raise ValueError(f"{path}: its weight_map does not name a file for each tensor")
    tensors = {}
    for shard_name in sorted(set(weight_map.values())):
        # .name: a hostile index cannot name a file outside of the folder.
        shard = path.parent / Path(shard_name).name
        if not shard.is_file():
            raise FileNotFoundError(f"{shard}: no such file, but {path.name} names it: it is a "
                                    "part of the weights, copy it too")
        tensors |= _read_file(shard)
    return path, tensors


def _read_file(path):
    check_downloaded(path)
    return safetensors.read(path) if path.suffix == ".safetensors" else _read_pickled(path)


def _read_pickled(path):
    """Return the tensors of a .bin as {name: tensor}, without running any of its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to the author of the file
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise  # these say nothing about the content of the file
    except Exception as error:  # a broken or hostile file can make the parser raise anything
        raise ValueError(f"{path}: cannot be read as a file of tensors ({error_summary(error)}). "
                         f"No code of it was run. Copy it again, {SAVE_ALONE}, or find a "
                         f"{WEIGHTS}") from None
    tensors = tensors_of_pickle(tensors, path)
    # Tensors may share one storage, and training would then change all of them at once:
    # copy each, and free the original as soon as it is copied.
    copies = {}
    for name in list(tensors):
        tensor = tensors.pop(name).detach()
        copies[name] = tensor.clone(memory_format=torch.contiguous_format)
    return copies


def error_summary(error):
    """Return the first sentence of an error: 'RuntimeError: invalid header'.

    torch wraps the reason in advice that would be wrong here.
    """
    message = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return re.split(r"\n|\. ", f"{type(error).__name__}: {message}")[0]

"""The files of an adapter: what fine-tuning has learned, without the base that it belongs to, in a few hundred kilobytes.

    adapter.safetensors   every tensor that learned, the head's included, under the names that the model has for them
    adapter.json          {"tuning": {"tune": "lora", ...}, "labels": ["0", "1"], "dropout": 0.1, "base": "..", "digest": "9f86d081...", ...}

digest is that of the base (``digest``): an adapter says nothing about any other weights, and is refused there. base is where it was, seen
from the folder of the adapter. Nothing that is loaded runs code.
"""
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from minibert.config import from_dict
from minibert.finetuning.adapters import Tuning, attach, merged_copy
from minibert.formats import safetensors
from minibert.formats.huggingface import save_pretrained
from minibert.formats.model_files import CONFIG, WEIGHTS
from minibert.formats.run_folder import load_run
from minibert.heads import BertForSequenceClassification, encoder_of
from tokenizer.utils.files import atomic_write

ADAPTER, ADAPTER_WEIGHTS = "adapter.json", "adapter.safetensors"


def encoder_digest(model):
    """The SHA-256 of an encoder, its config and all its weights in float32: 64 hexadecimal digits. The pooler, a head's part, does not count."""
    encoder = encoder_of(model)
    found = hashlib.sha256(json.dumps(asdict(encoder.config), sort_keys=True).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        if not name.startswith("pooler."):
            found.update(name.encode())
            found.update(tensor.detach().float().cpu().contiguous().numpy())
    return found.hexdigest()


def save_finetuned(model, tuning, folder, tokenizer, base, base_digest):
    """Write a fine-tuned classifier: the adapter where there is one, and, unless prefixes are in the way, a whole checkpoint with it merged.

    base: the folder of the model that it was made from; base_digest: that model's ``digest``.
    """
    folder = Path(folder)
    if tuning.tune != "prefix":
        save_pretrained(merged_copy(model) if tuning.tune == "lora" else model, folder, tokenizer)
    if tuning.tune == "all":
        return
    learned = {name: p.detach().float() for name, p in model.named_parameters() if p.requires_grad}
    safetensors.write(learned, folder / ADAPTER_WEIGHTS, {"format": "pt"})
    values = {"tuning": asdict(tuning), "labels": list(model.labels), "dropout": model.dropout.p, "family": model.config.family,
              "base": Path(os.path.relpath(base, folder)).as_posix(), "digest": base_digest}
    atomic_write(folder / ADAPTER, json.dumps(values, indent=1) + "\n")


def load_finetuned(folder, base=None):
    """(model, tokenizer) of a folder that fine-tuning wrote: of its whole checkpoint, or, where there is none, of its adapter.

    base: a run on which the adapter is to be put, whatever else is in the folder; by default the one that it was trained on.
    Raises FileNotFoundError or ValueError for what is missing or damaged, and for an adapter of another base.

    model, tokenizer = load_finetuned("runs/books/finetuned")
    """
    folder = Path(folder)
    if base is None and ((folder / CONFIG).is_file() and (folder / WEIGHTS).is_file() or not (folder / ADAPTER).is_file()):
        return load_run(folder)
    for name in (ADAPTER, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            near = "" if (folder / ADAPTER).is_file() else ", ".join(str(path.parent) for path in sorted(folder.parent.glob(f"*/{ADAPTER}")))
            raise FileNotFoundError(f"{folder / name}: no such file; an adapter is a folder with {ADAPTER} and {ADAPTER_WEIGHTS}"
                                    + (f". Beside it there are {near}" if near else ""))
    tuning, stored = read_adapter(folder / ADAPTER)
    base = folder / stored["base"] if base is None else base
    if not Path(base).is_dir():
        raise FileNotFoundError(f"{folder} is an adapter, and its base is not at {base}: name the run it belongs to, RUN --adapter {folder}")
    pretrained, tokenizer = load_run(base)
    found = encoder_digest(pretrained)
    if found != stored["digest"]:
        place = (folder / stored["base"]).resolve()
        raise ValueError(f"{folder} is an adapter of another base: it was trained on {stored['digest'][:12]}... ({place}), "
                         f"{base} is {found[:12]}...: name the run it belongs to")
    with torch.random.fork_rng(devices=[]):  # what is drawn here is replaced at once
        model = attach(BertForSequenceClassification(pretrained.config, stored["labels"], stored["dropout"]).load_encoder_from(pretrained), tuning)
    put(model, safetensors.read(folder / ADAPTER_WEIGHTS), folder / ADAPTER_WEIGHTS)
    return model.eval(), tokenizer


def read_adapter(path):
    """adapter.json -> (Tuning, dict). ValueError for one that is damaged."""
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        tuning = from_dict(Tuning, stored["tuning"])
        kinds = {"labels": list, "dropout": (int, float), "base": str, "digest": str}
        wrong = [name for name, kind in kinds.items() if not isinstance(stored[name], kind) or isinstance(stored[name], bool)]
        if not wrong and not 0 <= stored["dropout"] < 1:
            raise ValueError(f"dropout is {stored['dropout']}: it must lie in [0, 1)")
        if wrong or tuning.tune == "all" or not all(isinstance(label, str) for label in stored["labels"]):
            raise ValueError(f"tune is {tuning.tune!r}, of the wrong type: {', '.join(wrong) or 'a label'}")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not the description of an adapter ({error!r})") from None
    return tuning, stored


def put(model, tensors, path):
    """Put the tensors of a file into those of a model that learn. ValueError that lists what is missing, left over or of another shape."""
    places = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wrong = [f"{name} is missing" for name in places if name not in tensors]
    wrong += [f"{name} has no place in the model" for name in tensors if name not in places]
    wrong += [f"{name} has the shape {tuple(tensors[name].shape)}, the model {tuple(p.shape)}"
              for name, p in places.items() if name in tensors and tensors[name].shape != p.shape]
    if wrong:
        more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ValueError(f"{path}: {len(wrong)} tensors do not fit the model and {ADAPTER}: " + "; ".join(wrong[:20]) + more)
    model.load_state_dict(tensors, strict=False)

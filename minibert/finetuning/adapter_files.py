"""The files of an adapter: what fine-tuning has trained, without its base model.

    adapter.safetensors   every trained tensor and the whole head, under their names in the model
    adapter.json          {"model": "BertForSequenceClassification", "labels": ["0", "1"],
                           "tuning": {"tune": "lora", ...}, "dropout": 0.1, "base": "..",
                           "digest": "9f86d081...", ...}

"base" is the path of the base model, relative to the adapter's folder. "digest" identifies its
weights: with any others the adapter would be meaningless, so it is refused. Loading runs no code.
"""
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch

from minibert.config_fields import from_dict
from minibert.finetuning.adapters import Tuning, attach, is_head_parameter, merged_copy
from minibert.formats import safetensors
from minibert.formats.huggingface import save_pretrained
from minibert.formats.model_files import CONFIG, WEIGHTS
from minibert.formats.run_folder import load_run
from minibert.heads import FINETUNED, BertForSequenceClassification, encoder_of
from tokenizer.utils.files import atomic_write
from tokenizer.utils.terminal import plural

ADAPTER, ADAPTER_WEIGHTS = "adapter.json", "adapter.safetensors"
VALUES = ("model", "labels", "dropout", "base", "digest")  # of adapter.json, besides the tuning


def encoder_digest(model):
    """Return the SHA-256 of an encoder's config and float32 weights, as 64 hexadecimal digits.

    The pooler belongs to the head and does not count.
    """
    encoder = encoder_of(model)
    digest = hashlib.sha256(json.dumps(asdict(encoder.config), sort_keys=True).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        if not name.startswith("pooler."):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


def save_finetuned(model, tuning, folder, tokenizer, base, base_digest):
    """Write a fine-tuned model: a full checkpoint, and the adapter if there is one.

    LoRA is merged into the checkpoint; prefixes cannot be, so they are saved only as an adapter.
    base: the folder of the base model; base_digest: its ``encoder_digest``.
    """
    if tuning.tune != "prefix":
        save_pretrained(merged_copy(model) if tuning.tune == "lora" else model, folder, tokenizer)
    if tuning.tune == "all":
        return
    tensors = {name: p.detach().float() for name, p in adapter_parameters(model).items()}
    safetensors.write(tensors, folder / ADAPTER_WEIGHTS, {"format": "pt"})
    values = {"model": type(model).__name__, "tuning": asdict(tuning),
              "labels": list(model.labels), "dropout": model.dropout.p,
              "family": model.config.family, "base": Path(os.path.relpath(base, folder)).as_posix(),
              "digest": base_digest}
    atomic_write(folder / ADAPTER, json.dumps(values, indent=1) + "\n")


def load_finetuned(folder, base=None):
    """Load (model, tokenizer) from a folder that fine-tuning wrote.

    The full checkpoint is loaded if there is one, else the adapter on its base. With ``base``, the
    folder of a base model, it is always the adapter, on that base.

    Raise FileNotFoundError or ValueError for missing or damaged files and for the wrong base.

    model, tokenizer = load_finetuned("runs/books/finetuned")
    """
    folder = Path(folder)
    has_checkpoint = (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()
    if base is None and (has_checkpoint or not (folder / ADAPTER).is_file()):
        return load_run(folder)
    if not (folder / ADAPTER).is_file():
        raise FileNotFoundError(f"{folder / ADAPTER}: no such file; --tune writes adapters")
    tuning, stored = read_adapter(folder / ADAPTER)
    base = folder / stored["base"] if base is None else Path(base)
    if not base.is_dir():
        raise FileNotFoundError(f"{folder} is an adapter, and its base model is not at {base}: "
                                f"name the right run, RUN --adapter {folder}")
    pretrained, tokenizer = load_run(base)
    if encoder_digest(pretrained) != stored["digest"]:
        trained_on = (folder / stored["base"]).resolve()
        raise ValueError(f"{folder} is an adapter of another base model than {base}: it was "
                         f"trained on {trained_on}, digest {stored['digest'][:12]}")
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced at once
        labels, dropout = stored["labels"], stored["dropout"]
        model = FINETUNED[stored["model"]](pretrained.config, labels, dropout)
        attach(model.load_encoder_from(pretrained), tuning)
    load_adapter_weights(model, folder / ADAPTER_WEIGHTS)
    return model.eval(), tokenizer


def read_adapter(path):
    """Return the Tuning and the other values of an adapter.json. ValueError if it is damaged."""
    try:
        stored = {"model": BertForSequenceClassification.__name__,  # not in older ones
                  **json.loads(Path(path).read_text(encoding="utf-8"))}
        tuning = from_dict(Tuning, stored["tuning"])
        return tuning, {name: stored[name] for name in VALUES}
    except KeyError as error:
        raise ValueError(f"{path} is not an adapter: it has no {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an adapter: {error}") from None


def adapter_parameters(model):
    """Return the {name: parameter} that an adapter's file holds.

    The part of the head that LoRA freezes is among them: ``encoder_digest`` does not cover it.
    """
    return {name: p for name, p in model.named_parameters()
            if p.requires_grad or is_head_parameter(name)}


def load_adapter_weights(model, path):
    """Load an adapter.safetensors. ValueError if names or shapes are not those of the model."""
    tensors = safetensors.read(path)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    expected = {name: p.shape for name, p in adapter_parameters(model).items()}
    wrong = [name for name in expected | found if found.get(name) != expected.get(name)]
    if wrong:
        raise ValueError(f"{path}: {plural(len(wrong), 'tensor is', 'tensors are')} missing, "
                         f"unexpected or of the wrong shape: {', '.join(wrong[:20])}. "
                         "If an earlier version of minibert wrote the file, fine-tune again")
    model.load_state_dict(tensors, strict=False)

"""A run folder: config.json, metrics.jsonl, and the model and tokenizer inside."""
import json
from dataclasses import asdict
from pathlib import Path

from minibert.checks import check_tokenizer
from minibert.config import BertConfig, TrainConfig, from_dict
from minibert.formats.huggingface import from_pretrained
from minibert.formats.huggingface_config import check_types
from minibert.formats.model_files import locate
from tokenizer import load_tokenizer
from tokenizer.utils.files import atomic_write


def load_run(folder):
    """(model, tokenizer) of a run directory, of one of its checkpoints, or of a folder that holds both, as published ones do: see ``locate``.

    Raises FileNotFoundError or ValueError that say what was looked for.

    model, tokenizer = load_run("runs/quickstart")
    """
    place, tokenizer_place = locate(folder)
    model, tokenizer = from_pretrained(place), load_tokenizer(tokenizer_place)
    check_tokenizer(model.config, tokenizer)
    return model, tokenizer


def read_metrics_lines(path):
    """The lines of a metrics.jsonl as dicts; one that a crash cut off, or that is no JSON object, is left out."""
    lines = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # brackets nested too deeply are no line of ours either
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def write_config(run, preset, model, train):
    """RUN/config.json: what --resume reads."""
    atomic_write(Path(run) / "config.json", json.dumps({"preset": preset, "model": asdict(model), "train": asdict(train)}, indent=1) + "\n")


def read_config(run):
    """(preset, BertConfig, TrainConfig) of a run directory. Raises ValueError where it is not one."""
    path = Path(run) / "config.json"
    if not path.is_file():
        raise ValueError(f"{run} is no run directory: it has no config.json (a run is made by train.py --out {run})")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("preset", str), ("model", dict), ("train", dict)):
            if not isinstance(stored[name], kind):
                raise ValueError(f"{name} is a {type(stored[name]).__name__}, it must be of type {kind.__name__}")
        for cls, name in ((BertConfig, "model"), (TrainConfig, "train")):
            check_types(cls, stored[name], name)
        return stored["preset"], from_dict(BertConfig, stored["model"]), from_dict(TrainConfig, stored["train"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not the configuration of a run ({error})") from error

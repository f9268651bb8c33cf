"""The files of a run folder: config.json, metrics.jsonl, the model and its tokenizer."""
import json
import sys
from dataclasses import asdict
from pathlib import Path

from minibert.checks import check_tokenizer, rows_without_token
from minibert.config import BertConfig, TrainConfig
from minibert.config_fields import from_dict
from minibert.formats.huggingface import from_pretrained
from minibert.formats.huggingface_config import check_types
from minibert.formats.model_files import locate
from tokenizer import load_tokenizer
from tokenizer.utils.cli import suggestion
from tokenizer.utils.files import atomic_write

REMOVED = {  # option of older versions -> values with which a run resumes without it
    "tokenizer_criterion": ("frequency",),
    "skip_unreadable": (False, True),
}
CONFIG_KEYS = ("preset", "model", "train", "crc32")  # of config.json; the last in older runs
MAX_PADDING = 127  # rows that padding a vocabulary to a multiple of 128 adds at most


def load_run(folder):
    """Load the model and the tokenizer of a run folder, a checkpoint or a published folder.

    ``model_files.locate`` describes the folders that are understood.
    Raises FileNotFoundError or ValueError if the folder has no model or no tokenizer.

        model, tokenizer = load_run("runs/quickstart")
    """
    model_dir, tokenizer_dir = locate(folder)
    model = from_pretrained(model_dir)
    tokenizer = load_tokenizer(tokenizer_dir)
    check_tokenizer(model.config, tokenizer)
    if model.config.vocab_size - tokenizer.vocab_size > MAX_PADDING:
        print(f"{folder}: {rows_without_token(model.config, tokenizer)}", file=sys.stderr)
    return model, tokenizer


def read_metrics_lines(path):
    """Return the lines of a metrics.jsonl as dicts.

    A line that is not a JSON object is skipped: a crash may have cut the last one off.
    """
    lines = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # RecursionError: brackets nested too deeply
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def write_config(run, preset, model, train):
    """Write RUN/config.json, which ``--resume`` reads."""
    config = {"preset": preset, "model": asdict(model), "train": asdict(train)}
    atomic_write(Path(run) / "config.json", json.dumps(config, indent=1) + "\n")


def read_config(run):
    """Return (preset, BertConfig, TrainConfig) of a run folder, or raise ValueError."""
    path = Path(run) / "config.json"
    if not path.is_file():
        raise ValueError(f"{run} is not a run directory: it has no config.json")
    return read_config_file(path)


def read_config_file(path):
    """Return (preset, BertConfig, TrainConfig) of a run's config.json or of what --show printed.

    Raises OSError, or ValueError if the file contains something else.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is no JSON object")
        for name, expected in (("preset", str), ("model", dict), ("train", dict)):
            if not isinstance(config.get(name), expected):
                raise ValueError(f"its {name!r} is missing or no {expected.__name__}")
        for name in config.keys() - {*CONFIG_KEYS}:
            raise ValueError(f"unknown key {name!r}" + suggestion(name, CONFIG_KEYS))
        config["train"].setdefault("reflow", "no")  # runs of older versions kept all lines
        for name, values in REMOVED.items():
            if config["train"].get(name) in values:
                del config["train"][name]
        check_types(BertConfig, config["model"], "model")
        check_types(TrainConfig, config["train"], "train")
        model = from_dict(BertConfig, config["model"])
        train = from_dict(TrainConfig, config["train"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not the configuration of a run ({error}); python train.py "
                         "--show prints one") from error
    return config["preset"], model, train

"""Shared by finetuning.py and transfer.py: labeled tasks, their flags, results, and one training.

A task is a folder with train.tsv and dev.tsv. The only dev part of subjectivity (Pang and Lee 2004)
is a random fifth of its two files, always the same one.
"""
import functools
import hashlib
import json
import math
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from common import add_result_flags, read_json

from data.lines import decoded_lines
from minibert.finetuning import config as finetuning_config
from minibert.finetuning.adapter_files import encoder_digest
from minibert.finetuning.command import parser
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import LabeledTexts, Layout, split_dev
from minibert.finetuning.loop import fit
from minibert.finetuning.metrics import mean_and_std
from minibert.finetuning.seeds import new_model
from tokenizer.utils.cli import explicit_flags
from tokenizer.utils.progress import progress_bar


@dataclass(frozen=True)
class LabeledTask:
    """A task: its name in tables, its metric, and how its files are read."""
    title: str
    metric: str
    kind: str = "classification"  # --task of minibert finetune
    layout: Layout = Layout()
    has_phrases: bool = False  # rows are parts of common sentences: see by_sentence.py


TASKS = {
    "sst2": LabeledTask("SST-2", "accuracy", has_phrases=True),
    "cola": LabeledTask("CoLA", "matthews", layout=Layout(columns="source,label,mark,sentence")),
    "subjectivity": LabeledTask("subjectivity", "accuracy"),
    "pos": LabeledTask("parts of speech", "accuracy", "tokens"),
    "ner": LabeledTask("named entities", "f1", "tokens"),
}
SUBJECTIVITY = {"objective": "plot.tok.gt9.5000", "subjective": "quote.tok.gt9.5000"}
SCRATCH = "from scratch"
EPOCHS = "100:40,1000:20,10000:6,all:3"
WARMUP = 0.3  # with less, some seeds of small models never leave the constant answer


# Flags of minibert finetune that the benchmarks set themselves
SET_HERE = {"train", "dev", "predict", "out", "adapter", "json", "text", "pair", "label", "columns",
            "task", "metric", "epochs", "patience", "eval_every", "examples", "seeds",
            "from_scratch", "tune"}


# The command line


def add_task_flags(out, tasks, name):
    """Add RUN and the flags of tasks and results. out: a Parser; name: that of the benchmark."""
    folder = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora")).parent / "tasks"
    out.add_argument("run", metavar="RUN", nargs="?", help="a pre-trained model from train.py")
    out.add_argument("--tasks", type=Path, default=folder, metavar="FOLDER",
                     help=f"folder with {', '.join(f'{task}/' for task in tasks)}")
    out.add_argument("--on", nargs="+", default=list(tasks), choices=tasks, metavar="TASK",
                     help=f"only these tasks: {', '.join(tasks)}")
    out.add_argument("--seeds", type=int, default=3, help="seeds of each row")
    out.add_argument("--epochs", default=EPOCHS,
                     help="examples:epochs, each up to that many examples")
    out.add_argument("--extra", default="", help="more flags of minibert finetune, such as "
                     "'--batch-size 16 --device cpu'")
    add_result_flags(out, shown=f"RUN/{name}.json")


def check_task_flags(args, sizes, set_here, name):
    """Read --epochs, --extra and --out. ValueError for values that cannot work.

    sizes: numbers of examples, or "all"; set_here: fields that --extra must not set; name: that of
    the benchmark.
    """
    if not (args.run or args.table):
        raise ValueError("name a RUN, or a results file with --table")
    args.out = args.out or Path(args.run or ".", f"{name}.json")
    for size in sizes:
        if size != "all" and not (size.isdecimal() and int(size)):
            raise ValueError(f"{size!r} is not a number of examples: give a positive number or all")
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds}: at least 1")
    epochs = parse_pairs("--epochs", args.epochs, ("all",), int)
    args.epochs = {math.inf if name == "all" else int(name): count
                   for name, count in epochs.items()}
    for word in args.extra.split():
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag[2:].replace("-", "_") in set_here:
            raise ValueError(f"--extra {flag}: the benchmark sets this itself")
    args.extra = parser().parse_args([str(args.run), *args.extra.split()])


def parse_pairs(flag, text, names, number_type):
    """Return "a:1,b:2" as {"a": 1, "b": 2}. ValueError, naming the flag, for anything else.

    A name must be one of ``names``, or a number if ``number_type`` is int.
    """
    pairs = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().partition(":")
        try:
            pairs[name] = number_type(number)
        except ValueError:
            pairs[name] = 0
        is_known = name in names or (number_type is int and name.isdecimal())
        if pairs[name] <= 0 or not is_known:
            raise ValueError(f"{flag} {part.strip()!r}: write NAME:NUMBER, separated by commas")
    return pairs


def finetune_config(args, task, num_examples, **values):
    """Return the FinetuneConfig of a row, with its device resolved. The last epoch is scored."""
    limits = [limit for limit in args.epochs if limit >= num_examples]
    if not limits:
        raise ValueError(f"--epochs has no entry for {num_examples:,} examples: add all:3")
    epochs = args.epochs[min(limits)]
    values |= {"task": TASKS[task].kind, "metric": TASKS[task].metric, "epochs": epochs,
               "patience": epochs, "eval_every": epochs}
    flags = explicit_flags(args.extra, FinetuneConfig)
    return FinetuneConfig(**({"warmup": WARMUP} | values | flags)).resolve_device()


# The files


@functools.cache
def read_part(folder, task, part):
    """Return the examples of a task. part: "train" or "dev", and no other file is read."""
    if task == "subjectivity":
        train, dev = split_dev(read_subjectivity(folder / task), share=0.2)
        return train if part == "train" else dev
    read = finetuning_config.TASKS[TASKS[task].kind].read
    return read(folder / task / f"{part}.tsv", TASKS[task].layout)


def read_subjectivity(folder):
    """Return all lines of the two files, labeled by their file."""
    texts, labels, lines = [], [], []
    for label, name in SUBJECTIVITY.items():
        for line, text in decoded_lines(folder / name):
            if text.strip():
                texts.append(text.strip())
                labels.append(label)
                lines.append(line)
    return LabeledTexts(str(folder), texts, labels, lines)


@functools.cache
def digest_of(folder, task, *parts):
    """Return the ``digest`` of the texts and labels of parts of a task."""
    examples = [read_part(folder, task, part) for part in parts]
    return digest([[part.texts, part.labels] for part in examples])


def digest(contents):
    """Return the SHA-256 of lists of strings."""
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def num_examples_of(train, size):
    """Return the number of training examples that a size, "100" or "all", means."""
    return len(train) if size == "all" else min(int(size), len(train))


# The results


def read_results(path):
    """Return the contents of a results file. ValueError for any other file."""
    try:
        result = read_json(path)
        result["digest"], result["run"], result["rows"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} holds no results of this benchmark") from None
    return result


def load_results(args, model):
    """Return the results in --out, or empty ones. ValueError for those of another model."""
    digest = encoder_digest(model)
    if not args.out.is_file():
        return {"date": str(date.today()), "python": platform.python_version(),
                "torch": torch.__version__, "run": Path(args.run).name,
                "model": asdict(model.config), "digest": digest, "rows": {}}
    result = read_results(args.out)
    if result["digest"] != digest:
        raise ValueError(f"{args.out} holds the results of another model, {result['run']}: "
                         "choose another --out")
    return result


def check_unchanged(path, name, stored, settings):
    """Raise ValueError if a stored result was made with other settings or files.

    settings: {"config": {field: value}, "files": digest, ...}
    """
    changed = []
    for part, expected in settings.items():
        if not isinstance(expected, dict):
            changed += [f"other {part}"] if stored.get(part) != expected else []
            continue
        changed += [f"{field} {stored[part].get(field)}, now {value}"
                    for field, value in expected.items() if stored[part].get(field) != value]
    if changed:
        raise ValueError(f"{path} holds {name!r} with other settings ({'; '.join(changed)}): "
                         "choose another --out")


def train_seed(model, labels, config, tuning, seed, data, stop, name, use_pretrained):
    """Train one seed. Return (its last scores, the trained model); scores are None after Ctrl-C.

    data: (train, dev), EncodedRows; name: of the row, for the progress bar
    """
    train, dev = data
    trained = new_model(model, labels, config, tuning, seed, use_pretrained)
    steps = config.epochs * math.ceil(len(train) / config.batch_size)
    with progress_bar(steps, f"{name}, seed {seed}", "steps") as bar:
        history = fit(trained, train, dev, config, seed, bar, stop)
    return None if stop.requested else history[-1], trained


def scores_of(row):
    return [seed["score"] for seed in row["seeds"].values()]


def score_cell(row):
    """Return mean and standard deviation of the seeds in percent: "81.2 ± 0.4"; one: "81.2"."""
    scores = scores_of(row)
    mean, std = mean_and_std(scores)
    return f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if len(scores) > 1 else "")

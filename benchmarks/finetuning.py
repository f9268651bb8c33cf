"""What pre-training gains by number of labeled examples, and what each --tune costs and saves.

    python benchmarks/finetuning.py runs/books --tasks FOLDER
    python benchmarks/finetuning.py --table benchmarks/results/finetuning.json

FOLDER holds sst2/ and cola/, each with train.tsv and dev.tsv. There are two tables:

- the learning curve: SST-2 with 100, 1,000, 10,000 and all examples, for the pre-trained model and
  the same model with random weights
- the modes of --tune: all weights (also from random ones), LoRA, prefixes, biases and only the
  head, on SST-2 (10,000 examples) and CoLA. Rows of all weights at 10,000 are in both tables.

A score is that of the last epoch on the complete dev file; no epoch is selected by it. The number
of epochs depends only on the number of examples (--epochs). Each mode has its own peak learning
rate and dropout (RATES, DROPOUT), chosen in small trials (docs/log.md). The learning rate rises for
three tenths of the steps, because with fewer some seeds of small models never leave the constant
answer.

Each seed is written when it is finished; the same command continues after an interruption, and more
--seeds, --sizes or --modes add to the file. Seeds trained with other files or settings are refused,
because they would be compared in one table. Seconds are CPU time over all threads, so that other
work on the machine does not count; they include evaluation, but not reading the files.
"""
import functools
import hashlib
import json
import math
import os
import platform
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import torch
from common import add_result_flags, markdown, read_json, write_json

from minibert.finetuning.adapter_files import encoder_digest
from minibert.finetuning.adapters import Tuning, count_parameters
from minibert.finetuning.command import parser
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import Layout, class_labels, read_examples
from minibert.finetuning.loop import fit
from minibert.finetuning.metrics import mean_and_std
from minibert.finetuning.seeds import baseline_scores, encode_files, new_model
from minibert.formats.run_folder import load_run
from minibert.stop_request import StopRequest
from tokenizer.utils.cli import Parser, explicit_flags, run
from tokenizer.utils.files import check_writable
from tokenizer.utils.progress import progress_bar

TASKS = {"sst2": (Layout(), "accuracy"),
         "cola": (Layout(columns="source,label,mark,sentence"), "matthews")}
TITLES = {"sst2": "SST-2", "cola": "CoLA"}
SCRATCH = "from scratch"
MODES = {SCRATCH: "all weights, from scratch", "all": "all weights", "lora": "LoRA",
         "prefix": "prefixes", "bias": "biases", "head": "the head alone"}
SIZES = ("100", "1000", "10000", "all")
MODE_SIZES = {"sst2": "10000", "cola": "all"}
EPOCHS = "100:40,1000:20,10000:6,all:3"
# Peak learning rates for small models.
RATES = {"all": 2e-3, SCRATCH: 5e-4, "lora": 5e-3, "prefix": 5e-3, "bias": 1e-2, "head": 5e-3}
DROPOUT = {"all": 0.3}  # of the encoder; 0.1 for the other modes
WARMUP = 0.3
SET_HERE = {"train", "dev", "predict", "out", "adapter", "json", "examples", "seeds",
            "from_scratch", "tune", "text", "pair", "label", "columns"}


def main(args=None):
    """Train the missing rows. Return the exit status: 130 after Ctrl-C."""
    args = parse(args)
    if args.table:
        return print(table(read_results(args.table)), end="")
    check_writable(args.out.parent)
    model, tokenizer = load_run(args.run)
    result = load_results(args, model)
    for task, size, mode in wanted(args):
        prepare_row(args, task, size, mode, result)  # raises before the first training
    with StopRequest() as stop:
        for task, size, mode in wanted(args):
            if not train_row(args, model, tokenizer, task, size, mode, result, stop):
                return 130
    print(table(result), end="")


def parse(args):
    tasks = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora")).parent / "tasks"
    out = Parser(
        description="A learning curve by labeled examples, and a table of the modes of --tune.")
    out.add_argument("run", metavar="RUN", nargs="?", help="a pre-trained model from train.py")
    out.add_argument("--tasks", type=Path, default=tasks,
                     help="folder with sst2/ and cola/")
    out.add_argument("--sizes", nargs="*", default=SIZES, metavar="N",
                     help="numbers of examples of the learning curve, or all; none: no curve")
    out.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES, metavar="NAME",
                     help=", ".join(MODES) + "; none: no table of modes")
    out.add_argument("--on", nargs="+", default=list(MODE_SIZES), choices=MODE_SIZES,
                     metavar="TASK", help="tasks in the table of modes: sst2, cola")
    out.add_argument("--mode-size", default=MODE_SIZES["sst2"], metavar="N",
                     help="examples of SST-2 in the table of modes, or all")
    out.add_argument("--seeds", type=int, default=3, help="seeds of each row")
    out.add_argument("--epochs", default=EPOCHS,
                     help="examples:epochs, each up to that many examples")
    out.add_argument("--rates", default="",
                     help="other peak learning rates, such as lora:1e-3,all:2e-4")
    out.add_argument("--extra", default="",
                     help="more flags of minibert finetune, such as '--lora-rank 4 --device cpu'")
    add_result_flags(out, out=Path("benchmarks/results/finetuning.json"))
    args = out.parse_args(args)
    if not (args.run or args.table):
        out.error("name a RUN, or a results file with --table")
    for size in (*args.sizes, args.mode_size):
        if size != "all" and not (size.isdecimal() and int(size)):
            out.error(f"{size!r} is not a number of examples: give a positive number or all")
    if args.seeds < 1:
        out.error(f"--seeds {args.seeds}: at least 1")
    args.rates = parse_pairs("--rates", args.rates, MODES, float)
    epochs = parse_pairs("--epochs", args.epochs, ("all",), int)
    args.epochs = {math.inf if name == "all" else int(name): count
                   for name, count in epochs.items()}
    return args


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


def wanted(args):
    """Return (task, size, mode) of each row, those of the curve first, without duplicates."""
    sizes = MODE_SIZES | {"sst2": args.mode_size}
    curve = [("sst2", size, mode) for size in args.sizes for mode in ("all", SCRATCH)]
    modes = [(task, sizes[task], mode) for task in args.on for mode in args.modes]
    return list(dict.fromkeys(curve + modes))


@functools.cache
def files(folder, task):
    """Return the training and dev examples of a task."""
    layout, _ = TASKS[task]
    return (read_examples(folder / task / "train.tsv", layout),
            read_examples(folder / task / "dev.tsv", layout))


@functools.cache
def digest_of_files(folder, task):
    """Return the SHA-256 of the texts and labels of a task."""
    contents = [[part.texts, part.labels] for part in files(folder, task)]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def settings(args, task, size, mode):
    """Return the FinetuneConfig, with its device resolved, and the Tuning of a row."""
    for word in args.extra.split():
        if word.startswith("--") and word[2:].replace("-", "_") in SET_HERE:
            raise ValueError(f"--extra {word}: the benchmark sets this itself")
    extra = parser().parse_args([args.run, *args.extra.split()])
    train, _ = files(args.tasks, task)
    examples = 0 if size == "all" else int(size)
    num_examples = min(examples or len(train), len(train))
    limits = [limit for limit in args.epochs if limit >= num_examples]
    if not limits:
        raise ValueError(f"--epochs has no entry for {num_examples:,} examples: add all:3")
    epochs = args.epochs[min(limits)]
    values = {"metric": TASKS[task][1], "epochs": epochs, "patience": epochs,
              "eval_every": epochs, "examples": examples,
              "learning_rate": (RATES | args.rates)[mode],
              "hidden_dropout_prob": DROPOUT.get(mode, 0.1), "warmup": WARMUP}
    config = FinetuneConfig(**(values | explicit_flags(extra, FinetuneConfig)))
    tune = "all" if mode == SCRATCH else mode
    return config.resolve_device(), Tuning(**(explicit_flags(extra, Tuning) | {"tune": tune}))


def prepare_row(args, task, size, mode, result):
    """Return (row, config, tuning). ValueError if its seeds were trained with other settings."""
    config, tuning = settings(args, task, size, mode)
    expected = {"config": asdict(replace(config, seeds=1)), "tuning": asdict(tuning),
                "files": digest_of_files(args.tasks, task)}
    name = f"{task}, {size}, {mode}"
    row = result["rows"].get(name)
    if row is None:
        row = {"task": task, "size": size, "mode": mode, **expected, "seeds": {}}
    changed = differences(row, expected)
    if changed:
        raise ValueError(f"{args.out} holds {len(row['seeds'])} seed(s) of {name!r} with other "
                         f"settings ({'; '.join(changed)}): choose another --out")
    return row, config, tuning


def differences(row, expected):
    """Return how a stored row differs: ["learning_rate 0.0005, now 0.001", "other files"]."""
    changed = []
    for part in ("config", "tuning"):
        for name, value in expected[part].items():
            if row[part].get(name) != value:
                changed.append(f"{name} {row[part].get(name)}, now {value}")
    if row.get("files") != expected["files"]:
        changed.append("other files")
    return changed


def train_row(args, model, tokenizer, task, size, mode, result, stop):
    """Train the missing seeds of a row and write each. Return False after Ctrl-C."""
    row, config, tuning = prepare_row(args, task, size, mode, result)
    name = f"{task}, {size}, {mode}"
    missing = [seed for seed in range(args.seeds) if str(seed) not in row["seeds"]]
    if not missing:
        return True
    train, dev = files(args.tasks, task)
    labels = tuple(class_labels(train))
    train, dev = encode_files(model.config, tokenizer, train, dev, labels, config,
                              say=lambda line: None)
    row |= {"examples": len(train), "dev": len(dev), "metric": config.metric_name,
            "constant": baseline_scores(train.examples, dev.examples, labels, config)[
                config.metric_name]}
    steps = config.epochs * math.ceil(len(train) / config.batch_size)
    for seed in missing:
        classifier = new_model(model, labels, config, tuning, seed, use_pretrained=mode != SCRATCH)
        row["learning"] = count_parameters(classifier)
        cpu_start = time.process_time()
        start = time.perf_counter()
        with progress_bar(steps, f"{name}, seed {seed}", "steps") as bar:
            history = fit(classifier, train, dev, config, seed, bar, stop)
        if stop.requested:
            return False
        score = history[-1][config.metric_name]
        row["seeds"][str(seed)] = {
            "score": score, "processor_seconds": round(time.process_time() - cpu_start, 2),
            "seconds": round(time.perf_counter() - start, 2), "last": history[-1]}
        result["rows"][name] = row
        write_json(args.out, result)  # an interruption loses one seed at most
        print(f"{name}, seed {seed}: {config.metric_name} {score:.4f}", flush=True)
    return True


# The tables


def table(result):
    """Return both tables as Markdown."""
    rows = list(result["rows"].values())
    curve = {}  # number of examples -> {mode: row}
    for row in rows:
        if row["task"] == "sst2" and row["mode"] in ("all", SCRATCH):
            curve.setdefault(row["examples"], {})[row["mode"]] = row
    tables = []
    curve_rows = [curve_cells(examples, pair) for examples, pair in sorted(curve.items())
                  if SCRATCH in pair]
    if curve_rows:
        heading = ["SST-2 examples", "epochs", "pre-trained", "from scratch", "gain"]
        tables.append(markdown(heading, curve_rows))
    # Rows of all weights belong to the table of modes if their size is that of the other modes.
    sizes = {row["task"]: row["size"] for row in rows if row["mode"] not in ("all", SCRATCH)}
    if sizes:
        tables.append(mode_table([row for row in rows if row["size"] == sizes.get(row["task"])]))
    return "\n".join(tables)


def curve_cells(examples, pair):
    """Return a row of the learning curve. pair: {"all": row, "from scratch": row}."""
    epochs = pair[SCRATCH]["config"]["epochs"]
    gain = ""
    if "all" in pair:
        gain = f"{100 * (mean_score(pair['all']) - mean_score(pair[SCRATCH])):+.1f}"
    return [f"{examples:,}", str(epochs), score_cell(pair.get("all")), score_cell(pair[SCRATCH]),
            gain]


def mode_table(rows):
    """Return the table of modes, with two columns per task."""
    tasks = {row["task"]: row for row in rows}  # any row of each task
    heading = ["what learns", "parameters", "in the head", "share"]
    constant = ["nothing: always the same answer", "0", "0", "0 %"]
    for task, row in tasks.items():
        heading += [f"{TITLES[task]}, {row['examples']:,} examples, {row['metric']}",
                    "processor seconds"]
        constant += [f"{100 * row['constant']:.1f}", "0"]
    lines = []
    for mode, title in MODES.items():
        of_mode = {row["task"]: row for row in rows if row["mode"] == mode}
        if not of_mode:
            continue
        counts = next(iter(of_mode.values()))["learning"]
        cells = [title, f"{counts['trained']:,}", f"{counts['head']:,}",
                 f"{100 * counts['share']:.2f} %"]
        for task in tasks:
            cells += [score_cell(of_mode.get(task)), seconds_cell(of_mode.get(task))]
        lines.append(cells)
    return markdown(heading, [*lines, constant])


def scores(row):
    return [seed["score"] for seed in row["seeds"].values()]


def mean_score(row):
    mean, _ = mean_and_std(scores(row))
    return mean


def score_cell(row):
    """Return mean and standard deviation of the seeds in percent: "81.2 ± 0.4"."""
    if not row:
        return ""
    mean, std = mean_and_std(scores(row))
    cell = f"{100 * mean:.1f} ± {100 * std:.1f}"
    num_failed = sum(score <= row["constant"] for score in scores(row))
    if num_failed:
        cell += f", {num_failed} of {len(row['seeds'])} seeds learned nothing"
    return cell


def seconds_cell(row):
    if not row:
        return ""
    mean, _ = mean_and_std([seed["processor_seconds"] for seed in row["seeds"].values()])
    return f"{mean:,.0f}"


if __name__ == "__main__":
    run(main)

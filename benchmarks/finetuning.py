"""What pre-training buys by number of labeled examples, and what fine-tuning a little of a model costs in score and saves in weights.

    python benchmarks/finetuning.py runs/books --tasks FOLDER --out benchmarks/results/finetuning.json
    python benchmarks/finetuning.py --table benchmarks/results/finetuning.json

FOLDER holds sst2/ and cola/, each with train.tsv and dev.tsv. Two tables:

- the learning curve: SST-2 from 100, 1,000, 10,000 and all examples, the pre-trained model beside the same one with fresh weights
- the modes of --tune: all weights (fresh ones, too), LoRA, prefixes, biases, the head alone, on SST-2 (10,000 examples) and CoLA; the rows
  of all weights at 10,000 stand in both tables

A score is that of the last epoch on the whole dev file: no epoch is chosen by it. The number of epochs depends on the number of examples
alone (--epochs). Each mode has its own peak rate and dropout (RATES, DROPOUT), chosen by small trials (docs/log.md). The rate rises for three
tenths of the steps, since with fewer some seeds of small models never leave the constant answer (docs/log.md). Every seed is written as it is
done; the same command goes on where it was, and more --seeds, --sizes or --modes add to what is there; seeds of other files or settings are
refused, in one table they would be compared. Seconds are of the processor, over all its threads, so that other work on the machine does not
count; evaluation is in them, reading is not.
"""
import argparse
import functools
import hashlib
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, installed or not
from minibert.finetuning.adapter_files import encoder_digest  # noqa: E402
from minibert.finetuning.adapters import Tuning, count_parameters  # noqa: E402
from minibert.finetuning.command import parser  # noqa: E402
from minibert.finetuning.config import FinetuneConfig  # noqa: E402
from minibert.finetuning.labeled_files import Layout, class_labels, read_examples  # noqa: E402
from minibert.finetuning.loop import fit  # noqa: E402
from minibert.finetuning.metrics import mean_and_std  # noqa: E402
from minibert.finetuning.seeds import encode_files, majority_baseline, new_classifier  # noqa: E402
from minibert.formats.run_folder import load_run  # noqa: E402
from tokenizer.utils.cli import (
    explicit_flags,  # noqa: E402
    run,  # noqa: E402
)
from tokenizer.utils.files import atomic_write, check_writable  # noqa: E402
from tokenizer.utils.progress import (
    StopRequest,  # noqa: E402
    progress_bar,  # noqa: E402
)

TASKS = {"sst2": (Layout(), "accuracy"), "cola": (Layout(columns="source,label,mark,sentence"), "matthews")}
TITLES = {"sst2": "SST-2", "cola": "CoLA"}
SCRATCH = "from scratch"
MODES = {SCRATCH: "all weights, from scratch", "all": "all weights", "lora": "LoRA", "prefix": "prefixes", "bias": "biases", "head": "the head alone"}
SIZES = ("100", "1000", "10000", "all")
MODE_SIZES = {"sst2": "10000", "cola": "all"}
EPOCHS = "100:40,1000:20,10000:6,all:3"
RATES = {"all": 2e-3, SCRATCH: 5e-4, "lora": 5e-3, "prefix": 5e-3, "bias": 1e-2, "head": 5e-3}  # of small models
DROPOUT = {"all": 0.3}  # of the encoder; the others: 0.1
WARMUP = 0.3
SET_HERE = {"train", "dev", "predict", "out", "adapter", "json", "examples", "seeds", "from_scratch", "tune", "text", "pair", "label", "columns"}


def main(args=None):
    """Train what is not there yet, row by row -> exit code; 130 where Ctrl-C ended it."""
    args = parse(args)
    if args.table:
        return print(table(stored_results(args.table)), end="")
    check_writable(args.out.parent)
    model, tokenizer = load_run(args.run)
    result = begun(args, model)
    for task, size, mode in wanted(args):
        started(args, task, size, mode, result)  # what cannot be is said before the first training
    with StopRequest() as stop:
        for task, size, mode in wanted(args):
            if not row(args, model, tokenizer, task, size, mode, result, stop):
                return 130
    print(table(result), end="")


def parse(args):
    tasks = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora")).parent / "tasks"
    out = argparse.ArgumentParser(description="A learning curve by labeled examples, and the ways to train a little of a model, compared.")
    out.add_argument("run", metavar="RUN", nargs="?", help="a pre-trained model, as train.py writes it")
    out.add_argument("--tasks", type=Path, default=tasks, help="folder with sst2/ and cola/ (default: tasks/ beside $MINIBERT_CORPORA)")
    out.add_argument("--sizes", nargs="*", default=SIZES, metavar="N", help="of the learning curve: numbers of examples, or all; none: no curve")
    out.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES, metavar="NAME", help=", ".join(MODES) + "; none: no table of modes")
    out.add_argument("--on", nargs="+", default=list(MODE_SIZES), choices=MODE_SIZES, metavar="TASK", help="tasks of the table of modes: sst2, cola")
    out.add_argument("--mode-size", default=MODE_SIZES["sst2"], metavar="N", help="examples of SST-2 in the table of modes (default 10000), or all")
    out.add_argument("--seeds", type=int, default=3, help="of each row (default 3)")
    out.add_argument("--epochs", default=EPOCHS, help=f"up to so many examples: so many epochs (default {EPOCHS})")
    out.add_argument("--rates", default="", help="peak rates that differ, such as lora:1e-3,all:2e-4")
    out.add_argument("--extra", default="", help="more flags of minibert.finetuning.command, such as '--lora-rank 4 --device cpu'")
    out.add_argument("--out", type=Path, default=Path("benchmarks/results/finetuning.json"), help="results file (default %(default)s)")
    out.add_argument("--table", type=Path, metavar="FILE", help="print the tables of such a file, and nothing else")
    args = out.parse_args(args)
    if not (args.run or args.table):
        out.error("name a RUN, or a results file with --table")
    for size in (*args.sizes, args.mode_size):
        if size != "all" and not (size.isdecimal() and int(size)):
            out.error(f"{size!r} is no number of examples: give numbers above 0, or all")
    if args.seeds < 1:
        out.error(f"--seeds {args.seeds}: at least 1")
    args.rates = numbers_by_name("--rates", args.rates, MODES, float)
    args.epochs = {math.inf if most == "all" else int(most): count for most, count in numbers_by_name("--epochs", args.epochs, ("all",), int).items()}
    return args


def numbers_by_name(flag, text, names, kind):
    """"a:1,b:2" -> {"a": 1, "b": 2}. ValueError, naming the flag, for anything else; a name is one of ``names``, or a number where kind is int."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.strip().partition(":")
        try:
            found[name] = kind(number)
        except ValueError:
            found[name] = 0
        if found[name] <= 0 or not (name in names or kind is int and name.isdecimal()):
            raise ValueError(f"{flag} {part.strip()!r}: write NAME:NUMBER, with commas between them; a name is one of {', '.join(names)}"
                             + (" or a number of examples" if kind is int else ""))
    return found


def stored_results(path):
    """What this benchmark has written. ValueError for any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["digest"], found["run"], found["rows"].items()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} holds no results of this benchmark") from None
    return found


def begun(args, model):
    """The results so far, or their beginning. ValueError for those of another model."""
    shape, base = asdict(model.config), encoder_digest(model)
    if not args.out.is_file():
        return {"date": str(date.today()), "python": platform.python_version(), "torch": torch.__version__, "run": Path(args.run).name,
                "model": shape, "digest": base, "rows": {}}
    stored = stored_results(args.out)
    if stored["digest"] != base:
        raise ValueError(f"{args.out} holds the results of another model, {stored['run']}: choose another --out")
    return stored


def wanted(args):
    """(task, number of examples or "all", mode) of each row, the curve's first. A row of both tables comes once."""
    rows = [("sst2", size, mode) for size in args.sizes for mode in ("all", SCRATCH)]
    sizes = MODE_SIZES | {"sst2": args.mode_size}
    return list(dict.fromkeys(rows + [(task, sizes[task], mode) for task in args.on for mode in args.modes]))


@functools.cache
def files(folder, task):
    """-> (training file, dev file) of a task, read once."""
    return tuple(read_examples(folder / task / f"{part}.tsv", TASKS[task][0]) for part in ("train", "dev"))


def settings(args, task, size, mode):
    """(FinetuneConfig on this machine, Tuning) of a row."""
    extra = parser().parse_args([args.run, *args.extra.split()])
    given_twice = [word for word in args.extra.split() if word.startswith("--") and word[2:].replace("-", "_") in SET_HERE]
    if given_twice:
        raise ValueError(f"--extra {given_twice[0]}: that is set by the benchmark's own flags and files")
    rates = RATES | args.rates
    examples, there = 0 if size == "all" else int(size), len(files(args.tasks, task)[0])
    enough = [most for most in args.epochs if most >= min(examples or there, there)]
    if not enough:
        raise ValueError(f"--epochs says nothing of {min(examples or there, there):,} examples: add all:3")
    epochs = args.epochs[min(enough)]
    config = FinetuneConfig(**{"metric": TASKS[task][1], "epochs": epochs, "patience": epochs, "judge_every": epochs, "examples": examples,
                               "learning_rate": rates[mode], "hidden_dropout_prob": DROPOUT.get(mode, 0.1), "warmup": WARMUP}
                            | explicit_flags(extra, FinetuneConfig))
    tune = "all" if mode == SCRATCH else mode
    return config.resolve_device(), Tuning(**explicit_flags(extra, Tuning) | {"tune": tune})


@functools.cache
def digest_of_files(folder, task):
    """The SHA-256 of the texts and labels of a task's files."""
    return hashlib.sha256(json.dumps([[part.texts, part.labels] for part in files(folder, task)]).encode()).hexdigest()


def differences(found, asked):
    """What of a stored row is not as asked, in words: ["learning_rate 0.0005, now 0.001", "files"]"""
    changed = [f"{name} {found[part].get(name)}, now {value}" for part in ("config", "tuning") for name, value in asked[part].items()
               if found[part].get(name) != value]
    return changed + ["other files"] * (found.get("files") != asked["files"])


def started(args, task, size, mode, result):
    """A row as it stands in the results, or its beginning -> (row, config, tuning). ValueError where its seeds were trained otherwise."""
    config, tuning = settings(args, task, size, mode)
    as_asked = {"config": asdict(replace(config, seeds=1)), "tuning": asdict(tuning), "files": digest_of_files(args.tasks, task)}
    name = f"{task}, {size}, {mode}"
    found = result["rows"].get(name) or {"task": task, "size": size, "mode": mode, **as_asked, "seeds": {}}
    if changed := differences(found, as_asked):
        raise ValueError(f"{args.out} holds {len(found['seeds'])} seed(s) of {name!r} that were trained otherwise ({'; '.join(changed)}): "
                         "choose another --out")
    return found, config, tuning


def row(args, model, tokenizer, task, size, mode, result, stop):
    """Train the seeds of a row that are not there yet, each written as it is done -> False where Ctrl-C came."""
    found, config, tuning = started(args, task, size, mode, result)
    name = f"{task}, {size}, {mode}"
    missing = [seed for seed in range(args.seeds) if str(seed) not in found["seeds"]]
    if not missing:
        return True
    learn, dev = files(args.tasks, task)
    labels = tuple(class_labels(learn))
    learn, dev = encode_files(model.config, tokenizer, learn, dev, labels, config, say=lambda line: None)
    found |= {"examples": len(learn), "dev": len(dev), "metric": config.metric_name, "constant": majority_baseline(learn.labels, dev.labels, config)}
    for seed in missing:
        classifier = new_classifier(model, labels, config, tuning, seed, load_encoder_from=mode != SCRATCH)
        found["learning"] = count_parameters(classifier)
        processor, wall = time.process_time(), time.perf_counter()
        with progress_bar(config.epochs * -(-len(learn) // config.batch_size), f"{name}, seed {seed}", "steps") as bar:
            history = fit(classifier, learn, dev, config, seed, bar, stop)
        if stop.requested:
            return False
        found["seeds"][str(seed)] = {"score": history[-1][config.metric_name], "processor_seconds": round(time.process_time() - processor, 2),
                                     "seconds": round(time.perf_counter() - wall, 2), "last": history[-1]}
        result["rows"][name] = found
        atomic_write(args.out, json.dumps(result, indent=1) + "\n")  # what is done stays, whatever happens to the rest
        print(f"{name}, seed {seed}: {config.metric_name} {history[-1][config.metric_name]:.4f}", flush=True)
    return True


# ------------------------------------------------------------------------------------------------ the tables


def table(result):
    """Both tables as Markdown."""
    rows = list(result["rows"].values())
    curve = {}
    for found in rows:
        if found["task"] == "sst2" and found["mode"] in ("all", SCRATCH):
            curve.setdefault(found["examples"], {})[found["mode"]] = found
    lines = []
    if any(SCRATCH in pair for pair in curve.values()):
        lines += ["| SST-2 examples | epochs | pre-trained | from scratch | gain |", "|---|---|---|---|---|"]
        lines += [curve_line(examples, pair) for examples, pair in sorted(curve.items()) if SCRATCH in pair] + [""]
    sizes = {found["task"]: found["size"] for found in rows if found["mode"] not in ("all", SCRATCH)}  # task -> of its rows in the other table
    if sizes:
        lines += mode_lines([found for found in rows if found["size"] == sizes.get(found["task"])])
    return "\n".join(lines).rstrip("\n") + "\n"


def curve_line(examples, pair):
    """One size: {"all": row, "from scratch": row} -> a line."""
    epochs = pair[SCRATCH]["config"]["epochs"]
    gain = ""
    if "all" in pair:
        gain = f"{100 * (mean_and_std(scores(pair['all']))[0] - mean_and_std(scores(pair[SCRATCH]))[0]):+.1f}"
    return f"| {examples:,} | {epochs} | {score_cell(pair.get('all'))} | {score_cell(pair[SCRATCH])} | {gain} |"


def mode_lines(rows):
    """The table of modes, with two columns a task."""
    tasks = {found["task"]: found for found in rows}  # any of its rows
    heads = [f"{TITLES[task]}, {found['examples']:,} examples, {found['metric']} | processor seconds" for task, found in tasks.items()]
    lines = ["| what learns | numbers | of them the head | share | " + " | ".join(heads) + " |", "|---" * (4 + 2 * len(tasks)) + "|"]
    for mode, title in MODES.items():
        there = {found["task"]: found for found in rows if found["mode"] == mode}
        if there:
            learning = next(iter(there.values()))["learning"]
            cells = [part for task in tasks for part in (score_cell(there.get(task)), seconds_cell(there.get(task)))]
            numbers = [f"{learning['trained']:,}", f"{learning['head']:,}", f"{100 * learning['share']:.2f} %"]
            lines.append("| " + " | ".join([title, *numbers, *cells]) + " |")
    always = " | ".join(f"{100 * found['constant']:.1f} | 0" for found in tasks.values())
    return lines + [f"| nothing: always the same answer | 0 | 0 | 0 % | {always} |"]


def scores(found):
    return [seed["score"] for seed in found["seeds"].values()]


def score_cell(found):
    """Mean and deviation of the seeds in hundredths: "81.2 ± 0.4"."""
    if not found:
        return ""
    mean, deviation = mean_and_std(scores(found))
    nothing = sum(score <= found["constant"] for score in scores(found))
    return f"{100 * mean:.1f} ± {100 * deviation:.1f}" + (f", {nothing} of {len(found['seeds'])} seeds learned nothing" if nothing else "")


def seconds_cell(found):
    return f"{mean_and_std([seed['processor_seconds'] for seed in found['seeds'].values()])[0]:,.0f}" if found else ""


if __name__ == "__main__":
    run(main)

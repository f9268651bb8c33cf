"""What each --tune costs and saves: a table of the modes.

    python benchmarks/finetuning.py runs/books --tasks FOLDER
    python benchmarks/finetuning.py --table benchmarks/results/finetuning.json

FOLDER holds sst2/ and cola/, each with train.tsv and dev.tsv. The modes are all weights (also from
random ones), LoRA, prefixes, biases and only the head, on SST-2 (10,000 examples) and CoLA. What
pre-training gains by number of examples is measured by transfer.py.

A score is that of the last epoch on the complete dev file; no epoch is selected by it. The number
of epochs depends only on the number of examples (--epochs). Each mode has the learning rate that
``minibert finetune`` gives it, and its own dropout (DROPOUT). The rate rises for three tenths of
the steps, because with fewer some seeds of small models never leave the constant answer.

Each seed is written when it is finished; the same command continues after an interruption, and more
--seeds or --modes add to the file. Seeds trained with other files or settings are refused, because
they would be compared in one table. Seconds are CPU time over all threads, so that other work on
the machine does not count; they include evaluation, but not reading the files.
"""
import time
from dataclasses import asdict, replace

from common import markdown, write_json
from labeled_tasks import (
    SCRATCH,
    SET_HERE,
    TASKS,
    add_task_flags,
    check_task_flags,
    check_unchanged,
    digest_of,
    finetune_config,
    load_results,
    num_examples_of,
    parse_pairs,
    read_part,
    read_results,
    score_cell,
    scores_of,
    train_seed,
)

from minibert.finetuning.adapters import Tuning, count_parameters
from minibert.finetuning.metrics import mean_and_std
from minibert.finetuning.seeds import baseline_scores, encode_files
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser, explicit_flags, run
from tokenizer.utils.files import check_writable
from tokenizer.utils.signals import StopRequest

MODES = {SCRATCH: "all weights, from scratch", "all": "all weights", "lora": "LoRA",
         "prefix": "prefixes", "bias": "biases", "head": "the head alone"}
MODE_SIZES = {"sst2": "10000", "cola": "all"}
DROPOUT = {"all": 0.3}  # of the encoder; 0.1 for the other modes


def main(args=None):
    """Train the missing rows. Return the exit status: 130 after Ctrl-C."""
    args = parse(args)
    if args.table:
        return print(table(read_results(args.table)), end="")
    check_writable(args.out.parent)
    model, tokenizer = load_run(args.run)
    result = load_results(args, model)
    for task, mode in wanted(args):
        prepare_row(args, task, mode, result)  # raises before the first training
    with StopRequest() as stop:
        for task, mode in wanted(args):
            if not train_row(args, model, tokenizer, task, mode, result, stop):
                return 130
    print(table(result), end="")


def parse(args):
    out = Parser(description="Compare the modes of --tune.")
    add_task_flags(out, MODE_SIZES, "finetuning")
    out.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES, metavar="NAME",
                     help=", ".join(MODES))
    out.add_argument("--mode-size", default=MODE_SIZES["sst2"], metavar="N",
                     help="examples of SST-2, or all")
    out.add_argument("--rates", default="",
                     help="other peak learning rates, such as lora:1e-3,all:2e-4")
    args = out.parse_args(args)
    check_task_flags(args, [args.mode_size], SET_HERE, "finetuning")
    args.rates = parse_pairs("--rates", args.rates, MODES, float)
    return args


def wanted(args):
    """Return (task, mode) of each row."""
    return [(task, mode) for task in args.on for mode in args.modes]


def prepare_row(args, task, mode, result):
    """Return (name, row, config, tuning). ValueError if it was trained with other settings."""
    size = (MODE_SIZES | {"sst2": args.mode_size})[task]
    train = read_part(args.tasks, task, "train")
    config = finetune_config(args, task, num_examples_of(train, size),
                             examples=0 if size == "all" else int(size),
                             learning_rate=args.rates.get(mode, 0.0),
                             hidden_dropout_prob=DROPOUT.get(mode, 0.1))
    tune = "all" if mode == SCRATCH else mode
    tuning = Tuning(**(explicit_flags(args.extra, Tuning) | {"tune": tune}))
    settings = {"config": asdict(replace(config, seeds=1)), "tuning": asdict(tuning),
                "files": digest_of(args.tasks, task, "train", "dev")}
    name = f"{task}, {size}, {mode}"
    row = result["rows"].get(name)
    if row is None:
        row = {"task": task, "size": size, "mode": mode, **settings, "seeds": {}}
    check_unchanged(args.out, name, row, settings)
    return name, row, config, tuning


def train_row(args, model, tokenizer, task, mode, result, stop):
    """Train the missing seeds of a row and write each. Return False after Ctrl-C."""
    name, row, config, tuning = prepare_row(args, task, mode, result)
    missing = [seed for seed in range(args.seeds) if str(seed) not in row["seeds"]]
    if not missing:
        return True
    train, dev = (read_part(args.tasks, task, part) for part in ("train", "dev"))
    labels = config.task_object.labels(train)
    config = config.resolve_learning_rate(model.config, tuning.tune)
    train, dev = encode_files(model.config, tokenizer, train, dev, labels, config,
                              say=lambda line: None)
    row |= {"examples": len(train), "dev": len(dev), "metric": config.metric_name,
            "constant": baseline_scores(train.examples, dev.examples, labels, config)[
                config.metric_name]}
    for seed in missing:
        cpu_start = time.process_time()
        start = time.perf_counter()
        last, trained = train_seed(model, labels, config, tuning, seed, (train, dev), stop, name,
                                   use_pretrained=mode != SCRATCH)
        if last is None:
            return False
        row["learning"] = count_parameters(trained)
        row["seeds"][str(seed)] = {
            "score": last[config.metric_name], "last": last,
            "processor_seconds": round(time.process_time() - cpu_start, 2),
            "seconds": round(time.perf_counter() - start, 2)}
        result["rows"][name] = row
        write_json(args.out, result)  # an interruption loses one seed at most
        print(f"{name}, seed {seed}: {config.metric_name} {last[config.metric_name]:.4f}",
              flush=True)
    return True


# The table


def table(result):
    """Return the table of modes as Markdown, with two columns per task."""
    rows = list(result["rows"].values())
    last_sizes = {row["task"]: row["size"] for row in rows}  # --mode-size may have changed
    rows = [row for row in rows if row["size"] == last_sizes[row["task"]]]
    tasks = {row["task"]: row for row in rows}  # any row of each task
    heading = ["what learns", "parameters", "in the head", "share"]
    constant = ["nothing: always the same answer", "0", "0", "0 %"]
    for task, row in tasks.items():
        heading += [f"{TASKS[task].title}, {row['examples']:,} examples, {row['metric']}",
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
            cells += [mode_cell(of_mode.get(task)), seconds_cell(of_mode.get(task))]
        lines.append(cells)
    return markdown(heading, [*lines, constant])


def mode_cell(row):
    """Return the ``score_cell``, and how many seeds are no better than the constant answer."""
    if not row:
        return ""
    num_failed = sum(score <= row["constant"] for score in scores_of(row))
    failed = f", {num_failed} of {len(row['seeds'])} seeds learned nothing" if num_failed else ""
    return score_cell(row) + failed


def seconds_cell(row):
    if not row:
        return ""
    mean, _ = mean_and_std([seed["processor_seconds"] for seed in row["seeds"].values()])
    return f"{mean:,.0f}"


if __name__ == "__main__":
    run(main)

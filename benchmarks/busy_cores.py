"""Measure how much slower training becomes when other programs use the same cores (Linux).

    python benchmarks/busy_cores.py "$MINIBERT_CORPORA"/kant --out FILE
    python benchmarks/busy_cores.py --table FILE

Each neighbor is a process that computes without a pause. A round trains once for each way to wait
and each number of neighbors, in turn; the table has the median of the rounds.

The threads of a matrix product wait for one another at its end, so a thread without a core stops
all of them. By default they first wait in a loop, which on a busy machine takes the processor time
that the last of them needs; GOMP_SPINCOUNT limits the turns of that loop. A run with --minutes uses
fewer threads while others need the cores, unless OMP_NUM_THREADS is set.
"""
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from tqdm import tqdm

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.cli import Parser, run

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
ALL = {"OMP_NUM_THREADS": str(CORES)}
WAYS = {  # how many threads, and how they wait -> environment variables of train.py
    "threads for free cores (the default)": {},
    "one thread per core": ALL,
    "... 10,000 turns": ALL | {"GOMP_SPINCOUNT": "10000"},
    "... 1,000 turns": ALL | {"GOMP_SPINCOUNT": "1000"},
    "... asleep at once": ALL | {"GOMP_SPINCOUNT": "0"},
    "one thread fewer": {"OMP_NUM_THREADS": str(max(1, CORES - 1))},
}


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    results = {"command": f"python benchmarks/busy_cores.py {args.corpus.name} "
                          f"--rounds {args.rounds} --minutes {args.minutes:g}",
               "machine": platform.platform(), "cores": CORES, "torch": torch.__version__,
               "tokens_per_second": {name: {str(n): [] for n in args.neighbors} for name in WAYS}}
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "first")
        train(args.corpus, prepared, {}, "--max-steps", "1")
        trials = [(way, n) for _ in range(args.rounds) for n in args.neighbors for way in WAYS]
        for i, (way, neighbors) in enumerate(tqdm(trials, unit=" runs")):
            out = Path(folder, str(i))
            with ExitStack() as stack:
                for _ in range(neighbors):
                    stack.enter_context(busy_process())
                train(args.corpus, out, WAYS[way], "--minutes", str(args.minutes),
                      "--tokenizer", str(prepared / "tokenizer"))
            results["tokens_per_second"][way][str(neighbors)].append(speed(out))
            write_json(args.out, results)
    print(table(results), end="")


def train(corpus, out, environment, *flags):
    """Run train.py on the model of quickstart."""
    command = [sys.executable, ROOT / "train.py", "--corpus", corpus, "--out", out, "--log-every",
               "1", "--eval-every", "0", "--save-every", "0", *flags]
    without_threads = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    subprocess.run(command, env=without_threads | environment, check=True, capture_output=True)


@contextmanager
def busy_process():
    """Keep one process computing."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def speed(folder):
    """Return the tokens per second of a run, after its first five steps."""
    logs = [line for line in read_metrics_lines(folder / "metrics.jsonl") if "loss" in line][4:]
    steps = logs[-1]["step"] - logs[0]["step"]
    config = read_json(folder / "config.json")["train"]
    tokens = steps * config["batch_size"] * config["max_length"]
    return tokens / (logs[-1]["elapsed"] - logs[0]["elapsed"])


def table(results):
    """Return the median tokens per second by way to wait and number of busy neighbors."""
    ways = results["tokens_per_second"]
    numbers = list(next(iter(ways.values())))
    heading = ["threads", *(f"{n} neighbors" for n in numbers)]
    return markdown(heading, [[way] + [f"{statistics.median(speeds[n]):,.0f}" for n in numbers]
                              for way, speeds in ways.items()])


def parse(args):
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", type=Path, help="a text, such as three books")
    parser.add_argument("--neighbors", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--minutes", type=float, default=0.3, help="of each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default %(default)s)")
    add_result_flags(parser)
    args = parser.parse_args(args)
    if not (args.table or args.corpus):
        parser.error("name a text to train on")
    return args


if __name__ == "__main__":
    run(main)

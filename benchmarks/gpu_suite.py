"""All that is to be known of training on a GPU, by one command in under ten minutes: how fast, how much memory, no stops, and fp16 beside bf16.

    python benchmarks/gpu_suite.py --out benchmarks/results/gpu.json [--parts small precision] [--minutes 10]
    python benchmarks/gpu_suite.py --table benchmarks/results/gpu.json

The text is made up, the same on every machine, so nothing is fetched and no folder is needed. The parts, each under a time limit, each written
when it is done; the same command again goes on with those that are missing (a part that failed, or in which somebody took too long, among them):

    stops                 no step of any recipe makes the program wait for the GPU: CUDA's own check (torch.cuda.set_sync_debug_mode) is an error then
    precision             some hundred steps of a small model in bf16, in bf16 with another seed (how much chance does), and in fp16 with a GradScaler
    small, kantaibert, bert-base, bert-base at 512
                          time and memory of a step beside transformers (contest.py says who takes part, and how they are measured); on a
                          card with less than 36 GiB BERT-base has a quarter of the examples

Where transformers or accelerate is missing its rows are left out, and the results say so.
"""
import json
import subprocess
import sys
import tempfile
import time
import traceback
from argparse import SUPPRESS
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from contest import (  # which finds the product of this checkout
    CONTESTANTS,
    SHAPES,
    STEPS,
    TOO_LONG,
    make_data,
    measure,
    ours,
    table,
)
from tqdm import tqdm

from minibert.device import choose_device, choose_precision, describe
from minibert.formats.run_folder import read_metrics_lines
from tokenizer import ByteLevelBPE
from tokenizer.utils.cli import Parser, run
from tokenizer.utils.files import atomic_write

WHO = ["minibert", "minibert, compiled", "minibert, fp16", "transformers, bf16", "transformers, tuned"]
WHO_WITHOUT_BF16 = ["minibert", "minibert, compiled", "transformers, fp16", "transformers, tuned, fp16"]  # where bf16 is emulated, and slow
STEP_PARTS = ["small", "bert-base at 512", "bert-base", "kantaibert"]
LIMIT = 180  # seconds of a part: compiling BERT-base takes up to 90 of them, and the next run finds on disk what was compiled once
LEAST = 45  # seconds: with less time left no part is begun
SMALL_CARD = 36 * 2 ** 30  # bytes: smaller ones have no room for BERT-base with 32,768 tokens (one sold as 40 GB has 39 GiB)
VOCABULARY = 8192  # entries; larger models have rows that no word uses, which costs the same
RECIPES = {"AdamW, bf16": {"precision": "bf16"}, "AdamW, fp16": {"precision": "fp16"}, "Muon, bf16": {"precision": "bf16", "optimizer": "muon"},
           "Muon, fp16": {"precision": "fp16", "optimizer": "muon"}, "AdamW, bf16, micro-batches": {"precision": "bf16", "micro_batch_size": 3}}
WATCHED = 6, 26  # steps: the first makes moments, and allocates what later ones use again
TRAINED = {"precision": "bf16", "learning_rate": 2e-3, "max_steps": 600, "log_every": 10, "warmup": 0.1}
PRECISIONS = {"bf16": {}, "bf16, another seed": {"seed": 1}, "fp16": {"precision": "fp16"}}


def made_up_text(lines=60_000, words=6000, seed=0):
    """Documents, 50 lines each, of 4 to 22 made-up words, 13 in the mean (the lines of Kant have about as many): a few words are frequent,
    and seven words of ten are one of eight that often follow the one before, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    syllables = np.array([a + b for a in "b d f g k l m n p r s t v sh ch".split() for b in "a e i o u an er in or".split()])
    names = np.array(["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(words)])
    chance = 1 / np.arange(1, words + 1)
    followers = rng.choice(words, (words, 8), p=chance / chance.sum())
    text = rng.choice(words, (lines, 22), p=chance / chance.sum())  # (lines, 22): numbers of words
    for place in range(1, text.shape[1]):
        follows = rng.random(lines) < 0.7
        text[follows, place] = followers[text[follows, place - 1], rng.integers(8, size=follows.sum())]
    lengths = rng.integers(4, 23, lines)
    made = [" ".join(names[row[:length]]) for row, length in zip(text, lengths)]
    return ["\n".join(made[i : i + 50]) for i in range(0, lines, 50)]


# The parts

class Watch:
    """In the place of ``contest.Turns``: between two steps nothing may make the program wait for the GPU."""

    def __init__(self, set_mode):
        self.steps, self.set_mode = 0, set_mode

    def wait(self):
        """Nobody else has a turn."""

    def step_done(self):
        self.steps += 1
        if self.steps == WATCHED[0]:
            self.set_mode("error")
        if self.steps == WATCHED[1]:
            raise Done


class NoTurns:
    """In the place of ``contest.Turns``: nothing is measured."""

    def wait(self):
        """There are no others to wait for."""

    def step_done(self):
        """A step."""


class Done(Exception):
    """Enough has been seen."""


def stops(shape, folder, device, set_mode=None):
    """{recipe: "none", or what made the program wait, and where}"""
    set_mode = set_mode or (torch.cuda.set_sync_debug_mode if device.type == "cuda" else lambda mode: None)
    found = {}
    for name, recipe in RECIPES.items():
        try:
            ours(shape, folder, Watch(set_mode), device, log_every=10 ** 9, **recipe)
        except Done:
            found[name] = "none"
        except (RuntimeError, ValueError) as error:
            own = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
            found[name] = f"{Path(own[-1].filename).name}:{own[-1].lineno}: {str(error).splitlines()[0]}"
        finally:
            set_mode("default")
    return found


def precision(shape, folder, device, **recipe):
    """{recipe: the mean training loss of the last tenth of the steps}"""
    ended = {}
    for name, other in PRECISIONS.items():
        run = ours(shape, folder, NoTurns(), device, **(TRAINED | other | recipe))
        lines = read_metrics_lines(run / "metrics.jsonl")
        losses = [line["loss"] for line in lines if "loss" in line]
        ended[name] = mean(losses[-max(1, len(losses) // 10):])
    return ended


CHECKS = {"stops": (stops, "small"), "precision": (precision, "quickstart")}


def worker(part, shape, folder, kind):
    """A check in a process of its own, which ends with it: prints what it found, as JSON."""
    print(json.dumps(CHECKS[part][0](shape, Path(folder), choose_device(kind))))


def check(part, folder, kind, limit, shape=None):
    """A check's result, or {"failed": why}"""
    command = [sys.executable, __file__, "--worker", part, shape or CHECKS[part][1], str(folder), kind]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"it took more than {limit:.0f} seconds"}
    if done.returncode:
        return {"failed": f"exit code {done.returncode} (what it said stands above)"}
    return json.loads(done.stdout.splitlines()[-1])


# The suite

def main(args=None):
    args = parse(args)
    if args.worker:
        return worker(*args.worker)
    if args.table:
        return print(report(json.loads(args.table.read_text(encoding="utf-8"))), end="")
    device = choose_device(args.device)
    results = going_on(args.out, device)
    theirs = find_spec("transformers") and find_spec("accelerate")
    if not theirs:
        results["note"] = "transformers or accelerate is not installed: its rows are left out"
        print(results["note"], file=sys.stderr)
    usual = WHO_WITHOUT_BF16 if choose_precision("auto", device) == "fp16" else WHO
    who = [name for name in args.contestants or usual if theirs or not name.startswith("transformers")]
    end = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        documents = made_up_text(args.lines)
        size = SHAPES[args.shape][0].vocab_size if args.shape else VOCABULARY
        tokenizer = ByteLevelBPE.train_from_iterator(documents, vocab_size=min(size, VOCABULARY), show_progress=False)
        parts = tqdm([part for part in args.parts if not is_done(results["parts"].get(part))], unit="part")
        for part in parts:
            parts.set_description(part)
            left = min(LIMIT, end - time.monotonic())
            if left < LEAST:
                print(f"{part}: no time is left for it. The same command again goes on from here", file=sys.stderr)
                break
            place = Path(folder) / part
            shape = args.shape or shape_of(part, device)
            make_data(shape, documents, place, tokenizer)
            found = check(part, place, args.device, left, shape) if part in CHECKS else measure(shape, place, who, args.rounds, args.device, left)
            results["parts"][part] = found
            if args.out:
                atomic_write(args.out, json.dumps(results, indent=1) + "\n")
    print(report(results), end="")


def shape_of(part, device):
    """The name of the shape that a part is measured with: on a small card one with a quarter of the examples, where there is one."""
    small = device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory < SMALL_CARD
    return CHECKS[part][1] if part in CHECKS else f"{part}, small card" if small and f"{part}, small card" in SHAPES else part


def is_done(found):
    """Whether a part need not be tried again: not where it failed as a whole, nor where somebody took too long. Who had no room will have none."""
    failed = found.get("failed", {}) if found else "not measured"
    return not isinstance(failed, str) and TOO_LONG not in failed.values()


def going_on(path, device):
    """The results so far; new ones where there are none. ValueError where they are of another machine."""
    here = {"device": describe(device, "").rstrip(", "), "torch": torch.__version__, "cuda": torch.version.cuda}
    if path and path.is_file():
        results = json.loads(path.read_text(encoding="utf-8"))
        for name, value in here.items():
            if results.get(name) != value:
                raise ValueError(f"{path} is of {name} {results.get(name)}, this is {value}: choose another --out")
        return results
    return {"date": time.strftime("%Y-%m-%d"), "command": "python benchmarks/gpu_suite.py " + " ".join(sys.argv[1:]), **here, "parts": {}}


def report(results):
    """The results as Markdown."""
    parts = results["parts"]
    lines = [f"{results['date']}, {results['device']}, PyTorch {results['torch']}, CUDA {results['cuda']}", ""]
    lines += [results["note"], ""] if "note" in results else []
    for part, heading in (("stops", "| a step waits for the GPU | |\n|---|---|"), ("precision", "| loss at the end | |\n|---|---|")):
        if part in parts:
            lines += [heading, *(f"| {name} | {value if isinstance(value, str) else f'{value:.3f}'} |" for name, value in parts[part].items()), ""]
    return "\n".join(lines) + "\n" + table([found for part, found in parts.items() if "seconds" in found], gpu=True)


def parse(args):
    parser = Parser(description="Training on a GPU: speed, memory, stops, precision.")
    known = [*CHECKS, *STEP_PARTS]
    parser.add_argument("--parts", nargs="+", choices=known, default=known, metavar="PART", help=", ".join(known))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, metavar="WHO", help="; ".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS} steps each (default 5), beside one to warm up")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all of it (default 9.5)")
    parser.add_argument("--device", default="cuda", help="cuda (default); cpu, to try it without a GPU")
    parser.add_argument("--shape", choices=SHAPES, help="another model for all parts: tiny, to try it")
    parser.add_argument("--lines", type=int, default=60_000, help="of made-up text (default 60,000)")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON, and go on from what is there")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the tables of a results file, and measure nothing")
    parser.add_argument("--worker", nargs=4, help=SUPPRESS)
    return parser.parse_args(args)


if __name__ == "__main__":
    run(main)

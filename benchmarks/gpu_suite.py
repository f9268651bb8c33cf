"""Measure training on a GPU in under ten minutes: speed, memory, synchronization, fp16 and bf16.

    python benchmarks/gpu_suite.py --out benchmarks/results/gpu.json
    python benchmarks/gpu_suite.py --table benchmarks/results/gpu.json

The text is made up, the same on every machine. Each part has a time limit and is written when it is
finished. The same command continues with the missing parts, including those that failed or in which
a contestant took too long (its compiled kernels are cached on disk by then).

    stops                 no step of any recipe makes the program wait for the GPU; otherwise
                          torch.cuda.set_sync_debug_mode raises an error
    precision             600 steps of a small model in bf16, in bf16 with another seed (to show
                          the size of chance), and in fp16 with a GradScaler
    small, kantaibert, bert-base, bert-base at 512
                          time and memory of a step, compared with transformers (contest.py); on
                          a GPU with less than 36 GiB, BERT-base has a quarter of the examples

Without transformers or accelerate, their rows are left out.
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
from common import add_result_flags, markdown, print_table, read_json, write_json
from contest import TOO_LONG, measure, table
from contestants import CONTESTANTS, SHAPES, STEPS, make_data, ours
from tqdm import tqdm

from minibert.device import choose_device, choose_precision, describe
from minibert.formats.run_folder import read_metrics_lines
from tokenizer import ByteLevelBPE
from tokenizer.utils.cli import Parser, run

DEFAULT_CONTESTANTS = ["minibert", "minibert, compiled", "minibert, fp16", "transformers, bf16",
                       "transformers, tuned"]
# Where bf16 is emulated, and slow.
WITHOUT_BF16 = ["minibert", "minibert, compiled", "transformers, fp16", "transformers, tuned, fp16"]
STEP_PARTS = ["small", "bert-base at 512", "bert-base", "kantaibert"]
PART_LIMIT = 180  # seconds; compiling BERT-base takes up to 90
MIN_SECONDS = 45  # with less time left, no part is started
SMALL_GPU = 36 * 2**30  # bytes: not enough for 32,768 tokens of BERT-base
VOCAB_SIZE = 8192  # larger models have unused rows, which cost the same
RECIPES = {
    "AdamW, bf16": {"precision": "bf16"},
    "AdamW, fp16": {"precision": "fp16"},
    "Muon, bf16": {"precision": "bf16", "optimizer": "muon"},
    "Muon, fp16": {"precision": "fp16", "optimizer": "muon"},
    "AdamW, bf16, micro-batches": {"precision": "bf16", "micro_batch_size": 3},
}
WATCHED = (6, 26)  # steps; earlier ones create optimizer state and allocate memory
TRAINING = {"precision": "bf16", "learning_rate": 2e-3, "max_steps": 600, "log_every": 10,
            "warmup": 0.1}
PRECISIONS = {"bf16": {}, "bf16, another seed": {"seed": 1}, "fp16": {"precision": "fp16"}}


def made_up_text(lines=60_000, num_words=6000, seed=0):
    """Return documents of 50 lines, each of 4 to 22 made-up words (13 on average, as in Kant).

    A few words are frequent (Zipf), and 70 % of the words are one of eight that often follow the
    previous one, so that there is something to learn.
    """
    rng = np.random.default_rng(seed)
    consonants = "b d f g k l m n p r s t v sh ch".split()
    vowels = "a e i o u an er in or".split()
    syllables = np.array([a + b for a in consonants for b in vowels])
    words = np.array(["".join(rng.choice(syllables, rng.integers(1, 4)))
                      for _ in range(num_words)])
    weights = 1 / np.arange(1, num_words + 1)
    probabilities = weights / weights.sum()
    followers = rng.choice(num_words, (num_words, 8), p=probabilities)
    text = rng.choice(num_words, (lines, 22), p=probabilities)  # indices of words
    for column in range(1, text.shape[1]):
        follows = rng.random(lines) < 0.7
        choices = rng.integers(8, size=follows.sum())
        text[follows, column] = followers[text[follows, column - 1], choices]
    lengths = rng.integers(4, 23, lines)
    sentences = [" ".join(words[row[:length]]) for row, length in zip(text, lengths)]
    return ["\n".join(sentences[i : i + 50]) for i in range(0, lines, 50)]


# The checks. Each runs in a process of its own


class WatchedSteps:
    """Takes the role of ``contestants.Turns``: a synchronization between two steps is an error."""

    def __init__(self, set_mode):
        self.steps = 0
        self.set_mode = set_mode

    def wait(self):
        pass

    def step_done(self, *_):
        self.steps += 1
        if self.steps == WATCHED[0]:
            self.set_mode("error")
        if self.steps == WATCHED[1]:
            raise WatchFinished


class WatchFinished(Exception):
    pass


class NoTurns:
    """Takes the role of ``contestants.Turns`` where nothing is timed."""

    def wait(self):
        pass

    def step_done(self, *_):
        pass


def stops(shape, folder, device, set_mode=None):
    """Return {recipe: "none", or what made the program wait, with file and line}."""
    if set_mode is None:
        set_mode = torch.cuda.set_sync_debug_mode if device.type == "cuda" else lambda mode: None
    found = {}
    for name, recipe in RECIPES.items():
        try:
            ours(shape, folder, WatchedSteps(set_mode), device, log_every=10**9, **recipe)
        except WatchFinished:
            found[name] = "none"
        except (RuntimeError, ValueError) as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                      if "site-packages" not in frame.filename]
            location = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
            found[name] = f"{location}: {str(error).splitlines()[0]}"
        finally:
            set_mode("default")
    return found


def precision(shape, folder, device, **recipe):
    """Return {recipe: mean training loss of the last tenth of the steps}."""
    final_losses = {}
    for name, changes in PRECISIONS.items():
        run_folder = ours(shape, folder, NoTurns(), device, **(TRAINING | changes | recipe))
        lines = read_metrics_lines(run_folder / "metrics.jsonl")
        losses = [line["loss"] for line in lines if "loss" in line]
        final_losses[name] = mean(losses[-max(1, len(losses) // 10):])
    return final_losses


CHECKS = {"stops": (stops, "small"), "precision": (precision, "quickstart")}


def run_check(part, shape, folder, device, time_limit):
    """Run a check in a process. Return its result, or {"failed": reason}."""
    command = [sys.executable, __file__, "--worker", part, shape, str(folder), device]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=time_limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"it took more than {time_limit:.0f} seconds"}
    if done.returncode:
        return {"failed": f"exit code {done.returncode} (see its output above)"}
    return json.loads(done.stdout.splitlines()[-1])


def worker(part, shape, folder, device):
    """Be the process of a check: print its result as JSON."""
    check, _ = CHECKS[part]
    print(json.dumps(check(shape, Path(folder), choose_device(device))))


# The suite


def main(args=None):
    args = parse(args)
    if args.worker:
        return worker(*args.worker)
    if args.table:
        return print_table(args.table, report)
    device = choose_device(args.device)
    results = load_results(args.out, device)
    names = choose_contestants(args.contestants, device, results)
    deadline = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        documents = made_up_text(args.lines)
        vocab_size = VOCAB_SIZE
        if args.shape:
            vocab_size = min(vocab_size, SHAPES[args.shape].model.vocab_size)
        tokenizer = ByteLevelBPE.train_from_iterator(documents, vocab_size=vocab_size,
                                                     show_progress=False)
        parts = tqdm([part for part in args.parts if not is_done(results["parts"].get(part))],
                     unit="part")
        for part in parts:
            parts.set_description(part)
            seconds = min(PART_LIMIT, deadline - time.monotonic())
            if seconds < MIN_SECONDS:
                print(f"{part}: no time for it. The same command continues from here",
                      file=sys.stderr)
                break
            part_folder = Path(folder) / part
            shape = args.shape or choose_shape(part, device)
            make_data(shape, documents, part_folder, tokenizer)
            if part in CHECKS:
                result = run_check(part, shape, part_folder, args.device, seconds)
            else:
                result = measure(shape, part_folder, names, args.rounds, args.device, seconds)
            results["parts"][part] = result
            write_json(args.out, results)
    print(report(results), end="")


def parse(args):
    parser = Parser(description="Measure training on a GPU: speed, memory, stops, precision.")
    parts = [*CHECKS, *STEP_PARTS]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, metavar="PART",
                        help=", ".join(parts))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, metavar="NAME",
                        help="; ".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5,
                        help=f"rounds of {STEPS} steps, after one to warm up")
    parser.add_argument("--minutes", type=float, default=9.5, help="time limit of everything")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it without a GPU")
    parser.add_argument("--shape", choices=SHAPES, metavar="SHAPE",
                        help="another model for all parts, such as tiny, to try it")
    parser.add_argument("--lines", type=int, default=60_000, help="lines of made-up text")
    add_result_flags(parser)
    parser.add_argument("--worker", nargs=4, help=SUPPRESS)
    return parser.parse_args(args)


def choose_contestants(names, device, results):
    """Return the names of those to measure. Without transformers, note in the results."""
    if not names:
        has_bf16 = choose_precision("auto", device) != "fp16"
        names = DEFAULT_CONTESTANTS if has_bf16 else WITHOUT_BF16
    if find_spec("transformers") and find_spec("accelerate"):
        return names
    results["note"] = "transformers or accelerate is not installed: its rows are left out"
    print(results["note"], file=sys.stderr)
    return [name for name in names if not name.startswith("transformers")]


def choose_shape(part, device):
    """Return the name of the shape of a part: a smaller one on a small GPU, if there is one."""
    if part in CHECKS:
        return CHECKS[part][1]
    if device.type == "cuda" and f"{part}, small card" in SHAPES:
        if torch.cuda.get_device_properties(device).total_memory < SMALL_GPU:
            return f"{part}, small card"
    return part


def is_done(result):
    """Return whether a part need not be repeated: neither it nor a contestant ran out of time.

    A contestant that failed for another reason, such as memory, would fail again.
    """
    if not result:
        return False
    failed = result.get("failed", {})  # a sentence, or {contestant: reason}
    return not isinstance(failed, str) and TOO_LONG not in failed.values()


def load_results(path, device):
    """Return the results so far. ValueError if they are those of another machine."""
    machine = {"device": describe(device, "").rstrip(", "), "torch": torch.__version__,
               "cuda": torch.version.cuda}
    if not (path and path.is_file()):
        command = "python benchmarks/gpu_suite.py " + " ".join(sys.argv[1:])
        return {"date": time.strftime("%Y-%m-%d"), "command": command, **machine, "parts": {}}
    results = read_json(path)
    for name, value in machine.items():
        if results.get(name) != value:
            raise ValueError(f"{path} has {name} {results.get(name)}, but this is {value}: "
                             "choose another --out")
    return results


def report(results):
    """Return the results as Markdown."""
    parts = results["parts"]
    paragraphs = [f"{results['date']}, {results['device']}, PyTorch {results['torch']}, "
                  f"CUDA {results['cuda']}\n"]
    if "note" in results:
        paragraphs.append(results["note"] + "\n")
    if "stops" in parts:
        heading = ["recipe", "a step waits for the GPU"]
        paragraphs.append(markdown(heading, parts["stops"].items()))
    if "precision" in parts:
        rows = [[name, value if isinstance(value, str) else f"{value:.3f}"]
                for name, value in parts["precision"].items()]
        paragraphs.append(markdown(["precision", "loss at the end"], rows))
    steps = [result for result in parts.values() if "seconds" in result]
    return "\n".join([*paragraphs, table(steps, gpu=True)])


if __name__ == "__main__":
    run(main)

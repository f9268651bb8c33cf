"""Measure contestants that train in turns on the same tokens (step_time.py, gpu_suite.py).

Each contestant (contestants.py) is a process of its own that waits for its turn. So each has its
own peak memory, they share no caches, and a slow phase of the machine slows all of them: a round is
a few steps of each, one contestant after another, and a speedup is the median over the rounds. All
of them run complete training loops with batches and logging. Rates are tokens per second, without
padding. Utilization is the rate of the floating-point operations that a step needs
(``minibert/training/flops.py``) relative to that of a large matrix product of the same type, which
is measured in the same rounds.
"""
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from common import markdown
from contestants import (
    PRODUCTS,
    SHAPES,
    STEPS,
    make_shape_examples,
    product_size,
    uses_fp16,
)
from tqdm import tqdm

from minibert.device import choose_device, choose_precision
from minibert.training.flops import training_flops

TOO_LONG = "it took too long"


class ContestantFailed(Exception):
    """Why a contestant is dropped."""


class Contestant:
    """The process of a contestant.

    It sees one GPU only, the first visible one: transformers' Trainer would take n times the batch
    on n GPUs.
    """

    def __init__(self, name, shape, folder, device):
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        script = Path(__file__).with_name("contestants.py")
        self.process = subprocess.Popen(
            [sys.executable, script, name, shape, folder, device], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu})

    def send(self, word):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # the process has ended, and ``receive`` will fail

    def receive(self, deadline):
        """Return the answer, a dict. ContestantFailed if there is none before the deadline."""
        timeout = max(0.0, deadline - time.monotonic())
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.kill()
            raise ContestantFailed(TOO_LONG)
        try:
            return json.loads(self.process.stdout.readline())
        except ValueError:
            self.kill()
            raise ContestantFailed("it ended (see its output above)") from None

    def ask(self, word, deadline):
        self.send(word)
        return self.receive(deadline)

    def kill(self):
        """End the process. Its DataLoader workers keep the pipe open for a few seconds more."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Contest:
    """The processes of all contestants. ``failed`` says why some were dropped."""

    def __init__(self, shape, folder, names, device):
        self.contestants = {name: Contestant(name, shape, folder, device) for name in names}
        self.failed = {}
        self.is_cuda = choose_device(device).type == "cuda"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for contestant in self.contestants.values():
            contestant.kill()

    def each(self, action, names=None):
        """Return {name: action(contestant)}; drop contestants that fail."""
        answers = {}
        for name in names or list(self.contestants):
            try:
                answers[name] = action(self.contestants[name])
            except ContestantFailed as error:
                self.failed[name] = str(error)
                del self.contestants[name]
        return answers

    def warm_up(self, deadline):
        """Run a first round, which is not counted. It includes building the models."""
        if self.is_cuda:  # one after another: together they would not fit. Compiling is slow: last
            names = sorted(self.contestants, key=lambda name: "compiled" in name)
            self.each(lambda contestant: contestant.ask("go", deadline), names)
            return
        for contestant in self.contestants.values():
            contestant.send("go")
        self.each(lambda contestant: contestant.receive(deadline))

    def run_rounds(self, rounds, deadline, title):
        """Return {name: [seconds of each round]}. Stop early if there is no time for another."""
        seconds = {name: [] for name in self.contestants}
        start = time.monotonic()
        for i in tqdm(range(rounds), desc=title, unit="round", leave=False):
            now = time.monotonic()
            if i and now + 1.5 * (now - start) / i > deadline:
                break
            answers = self.each(lambda contestant: contestant.ask("go", deadline))
            for name, answer in answers.items():
                seconds[name].append(answer["seconds"])
        return seconds

    def end(self):
        """Return {name: {"megabytes", "torch", "threads"}} and end all processes."""
        deadline = time.monotonic() + 60
        return self.each(lambda contestant: contestant.ask("end", deadline))


def measure(shape, folder, names, rounds, device="auto", time_limit=86_400.0):
    """Run all contestants in rounds. Return a row of the results.

    names: of CONTESTANTS; device: auto, cpu or cuda; time_limit: seconds. A contestant that fails,
    or is not ready after 70 % of the time, is dropped, and row["failed"] says why.
    """
    lengths = [len(ids) for ids in make_shape_examples(shape, folder)]
    num_examples = STEPS * SHAPES[shape].batch_size
    if len(lengths) < num_examples:
        raise ValueError(f"{shape}: the corpus has {len(lengths)} examples, but a round needs "
                         f"{num_examples}")
    lengths = lengths[:num_examples]
    precision = choose_precision("auto", choose_device(device))
    in_fp16 = {uses_fp16(name, precision) for name in names}
    products = [name for name in PRODUCTS if ("fp16" in name) in in_fp16]
    start = time.monotonic()
    with Contest(shape, folder, [*products, *names], device) as contest:
        contest.warm_up(start + 0.7 * time_limit)
        seconds = contest.run_rounds(rounds, start + time_limit, shape)
        last = contest.end()
    return result_row(shape, lengths, precision, device, seconds, last, contest.failed)


def result_row(shape, lengths, precision, device, seconds, last, failed):
    """Return the row of a shape as a dict."""
    # 15 % of the tokens are masked, except the two special tokens of each example.
    num_masked = round(0.15 * (sum(lengths) - 2 * len(lengths)))
    machine = next(iter(last.values()), {"torch": torch.__version__,
                                         "threads": torch.get_num_threads()})
    row = {"shape": shape, "precision": precision, "tokens": sum(lengths),
           "operations": training_flops(SHAPES[shape].model, lengths, num_masked=num_masked)}
    product_flops = STEPS * 2 * product_size(choose_device(device)) ** 3
    for name, key in (("product", "product_rate"), ("product, fp16", "product_rate_fp16")):
        if seconds.get(name):
            row[key] = product_flops / median(seconds[name])
    complete = [name for name in last if name not in PRODUCTS]
    row |= {"torch": machine["torch"], "threads": machine["threads"],
            "seconds": {name: seconds[name] for name in complete},
            "megabytes": {name: last[name]["megabytes"] for name in complete}}
    if failed:
        row["failed"] = failed
    return row


def table(rows, gpu=False):
    """Return the rows as Markdown: each contestant next to minibert.

    gpu: milliseconds and TFLOP/s instead of seconds and GFLOP/s. Contestants in fp16 are compared
    with a product in fp16, all others with one in bf16.
    """
    time_unit, rate_unit, scale = ("seconds", "GFLOP/s", 1e9)
    if gpu:
        time_unit, rate_unit, scale = ("milliseconds", "TFLOP/s", 1e12)
    lines = []
    for row in rows:
        rates = [f"of {row[key] / scale:,.0f} {rate_unit}{suffix}"
                 for key, suffix in (("product_rate", ""), ("product_rate_fp16", " in fp16"))
                 if key in row]
        lines.append([f"**{SHAPES[row['shape']].title}**", "", "", "", ", ".join(rates), ""])
        lines += [contestant_cells(row, name, gpu) for name in row["seconds"]]
        lines += [[name, f"dropped: {reason}", "", "", "", ""]
                  for name, reason in row.get("failed", {}).items()]
    heading = ["", f"{time_unit} per step", "tokens per second", "speedup of minibert",
               "utilization", "peak memory"]
    return markdown(heading, lines)


def contestant_cells(row, name, gpu):
    seconds = row["seconds"][name]
    typical = median(seconds)
    step = f"{1000 * typical / STEPS:.1f}" if gpu else f"{typical / STEPS:.3f}"
    speedup = ""
    if name != "minibert" and "minibert" in row["seconds"]:
        ratios = [b / a for a, b in zip(row["seconds"]["minibert"], seconds)]
        speedup = f"**{median(ratios):.2f} x** ({min(ratios):.2f} to {max(ratios):.2f})"
    is_fp16 = uses_fp16(name, row.get("precision"))
    peak_rate = row.get("product_rate_fp16" if is_fp16 else "product_rate")
    utilization = f"{row['operations'] / typical / peak_rate:.0%}" if peak_rate else ""
    title = f"{name} (fp16)" if is_fp16 and "fp16" not in name else name
    return [title, step, f"{row['tokens'] / typical:,.0f}", speedup, utilization,
            f"{row['megabytes'][name]:,.0f} MB"]

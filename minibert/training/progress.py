"""What a long run needs besides training: a metrics file, a progress bar, and a way to be stopped that loses nothing."""
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.files import atomic_write, errors_name, locked


class Metrics:
    """metrics.jsonl: one JSON object a line, first what is expected, then training and evaluation lines.

    A run that goes on from step N first drops the lines after step N, and its final evaluation: they will be written again.
    """

    def __init__(self, path, step, header):
        self.path = Path(path)
        kept = [json.dumps(header)]
        if step and self.path.is_file():
            kept += [json.dumps(line) for line in read_metrics_lines(self.path) if 0 < line.get("step", 0) <= step and "final" not in line]
        atomic_write(self.path, "\n".join(kept) + "\n")

    def write(self, values):
        """Append one line; the system has it when this returns."""
        with errors_name(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


@contextlib.contextmanager
def alone(folder, first=True):
    """The one process that works in ``folder``: ValueError where another does. Within, SIGTERM is as Ctrl-C: KeyboardInterrupt.

    first: False for the other ranks of a run, which work in it together.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with locked(folder, f"another process is training in {folder}: wait for it, or choose another --out") if first else contextlib.nullcontext():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Screen:
    """Standard output that may be closed early (``train.py | head``): what nobody reads any more is dropped, and training goes on.

    silent: nothing is written at all (one rank of a run speaks for all).
    """

    def __init__(self, stream, silent=False):
        self.stream, self.silent = stream, silent

    def write(self, text):
        """Write and flush; where the reader is gone, from now on into nothing."""
        if self.silent:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            with open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), self.stream.fileno())

    def __getattr__(self, name):
        return getattr(self.stream, name)


class ProgressBar(tqdm):
    """A bar over steps, or over seconds where the run has a length in minutes, with loss, rate and tokens a second."""

    @classmethod
    def of(cls, total_steps, minutes, state, hidden=False):
        """The bar of a run that stands at ``state``."""
        total, done = (60 * minutes, min(state["elapsed"], 60 * minutes)) if minutes else (total_steps, state["step"])
        quiet = 0.1 if sys.stderr.isatty() else 10.0  # seconds between prints; a log file needs few
        place = "{n:.0f}/{total:.0f} s" if minutes else "{n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
        shape = "{percentage:3.0f}%|{bar:20}| " + place + "{postfix}"
        bar = cls(total=total, initial=done, bar_format=shape, mininterval=quiet, dynamic_ncols=True, disable=hidden)
        bar.by_clock, bar.tokens, bar.since = bool(minutes), 0, time.monotonic()
        return bar

    def advance(self, state, tokens):
        """One step is done."""
        self.tokens += tokens
        self.update((min(state["elapsed"], self.total) if self.by_clock else state["step"]) - self.n)

    def show(self, step, means, rate, position):
        """Show the losses, the rate, the tokens a second since the last call, and of a stream how far it has read."""
        now = time.monotonic()
        speed = self.tokens / max(now - self.since, 1e-9)
        self.tokens, self.since = 0, now
        pairs = f" pairs {means['nsp_accuracy']:.0%}" if "nsp_accuracy" in means else ""
        place = f" {place_of(position)}" if "pass" in position else ""
        self.set_postfix_str(f"step {step:,} loss {means['loss']:.3f}{pairs} rate {rate:.1e} {speed:,.0f} tokens/s{place}", refresh=False)


def place_of(position):
    """Where a stream is in its corpus, from the ``position`` of its batches.

    >>> place_of({"pass": 0, "read": (38_200_000, 1_120_000_000)}), place_of({"pass": 2, "read": None})
    ('pass 1, 38.2 of 1,120.0 MB', 'pass 3')
    """
    read = ", {:,.1f} of {:,.1f} MB".format(*(size / 1e6 for size in position["read"])) if position.get("read") else ""
    return f"pass {position['pass'] + 1}{read}"

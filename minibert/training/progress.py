"""The metrics file, the progress bar, the screen and the lock of a run."""
import contextlib
import json
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.cli import termination_as_interrupt
from tokenizer.utils.files import atomic_write, errors_name, locked

MUCH_SHARED = 0.1  # share of the cores used by other programs from which the bar shows it


class Metrics:
    """metrics.jsonl: one JSON object per line; the first holds the expected losses.

    A run that resumes at step N first drops the lines after step N: it will write them again.
    """

    def __init__(self, path, step, header):
        self.path = Path(path)
        lines = [header]
        if step and self.path.is_file():
            lines += [line for line in read_metrics_lines(self.path)
                      if 0 <= line.get("step", -1) <= step and "final" not in line]
        atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def write(self, values):
        """Append one line and flush it."""
        with errors_name(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


@contextlib.contextmanager
def locked_run(folder, is_main=True):
    """Lock a run's folder for this process; SIGTERM and SIGHUP act like Ctrl-C.

    Only the main process takes the lock: all ranks of a run work in the same folder.
    Raises ValueError if another process has the lock.
    """
    message = f"another process is training in {folder}: wait for it, or choose another --out"
    lock = locked(folder, message) if is_main else contextlib.nullcontext()
    with termination_as_interrupt(), lock:
        yield


class Output:
    """Standard output that may be closed early (``train.py | head``) without ending the run.

    silent: write nothing, for the ranks that are not the main process.
    """

    def __init__(self, stream, silent=False):
        self.stream, self.silent = stream, silent

    def write(self, text):
        """Write and flush; write to nowhere once the reader has gone."""
        if self.silent:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:  # the reader has gone: from now on, write to nowhere
            with open(os.devnull, "w") as devnull:
                os.dup2(devnull.fileno(), self.stream.fileno())

    def __getattr__(self, name):
        return getattr(self.stream, name)


class ProgressBar(tqdm):
    """A bar over steps, or over seconds with --minutes; shows loss, learning rate, throughput."""

    @classmethod
    def of(cls, total_steps, minutes, state, hidden=False):
        """Return the bar of a run in the given TrainState."""
        total, done = total_steps, state.step
        counter = "{n_fmt}/{total_fmt} [{elapsed}<{remaining}]"
        if minutes:
            total = 60 * minutes
            done = min(state.elapsed, total)
            counter = "{n:.0f}/{total:.0f} s"
        # A log file needs few lines; a terminal is updated ten times a second.
        interval = 0.1 if sys.stderr.isatty() else 10.0
        layout = "{percentage:3.0f}%|{bar:20}| " + counter + "{postfix}"
        bar = cls(total=total, initial=done, mininterval=interval, dynamic_ncols=True,
                  disable=hidden, bar_format=layout)
        bar.by_clock = bool(minutes)
        bar.tokens = 0  # since the last call of show()
        bar.since = time.monotonic()
        return bar

    def advance(self, state, tokens):
        """Count one finished step."""
        self.tokens += tokens
        position = min(state.elapsed, self.total) if self.by_clock else state.step
        self.update(position - self.n)

    def show(self, step, losses, lr, data_state, cores):
        """Show the mean losses, learning rate and tokens per second since the last call.

        cores: a ``SharedCores``.
        """
        now = time.monotonic()
        throughput = self.tokens / max(now - self.since, 1e-9)
        self.tokens = 0
        self.since = now
        text = f"step {step:,} loss {losses['loss']:.3f}"
        if "nsp_accuracy" in losses:
            text += f" NSP {losses['nsp_accuracy']:.0%}"
        text += f" lr {lr:.1e} {throughput:,.0f} tokens/s"
        if "pass" in data_state:
            text += f" {stream_position(data_state)}"
        if cores.used_by_others > MUCH_SHARED * cores.total:
            text += f" (other programs use {cores.used_by_others:.1f} of {cores.total} cores)"
        self.set_postfix_str(text, refresh=False)


def stream_position(data_state):
    """Return how far a stream has read its corpus, from the state of its batches.

    >>> stream_position({"pass": 0, "read": (38_200_000, 1_120_000_000)})
    'pass 1, 38.2 of 1,120.0 MB'
    >>> stream_position({"pass": 2, "read": None})
    'pass 3'
    """
    text = f"pass {data_state['pass'] + 1}"
    if data_state.get("read"):
        done, total = data_state["read"]
        text += f", {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
    return text

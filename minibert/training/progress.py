"""The progress bar of a run."""
import sys
import time

from tqdm import tqdm

MUCH_SHARED = 0.1  # share of the cores used by other programs from which the bar shows it


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

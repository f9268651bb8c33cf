"""What may go wrong in training, and what is said then: what happened, what is saved, how to go on."""
import contextlib
import errno
import math
import shlex
import signal
import sys

from minibert.training.checkpoint import checkpoints
from tokenizer.utils.files import remove

MAX_SKIPPED = 20  # steps in a row whose gradient is no number, before the run gives up


def go_on(folder):
    """The command that goes on with a run."""
    return f"Go on with:  python train.py --resume --out {shlex.quote(str(folder))}"


def kept(folder):
    """What may be said of a run that fails: where it has a checkpoint, that it still has it; else nothing."""
    return " The last checkpoint is untouched." if checkpoints(folder) else ""


def where_it_goes_on(folder):
    """What is left of a run that has ended before its time, and the command that goes on from there; nothing where it is no run yet."""
    if not (folder / "config.json").is_file():
        return ""
    steps = [int(path.name.removeprefix("step-")) for path in checkpoints(folder)]
    left = f"The last checkpoint (step {steps[-1]:,}) is kept." if steps else "There is no checkpoint yet: training begins again at step 1."
    return f" {left} {go_on(folder)}"


def say_how_to_go_on(error, folder):
    """After what was no fault of the run: Ctrl-C, a full disk, a worker that was killed."""
    how = where_it_goes_on(folder)
    if how and (isinstance(error, (KeyboardInterrupt, ChildProcessError)) or getattr(error, "errno", None) == errno.ENOSPC):
        print(f"stopped.{how}", file=sys.stderr)


@contextlib.contextmanager
def how_to_go_on_told(folder):
    """Within, a run trains: where that ends by no fault of its own, its user is told what is left."""
    try:
        yield
    except BaseException as error:
        say_how_to_go_on(error, folder)
        raise


@contextlib.contextmanager
def whole_or_gone(folder, new, made):
    """Within, a run is made ready. Where its configuration or text cannot work, a new one leaves nothing that stands in the way of the next try.

    new: whether this process is the one that writes what is new in ``folder``; made: whether it made the folder itself
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, ValueError) and new:
            for name in ("config.json", "tokenizer", "data"):
                remove(folder / name)
        if made and not any(folder.iterdir()):
            folder.rmdir()
        else:
            say_how_to_go_on(error, folder)
        raise


@contextlib.contextmanager
def out_of_memory_told(folder, size=None, checkpointing=True):
    """What torch says of too little memory -> a ValueError that says what to do.

    size: how many examples are computed at once; None: it is not they that take the memory.  checkpointing: whether they take as little as
    --gradient-checkpointing leaves, or that would not help.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in ("out of memory", "DefaultCPUAllocator")):  # torch.OutOfMemoryError; a CPU
            raise
        if size is None:
            raise ValueError("out of memory, and not for a batch's examples: fewer of them would not help. Free what other programs hold, or begin "
                             "anew with a smaller model: a weight, its gradient and AdamW's two moments take 16 bytes." + kept(folder)) from error
        if size > 1:
            raise ValueError(f"out of memory with {size} examples at once: half of them fit more easily, and the result stays the same. "
                             f"{go_on(folder)} --micro-batch-size {size // 2}") from error
        less = f", or let it take less. {go_on(folder)} --gradient-checkpointing --may-differ gradient-checkpointing"
        raise ValueError("out of memory with one example: begin anew with a smaller model or a smaller --max-length"
                         + ("" if checkpointing else less)) from error


@contextlib.contextmanager
def lost_ranks_told(ranks, folder):
    """What torch says when another rank of the run has died, or refused to begin -> a line that says so, and exit code 1.

    The line is written at once, below a bar that the other may have left: torchrun, which has noticed as well, is about to send SIGTERM, which
    asks for nothing now.
    """
    try:
        yield
    except RuntimeError as error:
        if ranks.world == 1 or not any(word in str(error) for word in ("gloo", "NCCL", "Connection")):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("\nerror: another rank of this run has ended (anything it said stands above), so this one cannot go on."
              + where_it_goes_on(folder), file=sys.stderr, flush=True)
        raise SystemExit(1) from error


def refuse_nan(loss, step, folder):
    """ValueError for a loss that is no number."""
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss} at step {step:,}: try a lower --learning-rate or a longer --warmup.{kept(folder)}")


class Skips:
    """The steps that changed nothing, since their gradient was inf or NaN, taken out of the count of a run's ``state``.

    They are counted where the gradient is: a GPU that is asked stops for the answer, so it is asked once for many steps (``look``).
    "ahead": how many the schedule has not been told of yet. It hears of them at its own times alone, whenever else somebody looked.
    folder: of the run, for what is said of its checkpoints.

    >>> skips = Skips({"step": 2, "skipped": 0, "skipped_in_a_row": 0, "ahead": 0, "window_batches": 2}, None)
    >>> skips.add(False), skips.add(True), skips.look("bf16"), skips.state["step"], skips.look("bf16")
    (None, None, 1, 1, 0)
    """

    def __init__(self, state, folder):
        self.state, self.folder, self.broken, self.steps = state, folder, 0, 0

    def add(self, broken):
        """One step. broken (), bool, on its device: whether its gradient was inf or NaN"""
        self.broken, self.steps = self.broken + broken, self.steps + 1

    def look(self, precision, schedule=False):
        """Correct the state -> how many steps since the last look changed nothing. ValueError where ``MAX_SKIPPED`` in a row did.

        schedule: whether the schedule is told as well.
        """
        skipped, steps, state = int(self.broken), self.steps, self.state
        self.broken, self.steps = 0, 0
        state["skipped"] += skipped
        state["ahead"] = 0 if schedule else state["ahead"] + skipped
        for name in ("step", "window_batches"):
            state[name] -= skipped
        state["skipped_in_a_row"] = state["skipped_in_a_row"] + skipped if skipped == steps else 0
        refuse_skipped(state["skipped_in_a_row"], precision, self.folder)
        return skipped

    def tell(self, precision):
        """Look, and tell the schedule -> how many steps fewer it counts than it did."""
        ahead = self.state["ahead"]
        return ahead + self.look(precision, schedule=True)


def refuse_skipped(in_a_row, precision, folder):
    """ValueError where step after step has an inf or NaN in its gradient: with fp16, whatever the scale."""
    if in_a_row >= MAX_SKIPPED:
        remedy = "use --precision bf16 or fp32, or" if precision == "fp16" else "try a longer --warmup or"
        raise ValueError(f"{MAX_SKIPPED} {precision} steps in a row had inf or NaN in their gradient: {remedy} a lower --learning-rate."
                         + kept(folder))

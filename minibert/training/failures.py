"""What a failed run leaves: a clear error, the last checkpoint, and the command to resume."""
import contextlib
import errno
import shlex
import signal
import sys

from minibert.training.checkpoint import checkpoints
from tokenizer.utils.files import remove
from tokenizer.utils.terminal import plural

LOST_RANK = ("gloo", "NCCL", "Connection")  # in torch's message when another process has died
OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator")  # torch.OutOfMemoryError; on a CPU


def resume_command(folder):
    """Return the sentence that tells how to resume the run in ``folder``."""
    return f"Resume with:  python train.py --resume --out {shlex.quote(str(folder))}"


def resume_hint(folder):
    """Return what an interrupted run has saved and how to resume it; "" if it has saved nothing."""
    if not (folder / "config.json").is_file():
        return ""
    kept = "There is no checkpoint yet: training starts again at step 1."
    if saved := checkpoints(folder):
        step = int(saved[-1].name.removeprefix("step-"))
        kept = f"The last checkpoint (step {step:,}) is kept."
    return f"{kept} {resume_command(folder)}"


@contextlib.contextmanager
def explain_failures(run):
    """Within the block, turn failures of a run into errors that say what to do next."""
    try:
        with explain_lost_rank(run):
            yield
    except RuntimeError as error:
        if any(words in str(error) for words in OUT_OF_MEMORY):
            raise ValueError(out_of_memory_message(run)) from error
        raise
    except (KeyboardInterrupt, OSError) as error:
        # Ctrl-C, a full disk and a killed worker process are not the run's fault: it can resume.
        disk_full = getattr(error, "errno", None) == errno.ENOSPC
        if disk_full or isinstance(error, (KeyboardInterrupt, ChildProcessError)):
            if hint := resume_hint(run.folder):
                print(hint, file=sys.stderr)
        raise


@contextlib.contextmanager
def remove_unstarted(run):
    """Leave no files of a new run that does not train: after bad input, and after --profile."""
    is_bad_input = False  # after Ctrl-C or a full disk, resuming continues the preparation
    try:
        yield
    except ValueError:
        is_bad_input = True
        raise
    finally:
        if not run.has_started:
            if (is_bad_input or run.is_profile) and run.is_new and run.dist.is_main:
                for name in ("config.json", "tokenizer", "data", "checkpoints"):
                    remove(run.folder / name)
            if run.made_folder and not any(run.folder.iterdir()):
                run.folder.rmdir()


def out_of_memory_message(run):
    """Return the remedies for too little memory, the cheapest first."""
    size = run.config.effective_micro_batch_size
    resume = resume_command(run.folder)
    remedies = []
    if size > 1:
        remedies.append(f"fewer examples at once, which gives the same result. {resume} "
                        f"--micro-batch-size {size // 2}")
    if not run.config.gradient_checkpointing:
        remedies.append(f"less kept for the backward pass. {resume} "
                        "--gradient-checkpointing --may-differ gradient-checkpointing")
    remedies.append("a smaller model or --max-length, in a new run")
    return f"out of memory with {plural(size, 'example')} at once. Try " + "\nor ".join(remedies)


@contextlib.contextmanager
def explain_lost_rank(run):
    """Within the block, exit with code 1 and a clear message if another rank has died."""
    try:
        yield
    except RuntimeError as error:
        if run.dist.world_size == 1 or not any(word in str(error) for word in LOST_RANK):
            raise
        # torchrun has noticed too and is about to send SIGTERM, which must not interrupt this.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("\nerror: another rank of this run has died (see its message above), so this one "
              f"cannot continue. {resume_hint(run.folder)}".rstrip(), file=sys.stderr, flush=True)
        raise SystemExit(1) from error

"""One run of train.py: its folder, configuration and process, from the lock to the last error."""
import contextlib
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from minibert.config import BertConfig, TrainConfig
from minibert.device import choose_device, choose_precision, keep_freed_memory
from minibert.formats.run_folder import write_config
from minibert.training import cli
from minibert.training.distributed import Distributed
from minibert.training.failures import explain_failures, explain_lost_rank, remove_unstarted
from minibert.training.memory import available_memory, check_memory
from minibert.training.metrics import check_tensorboard
from tokenizer.utils.files import locked
from tokenizer.utils.signals import termination_as_interrupt


@dataclass
class Run:
    """What every part of a run needs to know."""

    folder: Path
    preset: str
    model_config: BertConfig
    config: TrainConfig
    dist: Distributed
    device: torch.device
    is_new: bool                 # not resumed
    is_profile: bool             # --profile: measure a few steps and leave nothing
    made_folder: bool = False    # by this process
    has_started: bool = False    # the preparation is over, training has begun

    @property
    def reuses_files(self):
        """Whether tokenizer and token files in the folder are taken as they are.

        A resumed run does, and so do the ranks that wait for rank 0 to write them.
        """
        return not self.is_new or not self.dist.is_main

    def write_config(self):
        write_config(self.folder, self.preset, self.model_config, self.config)

    def explain_lost_rank(self):
        return explain_lost_rank(self)

    def start(self):
        """Training begins: from now on the folder stays, to be resumed."""
        if self.dist.is_main:
            self.write_config()  # of a resumed run only now, when its checkpoint has been read
        self.has_started = True


@contextlib.contextmanager
def open_run(args):
    """Lock the run's folder and yield the Run; errors inside say what to do next.

    Raises ValueError for flags that cannot work; that leaves no folder behind.
    """
    with Distributed() as dist:
        run = make_run(args, dist)
        origin = f"from {run.config.init}" if run.config.init else f"preset {run.preset}"
        output = Output(sys.stdout, silent=not dist.is_main)
        with explain_failures(run):
            with dist.main_process_first():
                run.made_folder = not run.folder.exists()
                run.folder.mkdir(parents=True, exist_ok=True)  # at once: no other run takes it
            with locked_run(run.folder, dist.is_main), remove_unstarted(run):
                with contextlib.redirect_stdout(output):
                    print(f"run         {run.folder} ({origin})")
                    yield run


def make_run(args, dist):
    """Return the Run that the flags describe."""
    folder = Path(dist.broadcast_str(str(cli.run_folder(args))))
    preset, model_config, config = cli.configure(args, folder)
    device = dist.check_device(choose_device(config.device))
    # "auto" is decided once and written to config.json: a resumed run keeps its precision
    config = replace(config, precision=choose_precision(config.precision, device))
    check_memory(model_config, config, available_memory(device), dist.world_size)
    if config.tensorboard:
        check_tensorboard()
    torch.manual_seed(config.seed)
    if device.type == "cpu" and config.keep_freed_memory:
        keep_freed_memory()
    return Run(folder, preset, model_config, config, dist, device, not args.resume, args.profile)


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

    def __init__(self, stream, silent):
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

"""Several processes as a user starts them, under torchrun: signals to it, and a rank that is killed."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train_helpers import SMALL, losses

import train
from minibert.training import checkpoint

TRAIN = Path(__file__).parents[3] / "train.py"


def two_ranks(script, *flags, torchrun=()):
    """The command of two processes under torchrun, and what else ``subprocess`` is to be given."""
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun, "--nproc-per-node", "2", str(script), *SMALL, *map(str, flags)]
    return command, {"env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAIN.parent)}}


def started(until, *how, **named):
    """Two ranks, once they have said ``until`` -> the process of torchrun, with the screen of all three as its output."""
    command, environment = two_ranks(*how, **named)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **environment)
    for line in process.stdout:
        if until in line:  # behind a bar
            break
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torchrun_starts_a_run_and_a_signal_to_it_saves_it(text, tmp_path, number):
    """As a user starts it: two processes under torchrun; a signal to torchrun, which passes it on, then --resume by one process."""
    process = started("first loss", TRAIN, "--corpus", text, "--out", tmp_path / "run", "--max-steps", 100_000, "--save-every", 0)
    time.sleep(1)
    process.send_signal(number)
    rest = process.communicate(timeout=120)[0]
    assert checkpoint.checkpoints(tmp_path / "run"), rest
    step = int(checkpoint.checkpoints(tmp_path / "run")[-1].name.split("-")[1])
    assert step > 0
    assert train.main(["--resume", "--out", str(tmp_path / "run"), "--max-steps", str(step + 2), "--may-differ", "max-steps"]) == 0


@pytest.mark.slow
def test_two_compiled_ranks_compute_what_one_process_does(text, tmp_path):
    flags = ["--corpus", str(text), "--max-steps", "6"]
    train.main([*SMALL, *flags, "--out", str(tmp_path / "one")])
    command, environment = two_ranks(TRAIN, *flags, "--compile", "--out", tmp_path / "two")
    subprocess.run(command, check=True, **environment)
    for one, two in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-4)


SLOW_STEP = """
import sys, time
import train
real = train.Trainer.step
def slow(self, micros):
    if self.state.step == 4:
        print("the fifth step", flush=True)
        time.sleep(600)
    return real(self, micros)
train.Trainer.step = slow
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_step_that_outlasts_torchrun_s_patience_is_lost_and_the_last_checkpoint_goes_on(text, tmp_path):
    """torchrun kills what has not ended so many seconds after the signal (30, or --shutdown-timeout): nothing can be saved then."""
    from torch.distributed.run import get_args_parser
    if "--shutdown-timeout" not in get_args_parser().format_help():
        pytest.skip("this torchrun always waits 30 seconds")
    (tmp_path / "slow.py").write_text(SLOW_STEP)
    process = started("the fifth step", tmp_path / "slow.py", "--corpus", text, "--out", tmp_path / "run", "--max-steps", 9, "--save-every", 2,
                      torchrun=("--shutdown-timeout", "2"))
    process.send_signal(signal.SIGTERM)
    assert "forcefully exiting via" in process.communicate(timeout=120)[0]
    assert checkpoint.checkpoints(tmp_path / "run")[-1].name == "step-0000004"
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run")[-1][0] == 9


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in Linux's /proc")
@pytest.mark.parametrize("who", ["0", "1"])
def test_a_rank_that_is_killed_under_torchrun_is_told_of_by_the_other(text, tmp_path, who):
    process = started("first loss", TRAIN, "--corpus", text, "--out", tmp_path / "run", "--max-steps", 100_000, "--save-every", 0)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"RANK={who}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            os.kill(int(child), signal.SIGKILL)
    rest = process.communicate(timeout=120)[0]
    assert "error: another rank of this run has died" in rest and f"--resume --out {tmp_path / 'run'}" in rest and "stopping" not in rest
    flags = ["--max-steps", "3", "--may-differ", "max-steps"]
    assert train.main(["--resume", "--out", str(tmp_path / "run"), *flags]) == 0 and losses(tmp_path / "run")[-1][0] == 3

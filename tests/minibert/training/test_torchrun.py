"""Two ranks under torchrun, as a user starts them: signals, and a rank that is killed."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ROOT
from torch.distributed.run import get_args_parser
from train_helpers import SMALL, checkpoint_names, last_state, losses, resume, run

pytestmark = pytest.mark.slow
ENDLESS = ["--max-steps", "100000", "--save-every", "0"]


def start_torchrun(text, out, *flags, script="train.py", torchrun_flags=()):
    """Start two ranks. The standard output of torchrun's process is that of all three."""
    command = [sys.executable, "-m", "torch.distributed.run", *torchrun_flags,
               "--nproc-per-node", "2", str(script),
               *SMALL, "--corpus", str(text), "--out", str(out), *flags]
    python_path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"torchrun has ended without printing {words}")


def finish(process):
    """Wait until torchrun has ended. Return what was printed."""
    return process.communicate(timeout=120)[0]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_torchrun_saves_a_checkpoint_that_one_process_resumes(text, tmp_path, signum):
    out = tmp_path / "run"
    process = start_torchrun(text, out, *ENDLESS)
    wait_for(process, "first loss")
    time.sleep(1)
    process.send_signal(signum)
    printed = finish(process)
    assert checkpoint_names(out), printed
    step = last_state(out)["step"]
    assert step > 0
    assert resume(out, "--max-steps", str(step + 2)) == 0


def test_two_compiled_ranks_compute_what_one_process_does(text, tmp_path):
    run(text, tmp_path / "one", "--max-steps", "6")
    finish(start_torchrun(text, tmp_path / "two", "--max-steps", "6", "--compile"))
    for one, two in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-4)


SLOW_FIFTH_STEP = """
import sys
import time

import train
from train_helpers import start

class SlowTrainer(train.Trainer):
    def step(self, micro_batches):
        if self.state.step == 4:
            print("the fifth step", flush=True)
            time.sleep(600)
        return super().step(micro_batches)

sys.exit(start(sys.argv[1:], SlowTrainer))
"""


@pytest.mark.skipif("--shutdown-timeout" not in get_args_parser().format_help(),
                    reason="this torchrun always waits 30 seconds")
def test_a_step_longer_than_torchrun_waits_is_lost_but_not_the_last_checkpoint(text, tmp_path):
    """After the signal torchrun waits --shutdown-timeout seconds, then it kills the ranks."""
    out, script = tmp_path / "run", tmp_path / "slow.py"
    script.write_text(SLOW_FIFTH_STEP)
    process = start_torchrun(text, out, "--max-steps", "9", "--save-every", "2", script=script,
                             torchrun_flags=["--shutdown-timeout", "2"])
    wait_for(process, "the fifth step")
    process.send_signal(signal.SIGTERM)
    assert "forcefully exiting via" in finish(process)
    assert checkpoint_names(out)[-1] == "step-0000004"
    assert resume(out) == 0
    assert losses(out)[-1][0] == 9


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds children in Linux's /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_if_one_rank_is_killed_the_other_prints_how_to_resume(text, tmp_path, rank):
    out = tmp_path / "run"
    process = start_torchrun(text, out, *ENDLESS)
    wait_for(process, "first loss")
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if f"RANK={rank}" in Path(f"/proc/{child}/environ").read_text().split("\0"):
            os.kill(int(child), signal.SIGKILL)
    printed = finish(process)
    assert "error: another rank of this run has died" in printed
    assert f"--resume --out {out}" in printed
    assert resume(out, "--max-steps", "3") == 0
    assert losses(out)[-1][0] == 3

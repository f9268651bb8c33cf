"""Several processes train one model: what they compute together is what one computes alone."""
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from train_helpers import PAIRS, SMALL, StopAfter, losses, run, weights

import train
from minibert import checkpoint

TRAIN = Path(__file__).parents[1] / "train.py"
FORK = multiprocessing.get_context("fork")  # torch is loaded already


def rank_of(rank, world, port, work, failed):
    """In a new process: what torchrun sets, then the work."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="localhost", MASTER_PORT=str(port))
    try:
        code = work(rank)
    except BaseException:
        failed.put((rank, traceback.format_exc()))
        raise
    os._exit(code or 0)


def together(world, work):
    """Run ``work(rank)`` in ``world`` processes -> their exit codes, and what failed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    failed = FORK.SimpleQueue()
    processes = [FORK.Process(target=rank_of, args=(rank, world, port, work, failed)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    said = []
    while not failed.empty():
        said.append(failed.get())
    return [process.exitcode for process in processes], dict(said)


@pytest.mark.parametrize("flags", [
    pytest.param([], id="blocks"),
    pytest.param(["--examples", "lines", "--epochs", "1", "--batch-size", "10"], id="last-batch-of-one"),
    pytest.param(["--examples", "lines", "--micro-batch-size", "2", "--batch-size", "5"], id="three-and-two-in-micro-batches"),
    pytest.param(PAIRS, id="pairs"),
    pytest.param(["--optimizer", "muon", "--batch-ramp", "0.5", "--ramp-from", "2", "--batch-size", "6"], id="muon-ramp"),
    pytest.param(["--stream"], id="stream"),
])
def test_two_ranks_compute_what_one_process_does(text, tmp_path, flags):
    """The same losses, norms and weights, but for rounding, although the shares have different numbers of masked tokens and of micro-batches."""
    flags = [*flags, *([] if "--epochs" in flags else ["--max-steps", "6"])]
    assert run(text, tmp_path / "one", *flags) == 0
    codes, failed = together(2, lambda rank: run(text, tmp_path / "two", *flags))
    assert codes == [0, 0], failed
    alone, shared = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(alone) == len(shared) and len(alone) >= 6
    for one, two in zip(alone, shared):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_a_run_goes_on_with_another_number_of_ranks(text, tmp_path, monkeypatch):
    """Six steps by one process; three by one process and three by two ranks: one log, one checkpoint, the same losses and weights."""
    run(text, tmp_path / "one", "--max-steps", "6")
    monkeypatch.setattr(train, "StopRequest", type("Stop", (StopAfter,), {"looks": 3}))
    assert run(text, tmp_path / "two", "--max-steps", "6") == 130
    monkeypatch.undo()
    codes, failed = together(2, lambda rank: train.main(["--resume", "--out", str(tmp_path / "two")]))
    assert codes == [0, 0], failed
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "two")] == ["step-0000003", "step-0000006"]
    for one, two in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_a_profile_of_two_ranks_is_drawn_once(text, tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.profile.REPEATS", 1)
    codes, failed = together(2, lambda rank: run(text, tmp_path / "run", "--max-steps", "6", "--profile"))
    assert codes == [0, 0], failed
    assert not (tmp_path / "run/checkpoints").exists()


def test_all_ranks_stop_when_one_is_asked_to(text, tmp_path, monkeypatch):
    class Asked(train.StopRequest):
        """Rank 1 is asked to stop after its third look; rank 0 never."""
        looks = 0

        @property
        def requested(self):
            self.looks += 1
            return os.environ["RANK"] == "1" and self.looks > 3

        @requested.setter
        def requested(self, value):
            pass

    monkeypatch.setattr(train, "StopRequest", Asked)
    codes, failed = together(2, lambda rank: run(text, tmp_path / "run", "--max-steps", "50"))
    assert codes == [130, 130], failed
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000003"]


@pytest.mark.parametrize("who", [(0, 1), (1,)], ids=["all", "one"])
def test_sigterm_in_the_middle_of_a_step_finishes_it_on_all_ranks(text, tmp_path, who):
    """A real signal, after the gradients are added up and before the weights move; in one rank a moment later than in the other."""
    def work(rank):
        calls, real = [], torch.nn.utils.clip_grad_norm_

        def terminated(parameters, limit):
            calls.append(1)
            if len(calls) == 3 + rank and rank in who:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(parameters, limit)
        torch.nn.utils.clip_grad_norm_ = terminated
        return run(text, tmp_path / "run", "--max-steps", "50")

    codes, failed = together(2, work)
    assert codes == [130, 130], failed
    step = 3 if 0 in who else 4
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == [f"step-000000{step}"]
    assert train.main(["--resume", "--out", str(tmp_path / "run"), "--max-steps", "6", "--may-differ", "max-steps"]) == 0
    assert [line[0] for line in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_rank_that_dies_ends_the_others_with_a_clear_error_and_a_checkpoint_that_goes_on(text, tmp_path):
    def work(rank):
        if rank == 1:
            real = train.Trainer.optimiser_step

            def dying(self, batches):
                if self.state["step"] == 5:
                    os._exit(9)
                return real(self, batches)
            train.Trainer.optimiser_step = dying
        return run(text, tmp_path / "run", "--max-steps", "20", "--save-every", "2")

    codes, failed = together(2, work)
    assert codes == [1, 9]
    assert "another rank of this run has ended" in failed[0] and "python train.py --resume --out" in failed[0]
    assert checkpoint.checkpoints(tmp_path / "run")[-1].name == "step-0000004"
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run")[-1][0] == 20


def test_a_mistake_that_the_first_rank_finds_ends_all_and_leaves_nothing(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    codes, failed = together(2, lambda rank: run(empty, tmp_path / "run", "--max-steps", "3"))
    assert codes == [1, 1] and "empty" in failed[0]
    assert "another rank of this run has ended" in failed[1] and "Go on with" not in failed[1]
    assert not (tmp_path / "run").exists()


def test_micro_batches_are_added_up_over_ranks_once_a_step(text, tmp_path):
    """DDP decides in the forward pass whether the backward pass will add up: both must stand in ``gradients_stay``."""
    counts = FORK.SimpleQueue()

    def work(rank):
        calls, real = [], train.Trainer.optimiser_step

        def counted(self, batches):
            if not calls:
                self.parallel.register_comm_hook(None, lambda state, bucket: (calls.append(bucket.is_last()), all_reduced(bucket))[1])
                calls.append(False)
            return real(self, batches)
        train.Trainer.optimiser_step = counted
        code = run(text, tmp_path / "run", "--max-steps", "3", "--batch-size", "8", "--micro-batch-size", "1")
        counts.put(sum(calls))
        return code

    codes, failed = together(2, work)
    assert codes == [0, 0], failed
    assert [counts.get(), counts.get()] == [3, 3]


def all_reduced(bucket):
    """What DDP does without a hook."""
    work = torch.distributed.all_reduce(bucket.buffer().div_(2), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


@pytest.mark.parametrize("flags", [[], PAIRS])
def test_the_sum_of_losses_goes_on_over_a_stop(text, tmp_path, monkeypatch, flags):
    """Lines of metrics are means of ten steps; two ranks stop after the fifth and go on: the tenth step's line is that of one process."""
    flags = [*flags, "--log-every", "10", "--max-steps", "10"]
    run(text, tmp_path / "one", *flags)
    monkeypatch.setattr(train, "StopRequest", type("Stop", (StopAfter,), {"looks": 5}))
    codes, failed = together(2, lambda rank: run(text, tmp_path / "two", *flags))
    assert codes == [130, 130], failed
    monkeypatch.undo()
    codes, failed = together(2, lambda rank: train.main(["--resume", "--out", str(tmp_path / "two")]))
    assert codes == [0, 0], failed
    assert losses(tmp_path / "two")[-1] == pytest.approx(losses(tmp_path / "one")[-1], abs=1e-5)


def test_two_ranks_leave_one_log_of_json_lines(text, tmp_path):
    codes, failed = together(2, lambda rank: run(text, tmp_path / "run", "--max-steps", "4", "--eval-every", "2"))
    assert codes == [0, 0], failed
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "eval_loss" in line] == [2, 4, 4]


def test_dropout_differs_between_ranks(text, tmp_path):
    """Two ranks with dropout must not drop the same: otherwise half of the noise is lost."""
    draws = FORK.SimpleQueue()

    def work(rank):
        real = train.Trainer.loop

        def loop(self, stop):
            draws.put((rank, torch.rand(1).item()))
            return real(self, stop)
        train.Trainer.loop = loop
        return run(text, tmp_path / "run", "--max-steps", "1", "--hidden-dropout-prob", "0.5")

    assert together(2, work)[0] == [0, 0]
    (_, one), (_, two) = draws.get(), draws.get()
    assert one != two


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_torchrun_starts_a_run_and_a_signal_to_it_saves_it(text, tmp_path, number):
    """As a user starts it: two processes under torchrun; a signal to torchrun, which passes it on, then --resume by one process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(TRAIN), *SMALL, "--corpus", str(text), "--out",
               str(tmp_path / "run"), "--max-steps", "100000", "--save-every", "0"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if line.startswith("first loss"):
            break
    time.sleep(1)
    process.send_signal(number)
    rest = process.communicate(timeout=120)[0]
    assert checkpoint.checkpoints(tmp_path / "run"), rest
    step = int(checkpoint.checkpoints(tmp_path / "run")[-1].name.split("-")[1])
    assert step > 0
    assert train.main(["--resume", "--out", str(tmp_path / "run"), "--max-steps", str(step + 2), "--may-differ", "max-steps"]) == 0


SLOW_STEP = """
import sys, time
import train
real = train.Trainer.optimiser_step
def slow(self, micros):
    if self.state["step"] == 4:
        print("the fifth step", flush=True)
        time.sleep(600)
    return real(self, micros)
train.Trainer.optimiser_step = slow
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_step_that_outlasts_torchrun_s_patience_is_lost_and_the_last_checkpoint_goes_on(text, tmp_path):
    """torchrun kills what has not ended so many seconds after the signal (30, or --shutdown-timeout): nothing can be saved then."""
    from torch.distributed.run import get_args_parser
    if "--shutdown-timeout" not in get_args_parser().format_help():
        pytest.skip("this torchrun always waits 30 seconds")
    (tmp_path / "slow.py").write_text(SLOW_STEP)
    command = [sys.executable, "-m", "torch.distributed.run", "--shutdown-timeout", "2", "--nproc-per-node", "2", str(tmp_path / "slow.py"), *SMALL,
               "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "9", "--save-every", "2"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAIN.parent)}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "the fifth step" in line:  # behind a bar
            break
    process.send_signal(signal.SIGTERM)
    assert "forcefully exiting via" in process.communicate(timeout=120)[0]
    assert checkpoint.checkpoints(tmp_path / "run")[-1].name == "step-0000004"
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run")[-1][0] == 9

"""Several processes train one model: together they compute what one process computes alone."""
import os
import signal
import warnings
from types import SimpleNamespace

import pytest
import torch
from train_helpers import (
    FORK,
    PAIRS,
    assert_close_runs,
    checkpoint_names,
    free_port,
    losses,
    resume,
    run,
    run_ranks,
    stopped_in_step,
)

import train
from minibert.training.distributed import Distributed
from minibert.training.failures import explain_lost_rank


@pytest.mark.parametrize("world_size, flags", [
    pytest.param(2, "--optimizer adamw --average 2", id="blocks"),
    pytest.param(2, "--examples lines --epochs 1 --batch-size 58", id="last-batch-of-one"),
    pytest.param(3, "--examples lines --batch-size 2", id="a-rank-without-an-example"),
    pytest.param(3, " ".join(PAIRS) + " --batch-size 2", id="a-rank-without-a-pair"),
    pytest.param(2, "--stream --batch-ramp 0.5 --ramp-from 2 --batch-size 6", id="stream"),
    pytest.param(2, "--objective causal --examples lines --micro-batch-size 2 --batch-size 5",
                 id="causal-micro-batches"),
    pytest.param(2, "--objective span-corruption --vocab-size 420 --examples lines", id="spans"),
])
def test_several_ranks_compute_what_one_process_does(text, tmp_path, world_size, flags):
    """Although their shards have different numbers of masked tokens and of micro-batches."""
    flags = ["--eval-every", "4", *flags.split()]
    if "--epochs" not in flags:
        flags += ["--max-steps", "6"]
    assert run(text, tmp_path / "one", *flags) == 0
    run_ranks(world_size, lambda rank: run(text, tmp_path / "two", *flags))
    assert len(losses(tmp_path / "one")) >= 6
    assert_close_runs(tmp_path / "one", tmp_path / "two")


def test_a_run_resumes_with_another_number_of_ranks(text, tmp_path):
    """The log line of step 6 is a mean of six steps, three before and three after the stop."""
    flags = [*PAIRS, "--log-every", "6", "--max-steps", "6"]
    run(text, tmp_path / "one", *flags)
    stopped = stopped_in_step(3)
    run_ranks(2, lambda rank: run(text, tmp_path / "two", *flags, trainer=stopped), [130, 130])
    run_ranks(3, lambda rank: resume(tmp_path / "two"))
    assert checkpoint_names(tmp_path / "two") == ["step-0000003", "step-0000006"]
    assert_close_runs(tmp_path / "one", tmp_path / "two")


def test_two_ranks_can_be_profiled(text, tmp_path):
    run_ranks(2, lambda rank: run(text, tmp_path / "run", "--max-steps", "6", "--profile"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("signaled", [(0, 1), (1,)], ids=["all", "one"])
def test_sigterm_to_any_rank_finishes_the_step_on_all_ranks(text, tmp_path, signaled):
    """With two signals the second comes a step later."""
    def work(rank):
        trainer = stopped_in_step(3 + rank, signal.SIGTERM) if rank in signaled else None
        return run(text, tmp_path / "run", "--max-steps", "50", trainer=trainer)

    run_ranks(2, work, [130, 130])
    assert checkpoint_names(tmp_path / "run") == [f"step-000000{3 + signaled[0]}"]
    assert resume(tmp_path / "run", "--max-steps", "6") == 0
    assert [line[0] for line in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


LOST = "error: another rank of this run has died"


@pytest.mark.parametrize("killed, save_every, hint", [
    (0, 2, "The last checkpoint (step 4) is kept."),
    (1, 0, "There is no checkpoint yet: training starts again at step 1."),
])
def test_a_rank_that_is_killed_ends_the_others_with_one_error(
        text, tmp_path, capfd, killed, save_every, hint):
    def work(rank):
        trainer = stopped_in_step(6, signal.SIGKILL) if rank == killed else None
        return run(text, tmp_path / "run", "--max-steps", "8", "--save-every", str(save_every),
                   trainer=trainer)

    run_ranks(2, work, [-9, 1] if killed == 0 else [1, -9])
    printed = capfd.readouterr().err
    assert printed.count(LOST) == 1
    assert f"{hint} Resume with:  python train.py --resume --out {tmp_path / 'run'}" in printed
    assert resume(tmp_path / "run") == 0
    assert losses(tmp_path / "run")[-1][0] == 8


def test_torchruns_sigterm_does_not_interrupt_the_error_about_a_lost_rank(tmp_path):
    run = SimpleNamespace(folder=tmp_path, dist=SimpleNamespace(world_size=2))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit), explain_lost_rank(run):
            raise RuntimeError("gloo: connection closed by peer")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_mistake_that_the_first_rank_finds_ends_all_and_leaves_nothing(tmp_path, capfd):
    (tmp_path / "empty.txt").write_text("\n")

    def work(rank):
        return run(tmp_path / "empty.txt", tmp_path / "run", "--max-steps", "3")

    assert "empty" in run_ranks(2, work, [1, 1])[0]
    assert LOST in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_clock_of_the_first_rank_and_a_stop_of_any_rank_decide():
    decisions = FORK.SimpleQueue()

    def work(rank):
        with Distributed() as dist:
            decisions.put(dist.agree_on_stop(False, 10.0 + rank))
            decisions.put(dist.agree_on_stop(rank == 1, 20.0 + rank))

    run_ranks(2, work)
    decided = sorted(decisions.get() for _ in range(4))
    assert decided == [(False, 10.0), (False, 10.0), (True, 20.0), (True, 20.0)]


@pytest.mark.parametrize("num_gpus, local_ranks, backend, gpu", [
    (2, 2, "cpu:gloo,cuda:nccl", [1]), (2, 4, "gloo", []), (1, 2, "gloo", []), (0, 2, "gloo", [])])
def test_each_rank_takes_its_own_gpu_or_none_does(
        monkeypatch, num_gpus, local_ranks, backend, gpu):
    """The second process of a machine, of eight in all."""
    chosen, backends = [], []
    environment = {"RANK": 5, "LOCAL_RANK": 1, "WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": local_ranks}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.distributed, "init_process_group",
                        lambda backend, timeout: backends.append(backend))
    dist = Distributed()
    assert (backends, chosen) == ([backend], gpu)
    cuda = torch.device("cuda")
    if num_gpus >= local_ranks:
        assert dist.check_device(cuda) == cuda
    else:
        with pytest.raises(ValueError, match=f"--nproc-per-node {num_gpus}, or --device cpu$"):
            dist.check_device(cuda)


def all_reduce(bucket):
    """Do what DDP does without a hook."""
    work = torch.distributed.all_reduce(bucket.buffer().div_(2), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def test_gradients_are_all_reduced_once_a_step_and_buffers_never(text, tmp_path):
    num_all_reduces = FORK.SimpleQueue()

    class CountingTrainer(train.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            self.count = 0
            self.step_model.register_comm_hook(None, self.count_buckets)
            assert not self.step_model.will_sync_module_buffers()  # the rotary tables

        def count_buckets(self, state, bucket):
            self.count += bucket.is_last()
            return all_reduce(bucket)

        def fit(self):
            code = super().fit()
            num_all_reduces.put(self.count)
            return code

    def work(rank):
        warnings.simplefilter("error", FutureWarning)
        flags = "--family modernbert --max-steps 3 --batch-size 8 --micro-batch-size 1"
        return run(text, tmp_path / "run", *flags.split(), trainer=CountingTrainer)

    run_ranks(2, work)
    assert [num_all_reduces.get(), num_all_reduces.get()] == [3, 3]


def test_ranks_draw_different_dropout_masks(text, tmp_path):
    draws = FORK.SimpleQueue()

    class DrawingTrainer(train.Trainer):
        def fit(self):
            draws.put(torch.rand(1).item())
            return 0

    run_ranks(2, lambda rank: run(text, tmp_path / "run", "--max-steps", "1",
                                  trainer=DrawingTrainer))
    assert draws.get() != draws.get()


def test_leaving_does_not_wait_for_a_thread_that_waits_for_python():
    """DDP is freed while gloo's thread frees the tensor of the last all-reduce."""
    ports = FORK.SimpleQueue()

    def work(rank):
        for _ in range(20):
            # Not all ports at once: a connection of gloo could take a later one meanwhile.
            port = free_port() if rank == 0 else ports.get()
            if rank == 0:
                ports.put(port)
            os.environ["MASTER_PORT"] = str(port)
            with Distributed() as dist:
                model = dist.wrap(torch.nn.Linear(8, 8))
                model(torch.ones(2, 8)).sum().backward()
                dist.sum(1.0)
            del model

    run_ranks(2, work)

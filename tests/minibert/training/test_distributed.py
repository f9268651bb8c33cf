"""Several processes train one model: what they compute together is what one computes alone."""
import json
import multiprocessing
import os
import signal
import socket
import traceback
import warnings

import pytest
import torch
from train_helpers import PAIRS, losses, run, stop_after, weights

import train
from minibert.training import checkpoint
from minibert.training.distributed import Distributed
from minibert.training.progress import ProgressBar

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


@pytest.mark.parametrize("world, flags", [
    pytest.param(2, [], id="blocks"),
    pytest.param(2, ["--examples", "lines", "--epochs", "1", "--batch-size", "10"], id="last-batch-of-one"),
    pytest.param(3, ["--examples", "lines", "--batch-size", "2"], id="a-rank-without-an-example"),
    pytest.param(3, [*PAIRS, "--batch-size", "2"], id="a-rank-without-a-pair"),
    pytest.param(2, ["--examples", "lines", "--micro-batch-size", "2", "--batch-size", "5"], id="three-and-two-in-micro-batches"),
    pytest.param(2, PAIRS, id="pairs"),
    pytest.param(2, ["--optimizer", "muon", "--batch-ramp", "0.5", "--ramp-from", "2", "--batch-size", "6"], id="muon-ramp"),
    pytest.param(2, ["--stream"], id="stream"),
])
def test_several_ranks_compute_what_one_process_does(text, tmp_path, world, flags):
    """The same losses, norms and weights, but for rounding, although the shares have different numbers of masked tokens and of micro-batches."""
    flags = [*flags, *([] if "--epochs" in flags else ["--max-steps", "6"])]
    assert run(text, tmp_path / "one", *flags) == 0
    codes, failed = together(world, lambda rank: run(text, tmp_path / "two", *flags))
    assert codes == [0] * world, failed
    alone, shared = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(alone) == len(shared) and len(alone) >= 6
    for one, two in zip(alone, shared):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_a_run_goes_on_with_another_number_of_ranks(text, tmp_path, monkeypatch):
    """Six steps by one process; three by one process and three by two ranks: one log, one checkpoint, the same losses and weights."""
    run(text, tmp_path / "one", "--max-steps", "6")
    stop_after(monkeypatch, 3)
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
    monkeypatch.setattr("minibert.training.profiling.REPEATS", 1)
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


LOST = "error: another rank of this run has died (see its message above), so this one cannot continue."


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("save_every, left", [("2", "The last checkpoint (step 4) is kept."),
                                              ("0", "There is no checkpoint yet: training starts again at step 1.")])
def test_a_rank_that_is_killed_ends_the_others_with_a_clear_error_and_a_run_that_goes_on(text, tmp_path, capfd, who, save_every, left):
    def work(rank):
        if rank == who:
            real = train.Trainer.step

            def killed(self, batches):
                if self.state.step == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(self, batches)
            train.Trainer.step = killed
        return run(text, tmp_path / "run", "--max-steps", "20", "--save-every", save_every)

    codes, _ = together(2, work)
    assert codes == ([-9, 1] if who == 0 else [1, -9])
    said = capfd.readouterr().err.splitlines()
    assert said.count(f"{LOST} {left} Resume with:  python train.py --resume --out {tmp_path / 'run'}") == 1
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run")[-1][0] == 20


def test_a_lost_rank_is_told_before_torchrun_s_sigterm_and_nothing_else_is(text, tmp_path, capfd):
    """One signal while the loop's thread is closed, one when all is restored: the line stands there already, and is not contradicted."""
    def work(rank):
        def torchrun(call):
            def terminated(self, *arguments):
                os.kill(os.getpid(), signal.SIGTERM)
                return call(self, *arguments)
            return terminated

        def killed(self, batches):
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 0:
            train.Trainer.step = killed
        ProgressBar.close = torchrun(ProgressBar.close)
        Distributed.__exit__ = torchrun(Distributed.__exit__)
        return run(text, tmp_path / "run", "--max-steps", "20")

    assert together(2, work)[0] == [-9, -15]
    said = capfd.readouterr().err
    assert LOST in said and "stopping" not in said


def test_a_mistake_that_the_first_rank_finds_ends_all_and_leaves_nothing(tmp_path, capfd):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    codes, failed = together(2, lambda rank: run(empty, tmp_path / "run", "--max-steps", "3"))
    assert codes == [1, 1] and "empty" in failed[0]
    assert LOST in capfd.readouterr().err.splitlines()  # no way to go on: there is no run
    assert not (tmp_path / "run").exists()


def test_the_clock_of_the_first_rank_and_a_stop_of_any_decide():
    heard = FORK.SimpleQueue()

    def work(rank):
        with Distributed() as dist:
            heard.put([dist.agree_on_stop(False, 10.0 + rank), dist.agree_on_stop(rank == 1, 20.0 + rank)])

    codes, failed = together(2, work)
    assert codes == [0, 0], failed
    assert [heard.get(), heard.get()] == [[(False, 10.0), (True, 20.0)]] * 2


@pytest.mark.parametrize("cards, local, backend, mine", [(2, 2, "cpu:gloo,cuda:nccl", [1]), (2, 4, "gloo", []), (1, 2, "gloo", []),
                                                         (0, 2, "gloo", [])])
def test_each_rank_takes_a_gpu_of_its_own_or_none_does(monkeypatch, cards, local, backend, mine):
    """Eight ranks on several machines; with fewer cards than ranks only a run on the CPU is possible."""
    taken, begun = [], []
    for name, value in (("RANK", 5), ("LOCAL_RANK", 1), ("WORLD_SIZE", 8), ("LOCAL_WORLD_SIZE", local)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, timeout: begun.append(backend))
    dist = Distributed()
    assert begun == [backend] and taken == mine
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert dist.check_device(cpu) == cpu
    if cards >= local:
        assert dist.check_device(cuda) == cuda
    elif cards:
        with pytest.raises(ValueError, match=f"{local} ranks but {cards} GPU.*--nproc-per-node {cards}, or --device cpu$"):
            dist.check_device(cuda)


def test_a_run_asks_whether_each_rank_has_a_gpu(text, tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.training.run.choose_device", lambda name: torch.device("cuda"))
    codes, failed = together(2, lambda rank: (setattr(Distributed, "check_device", refused), run(text, tmp_path / "run"))[1])
    assert codes == [1, 1] and "ValueError: cuda is refused" in failed[0] and not (tmp_path / "run").exists()


def refused(dist, device):
    raise ValueError(f"{device} is refused")


def test_ddp_warns_of_nothing_and_sends_no_tables(text, tmp_path):
    def work(rank):
        warnings.simplefilter("error", FutureWarning)
        torch.nn.parallel.DistributedDataParallel._sync_buffers = None
        return run(text, tmp_path / "run", "--max-steps", "2", "--family", "modernbert")

    codes, failed = together(2, work)
    assert codes == [0, 0], failed


def test_micro_batches_are_added_up_over_ranks_once_a_step(text, tmp_path):
    """DDP decides in the forward pass whether the backward pass will add up: both must stand in ``gradient_sync``."""
    counts = FORK.SimpleQueue()

    def work(rank):
        calls, real = [], train.Trainer.step

        def counted(self, batches):
            if not calls:
                self.train_model.register_comm_hook(None, lambda state, bucket: (calls.append(bucket.is_last()), all_reduced(bucket))[1])
                calls.append(False)
            return real(self, batches)
        train.Trainer.step = counted
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
    stop_after(monkeypatch, 5)
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
        real = train.Trainer.fit

        def fit(self):
            draws.put((rank, torch.rand(1).item()))
            return real(self)
        train.Trainer.fit = fit
        return run(text, tmp_path / "run", "--max-steps", "1", "--hidden-dropout-prob", "0.5")

    assert together(2, work)[0] == [0, 0]
    (_, one), (_, two) = draws.get(), draws.get()
    assert one != two

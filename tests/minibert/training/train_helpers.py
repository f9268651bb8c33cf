"""Small runs of train.py, and what they leave."""
import json
import math
import multiprocessing
import os
import signal
import socket
import traceback

import pytest
import torch

import train
from minibert import from_pretrained
from minibert.training import checkpoint, cli
from minibert.training.preparation import prepare_data
from minibert.training.run import open_run

SMALL = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 "
         "--vocab-size 300 --max-length 16 --batch-size 4 --warmup 0.1 --device cpu "
         "--precision fp32 --log-every 1 --eval-every 0 --eval-examples 8").split()
FORK = multiprocessing.get_context("fork")  # a forked process need not import torch again
PAIRS = "--examples pairs --family bert --type-vocab-size 2".split()


def run(text, out, *flags, trainer=None):
    """Run train.py on a text; trainer: a subclass of Trainer to use."""
    small = list(SMALL)
    if "--tokenizer" in flags or "--data" in flags:  # which have a vocabulary
        i = small.index("--vocab-size")
        del small[i:i + 2]
    return start([*small, "--corpus", str(text), "--out", str(out), *flags], trainer)


def resume(out, *flags, trainer=None):
    return start(["--resume", "--out", str(out), *flags], trainer)


def start(argv, trainer_class=None):
    """Do what train.main does, with another class of Trainer if one is given."""
    if trainer_class is None:
        return train.main(argv)
    with open_run(cli.parse(argv)) as opened:
        trainer = trainer_class(opened, prepare_data(opened))
        trainer.restore()
        return trainer.fit()


def stopped_in_step(step, signum=signal.SIGINT):
    """Return a Trainer that gets a signal in its N-th step: Ctrl-C, or SIGTERM."""
    class StoppedTrainer(train.Trainer):
        def step(self, micro_batches):
            if self.state.step == step - 1:
                os.kill(os.getpid(), signum)
            return super().step(micro_batches)
    return StoppedTrainer


def failing_in_step(step, error):
    """Return a Trainer that raises an error in its N-th step."""
    class FailingTrainer(train.Trainer):
        def step(self, micro_batches):
            if self.state.step == step - 1:
                raise error
            return super().step(micro_batches)
    return FailingTrainer


def with_bad_gradients(*calls, value=math.inf):
    """Return a Trainer with inf or NaN gradients in these calls of ``step``, counted from 1."""
    class BadGradientsTrainer(train.Trainer):
        num_calls = 0

        def step(self, micro_batches):
            self.num_calls += 1
            hook = self.model.bert.embeddings.token.weight.register_hook(self.change)
            result = super().step(micro_batches)
            hook.remove()
            return result

        def change(self, grad):
            return grad + value if self.num_calls in calls else grad
    return BadGradientsTrainer


def make_trainer(text, out, *flags):
    """Return the Trainer of a new run, ready to train."""
    trainers = []

    class UntrainedTrainer(train.Trainer):
        def fit(self):
            trainers.append(self)
            return 0

    run(text, out, *flags, trainer=UntrainedTrainer)
    return trainers[0]


def first_gradients(text, out, *flags):
    """Return the gradients of a run's first step, one for each parameter."""
    gradients = []

    class RecordingTrainer(train.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            self.optimizer.register_step_pre_hook(self.record)

        def record(self, *args):
            if not gradients:
                gradients.extend(p.grad.clone() for p in self.model.parameters())

    unclipped = ["--max-steps", "1", "--max-grad-norm", "0"]
    run(text, out, *unclipped, *flags, trainer=RecordingTrainer)
    return gradients


def metrics(run):
    """Return the lines of a run's metrics.jsonl, the first of which holds the expected losses."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run):
    """Return [(step, loss, gradient norm, learning rate)] of a run's training steps."""
    return [(line["step"], line["loss"], line["grad_norm"], line["learning_rate"])
            for line in metrics(run) if "loss" in line]


def weights(run):
    return from_pretrained(run / "model").state_dict()


def same(one, two):
    """Whether two state dicts are equal bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def assert_same_runs(one, two):
    """Losses, gradient norms, learning rates and weights are equal bit for bit."""
    assert losses(one) == losses(two)
    assert same(weights(one), weights(two))


def assert_close_runs(one, two):
    """Losses, gradient norms, learning rates and weights agree, except for rounding."""
    steps = [[line.get("step") for line in metrics(run)] for run in (one, two)]
    assert steps[0] == steps[1]
    for expected, line in zip(losses(one), losses(two), strict=True):
        assert line == pytest.approx(expected, rel=1e-5, abs=1e-5)
    for expected, weight in zip(weights(one).values(), weights(two).values(), strict=True):
        assert torch.allclose(expected, weight, atol=1e-5)


def checkpoint_names(run):
    return [folder.name for folder in checkpoint.checkpoints(run)]


def last_state(run):
    """Return the state.json of the newest checkpoint."""
    return json.loads((checkpoint.checkpoints(run)[-1] / "state.json").read_text())


def num_batches(state):
    """Return how many batches a run has taken, from its state.json."""
    data = state["data_state"]
    return data["epoch"] * data["batches_per_epoch"] + data["batch"]


# ------------------------------------------------------------------------------ several ranks


def free_port():
    """Return a port that is free now. Others soon take it: ask just before it is needed."""
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def run_ranks(world_size, work, exit_codes=None):
    """Run work(rank) in several processes, as torchrun starts them. Return {rank: traceback}.

    Asserts that their exit codes are these; by default that all are 0.
    """
    port = free_port()
    failures = FORK.SimpleQueue()
    processes = []
    for rank in range(world_size):
        args = (rank, world_size, port, work, failures)
        processes.append(FORK.Process(target=_run_rank, args=args))
        processes[-1].start()
    for process in processes:
        process.join(120)
        process.kill()
    tracebacks = {}
    while not failures.empty():
        rank, text = failures.get()
        tracebacks[rank] = text
    codes = [process.exitcode for process in processes]
    assert codes == (exit_codes or [0] * world_size), tracebacks
    return tracebacks


def _run_rank(rank, world_size, port, work, failures):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size),
                      MASTER_ADDR="localhost", MASTER_PORT=str(port))
    try:
        code = work(rank)
    except BaseException:
        failures.put((rank, traceback.format_exc()))
        raise
    os._exit(code or 0)

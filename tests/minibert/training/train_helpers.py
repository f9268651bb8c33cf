"""A small run, and what it leaves."""
import json

import torch

import train
from minibert import from_pretrained
from minibert.interrupts import StopRequest

SMALL = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 --vocab-size 300 --max-length 16 "
         "--batch-size 4 --warmup 0.1 --device cpu --precision fp32 --log-every 1 --eval-every 0 --eval-examples 8").split()

PAIRS = "--examples pairs --family bert --type-vocab-size 2".split()


def run(text, out, *flags):
    return train.main([*SMALL, "--corpus", str(text), "--out", str(out), *flags])


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["grad_norm"], line["learning_rate"]) for line in lines if "loss" in line]


def weights(run):
    return from_pretrained(run / "model").state_dict()


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def num_batches(state):
    """Return how many batches a run has taken, from its state.json."""
    data = state["data_state"]
    return data["epoch"] * data["batches_per_epoch"] + data["batch"]


def stop_after(monkeypatch, steps):
    """Make the next run stop after so many steps, as Ctrl-C would; None: let it finish."""
    stop = StopRequest if steps is None else type("Stop", (StopAfter,), {"looks": steps})
    monkeypatch.setattr(train, "StopRequest", stop)


class StopAfter(StopRequest):
    """Ctrl-C after so many looks at ``requested``: one look a step."""

    looks = 0

    @property
    def requested(self):
        self.count = getattr(self, "count", 0) + 1
        return self.count > self.looks

    @requested.setter
    def requested(self, value):
        pass

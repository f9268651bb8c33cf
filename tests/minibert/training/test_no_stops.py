"""A step never asks the device for a value: a GPU would stop for it.

Held without a GPU: on the device "meta" tensors have shapes and no values, so .item(), bool(), nonzero() and the like are errors.
"""
import contextlib
import json
import sys

import pytest
import torch
from train_helpers import losses, run, same, weights

import train
from minibert.batches import Batch, masked_positions
from minibert.config import BertConfig, TrainConfig
from minibert.model import BertForPreTraining
from minibert.optim import make_optimizer
from minibert.training import checkpoint
from minibert.training.distributed import Ranks
from minibert.training.failures import Skips

META = torch.device("meta")


@pytest.mark.parametrize("family, precision, optimizer", [("bert", "fp16", "adamw"), ("modernbert", "bf16", "muon"), ("bert", "fp16", "muon")])
def test_a_step_needs_no_values(monkeypatch, family, precision, optimizer):
    """All of ``optimiser_step``: two micro-batches with padding, pairs, scaler, clipping, optimiser, twice (the first makes the moments)."""
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused", lambda *how, **named: None)  # as if "meta" were a GPU
    monkeypatch.setattr("minibert.model.autocast_dtype", lambda x: x.dtype)  # autocast knows no "meta"
    config = BertConfig(family=family, vocab_size=60, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
                        max_position_embeddings=20, local_attention=4, global_attn_every_n_layers=2)
    trainer = object.__new__(train.Trainer)
    trainer.config = TrainConfig(max_steps=9, precision=precision, optimizer=optimizer)
    trainer.device, trainer.ranks, trainer.folder = META, Ranks(), None
    model_of = BertForPreTraining if family == "bert" else train.BertForMaskedLM
    trainer.model = trainer.parallel = model_of(config).to(META)
    trainer.optimizer, trainer.autocast = make_optimizer(trainer.model, trainer.config), contextlib.nullcontext
    trainer.scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    ids = torch.arange(5, 45).view(4, 10)
    labels = torch.where(torch.arange(10) % 4 == 1, ids, -100)
    tensors = {"input_ids": ids, "labels": labels, "masked_positions": masked_positions(labels), "attention_mask": torch.ones_like(ids)}
    if family == "bert":
        tensors |= {"token_type_ids": torch.zeros_like(ids), "next_sentence_label": torch.tensor([0, 1, 0, 1])}
    for _ in range(2):
        made, norm, broken = trainer.optimiser_step(Batch(**tensors, num_tokens=40, num_masked=12, num_examples=4).split(3))
        assert norm.device == broken.device == made["loss"].device == META
    with pytest.raises((RuntimeError, NotImplementedError)):  # what the test would see
        bool(broken)


class Later:
    """What a trainer sees as its device: not a CPU, so it is asked late, although the tensors are on one."""
    type, index = "later", None


def test_when_skips_are_looked_for_late_evaluations_and_checkpoints_change_nothing(text, tmp_path, monkeypatch):
    """Batches 1, 5 and 6 are skipped. Twelve steps are made, in fifteen batches; lines, scores, rates and weights are of steps that were taken.

    Unasked, steps 2 and 6 would be those of broken batches: they are evaluated and saved when they are taken.
    """
    looks, clip, step, load = [], torch.nn.utils.clip_grad_norm_, train.Trainer.optimiser_step, train.Trainer.load
    batch, real = [0], Skips.look

    def started(self):
        load(self)
        self.device = Later()

    def on_the_cpu(self, micros):
        batch[0], self.device = self.state["batches"], torch.device("cpu")
        try:
            return step(self, micros)
        finally:
            self.device = Later()

    def broken(parameters, limit):
        parameters = list(parameters)
        if batch[0] in (1, 5, 6):
            parameters[-1].grad.fill_(float("inf"))
        return clip(parameters, limit)

    def look(self, precision, schedule=False):
        looks.append(self.steps)
        return real(self, precision, schedule)

    for owner, name, value in ((train.Trainer, "load", started), (train.Trainer, "optimiser_step", on_the_cpu), (Skips, "look", look),
                               (torch.nn.utils, "clip_grad_norm_", broken)):
        monkeypatch.setattr(owner, name, value)
    made = {}
    for evaluate, save in ((0, 0), (3, 2), (1, 1)):
        out = tmp_path / f"{evaluate}-{save}"
        assert run(text, out, "--max-steps", "12", "--schedule", "linear", "--log-every", "4", "--eval-every", str(evaluate),
                   "--save-every", str(save)) == 0
        state = json.loads((checkpoint.checkpoints(out)[-1] / "state.json").read_text())
        assert (state["step"], state["batches"], state["skipped"], state["ahead"]) == (12, 15, 3, 0)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()[1:]]
        made[evaluate, save] = losses(out), weights(out), {line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line}
    assert 4 in looks  # steps go by without a look
    for (evaluate, _), (logged, learned, scores) in made.items():
        assert logged == made[0, 0][0] and [line[0] for line in logged] == [1, 4, 8, 12] and same(learned, made[0, 0][1])
        assert list(scores) == [n for n in range(1, 13) if evaluate and n % evaluate == 0 or n == 12]
        assert scores.items() <= made[1, 1][2].items()


def test_a_window_of_skipped_steps_alone_counts_them_in_a_row(tmp_path):
    state = {"step": 30, "window_batches": 10, "skipped": 0, "skipped_in_a_row": 0, "ahead": 0}
    skips = Skips(state, tmp_path)
    for broken in 10 * [True]:
        skips.add(torch.tensor(broken))
    assert skips.look("fp16") == 10 and state == {"step": 20, "window_batches": 0, "skipped": 10, "skipped_in_a_row": 10, "ahead": 10}
    assert skips.tell("fp16") == 10 and state["ahead"] == 0
    for broken in (True, False, True):
        skips.add(torch.tensor(broken))
    assert skips.look("fp16") == 2 and state["skipped_in_a_row"] == 0
    state["skipped_in_a_row"] = 15
    for _ in range(5):
        skips.add(torch.tensor(True))
    with pytest.raises(ValueError, match="20 fp16 steps in a row.* a lower --learning-rate.$"):
        skips.look("fp16")

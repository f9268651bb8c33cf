"""A training step never reads a value from the device: a GPU would stop for it.

Tested without a GPU: tensors on the device "meta" have shapes but no values, so that .item(),
bool(), nonzero() and the like are errors there.
"""
import contextlib
import json
import sys

import pytest
import torch
from train_helpers import losses, num_batches, run, same, weights

import train
from minibert.batches import Batch
from minibert.config import BertConfig, TrainConfig
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM
from minibert.optim import make_optimizer
from minibert.training import checkpoint
from minibert.training.distributed import Distributed
from minibert.training.state import TrainState

META = torch.device("meta")
INF = torch.tensor(float("inf"))


@pytest.mark.parametrize("family, precision, optimizer", [
    ("bert", "fp16", "adamw"), ("modernbert", "bf16", "muon"), ("bert", "fp16", "muon")])
def test_a_step_reads_no_values(monkeypatch, family, precision, optimizer):
    """Two steps of two micro-batches with padding; the first creates the optimizer's state."""
    # as if "meta" were a GPU
    monkeypatch.setattr(sys.modules["torch.optim.adam"], "_device_dtype_check_for_fused",
                        lambda *args, **kwargs: None)
    monkeypatch.setattr("minibert.model.autocast_dtype", lambda x: x.dtype)
    monkeypatch.setattr(train, "autocast", lambda *args: contextlib.nullcontext())  # no "meta"
    model_config = BertConfig(
        family=family, vocab_size=60, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=20, local_attention=4,
        global_attn_every_n_layers=2)
    config = TrainConfig(max_steps=9, precision=precision, optimizer=optimizer)
    model_class = BertForPreTraining if family == "bert" else BertForMaskedLM
    model = model_class(model_config).to(META)
    adam = make_optimizer(model, config)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    ids = torch.arange(5, 45).view(4, 10)
    labels = torch.where(torch.arange(10) % 4 == 1, ids, -100)
    tensors = {"attention_mask": torch.ones_like(ids)}
    if family == "bert":
        tensors["token_type_ids"] = torch.zeros_like(ids)
        tensors["next_sentence_label"] = torch.tensor([0, 1, 0, 1])
    micro_batches = Batch(ids, labels, **tensors).split(3)
    state = TrainState()
    for _ in range(2):
        step_losses, grad_norm = train.training_step(
            model, adam, scaler, micro_batches, config, Distributed())
        state.finish_step(step_losses, grad_norm, None)
        assert grad_norm.device == META and state.loss_sums["loss"].device == META
    with pytest.raises((RuntimeError, NotImplementedError)):  # what the test would see
        bool(grad_norm)


class FakeGPU:
    """A device type that is not "cpu", so that skipped steps are looked for late."""
    type, index = "gpu", None


def test_evaluating_and_saving_change_nothing_when_skipped_steps_are_found_late(
        text, tmp_path, monkeypatch):
    """Batches 1, 5 and 6 have infinite gradients: 15 batches make 12 steps.

    Whether and how often the run evaluates or saves changes no loss, rate, weight or score.
    """
    real_step, real_restore = train.Trainer.step, train.Trainer.restore
    real_clip, real_drop = torch.nn.utils.clip_grad_norm_, TrainState.drop_skipped_steps
    steps_per_sync = []
    batch = 0

    def restore(self):
        nonlocal batch
        batch = 0
        real_restore(self)
        self.device = FakeGPU()

    def step(self, micro_batches):
        nonlocal batch
        batch += 1
        return real_step(self, micro_batches)

    def clip(parameters, limit):
        parameters = list(parameters)
        if batch in (2, 6, 7):
            parameters[-1].grad.fill_(float("inf"))
        return real_clip(parameters, limit)

    def drop(self, *args, **kwargs):
        steps_per_sync.append(self.unchecked_steps)
        return real_drop(self, *args, **kwargs)

    monkeypatch.setattr(train.Trainer, "restore", restore)
    monkeypatch.setattr(train.Trainer, "step", step)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    monkeypatch.setattr(TrainState, "drop_skipped_steps", drop)
    results = {}
    for eval_every, save_every in ((0, 0), (3, 2), (1, 1)):
        out = tmp_path / f"{eval_every}-{save_every}"
        assert run(text, out, "--max-steps", "12", "--schedule", "linear", "--log-every", "4",
                   "--eval-every", str(eval_every), "--save-every", str(save_every)) == 0
        folder = checkpoint.checkpoints(out)[-1]
        state = json.loads((folder / "state.json").read_text())
        assert (state["step"], num_batches(state), state["skipped"]) == (12, 15, 3)
        assert state["schedule_lead"] == 0
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        scores = {line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line}
        results[eval_every, save_every] = losses(out), weights(out), scores
    assert 4 in steps_per_sync  # steps pass without a sync
    expected_losses, expected_weights, _ = results[0, 0]
    assert [line[0] for line in expected_losses] == [1, 4, 8, 12]
    for (eval_every, _), (logged, learned, scores) in results.items():
        assert logged == expected_losses and same(learned, expected_weights)
        evaluated = [n for n in range(1, 13) if eval_every and n % eval_every == 0 or n == 12]
        assert list(scores) == evaluated
        assert scores.items() <= results[1, 1][2].items()


def take_steps(state, *skipped):
    for is_skipped in skipped:
        state.finish_step({}, INF if is_skipped else torch.tensor(1.0), None)


def test_skipped_steps_are_uncounted_and_counted_in_a_row():
    state = TrainState(step=20)
    take_steps(state, *10 * [True])
    assert state.step == 30 and state.drop_skipped_steps("fp16") == 10
    assert (state.step, state.skipped, state.skipped_in_a_row, state.schedule_lead) == (20, 10, 10, 10)
    state.drop_skipped_steps("fp16", correct_schedule=True)
    assert state.schedule_lead == 0
    take_steps(state, True, False, True)
    assert state.drop_skipped_steps("fp16") == 2 and state.skipped_in_a_row == 0
    take_steps(state, *20 * [True])
    with pytest.raises(ValueError, match="20 fp16 steps in a row.* a lower --learning-rate$"):
        state.drop_skipped_steps("fp16")

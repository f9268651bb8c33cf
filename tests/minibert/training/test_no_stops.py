"""A training step never reads a value from the device: a GPU would stop for it.

Tested without a GPU: tensors on the device "meta" have shapes but no values, so that .item(),
bool(), nonzero() and the like are errors there.
"""
import contextlib
import math
import os
import signal
import sys

import pytest
import torch
from train_helpers import (
    assert_same_runs,
    last_state,
    losses,
    metrics,
    num_batches,
    resume,
    run,
    same,
    weights,
    with_bad_gradients,
)

import train
from minibert.batches import Batch
from minibert.config import BertConfig, TrainConfig
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM
from minibert.optim import make_optimizer
from minibert.training.distributed import Distributed
from minibert.training.state import TrainState

META = torch.device("meta")


@pytest.mark.parametrize("family, precision, optimizer", [
    ("modernbert", "bf16", "adamw"), ("bert", "fp16", "muon")])
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
        state.record_step(step_losses.totals, grad_norm, None)
        assert grad_norm.device == META and state.loss_sums["loss"].device == META
    with pytest.raises((RuntimeError, NotImplementedError)):  # what the test would see
        bool(grad_norm)


class FakeGPU:
    """A device whose type is not "cpu", so that skipped steps are noticed late."""
    type, index = "gpu", None


class LateTrainer(with_bad_gradients(2, 6, 7)):
    """Notices three bad gradients late, as on a GPU."""

    def restore(self):
        super().restore()
        self.device = FakeGPU()


LATE_FLAGS = "--max-steps 12 --schedule linear --log-every 4".split()


def test_evaluating_and_saving_change_nothing_when_skipped_steps_are_noticed_late(text, tmp_path):
    """15 batches make 12 steps, with the same losses, rates, weights and scores."""
    results = {}
    for eval_every, save_every in ((0, 0), (4, 2), (1, 1)):
        out = tmp_path / f"{eval_every}-{save_every}"
        flags = f"--eval-every {eval_every} --save-every {save_every}"
        assert run(text, out, *LATE_FLAGS, *flags.split(), trainer=LateTrainer) == 0
        state = last_state(out)
        assert (state["step"], num_batches(state), state["skipped"]) == (12, 15, 3)
        assert state["unread_skips"] == 0
        scores = {line["step"]: line["eval_loss"] for line in metrics(out) if "eval_loss" in line}
        results[eval_every] = losses(out), weights(out), scores
    expected_losses, expected_weights, _ = results[0]
    assert [line[0] for line in expected_losses] == [1, 4, 8, 12]
    for logged, learned, _ in results.values():
        assert logged == expected_losses
        assert same(learned, expected_weights)
    all_scores = results[1][2]
    assert list(all_scores) == list(range(1, 13))
    assert results[4][2] == {step: all_scores[step] for step in (4, 8, 12)}


@pytest.mark.parametrize("stop_after", [2, 7])
def test_a_run_resumes_exactly_before_its_skipped_steps_are_noticed(text, tmp_path, stop_after):
    """The checkpoint keeps the skipped steps that are still counted: 1 and 2 of them."""
    class StoppedTrainer(LateTrainer):
        def step(self, micro_batches):
            if self.num_calls == stop_after - 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(micro_batches)

    class ResumedTrainer(LateTrainer):
        num_calls = stop_after

    run(text, tmp_path / "whole", *LATE_FLAGS, trainer=LateTrainer)
    assert run(text, tmp_path / "halves", *LATE_FLAGS, trainer=StoppedTrainer) == 130
    assert last_state(tmp_path / "halves")["unread_skips"] == (2 if stop_after == 7 else 1)
    assert resume(tmp_path / "halves", trainer=ResumedTrainer) == 0
    assert_same_runs(tmp_path / "whole", tmp_path / "halves")


def take_steps(state, *skipped):
    for is_skipped in skipped:
        grad_norm = torch.tensor(math.inf if is_skipped else 1.0)
        state.record_step({}, grad_norm, None)


def test_twenty_skipped_steps_in_a_row_are_an_error():
    state = TrainState()
    take_steps(state, *15 * [True], False, *15 * [True])
    assert state.uncount_skipped_steps("fp16")
    take_steps(state, *5 * [True])  # 15 + 5 in a row
    with pytest.raises(ValueError, match="20 fp32 steps.* a longer --warmup.* --learning-rate$"):
        state.uncount_skipped_steps("fp32")

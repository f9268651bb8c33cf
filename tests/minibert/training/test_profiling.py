"""Operations are those that torch counts, and train.py --profile shows them with their time."""
from contextlib import closing

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from train_helpers import make_trainer, run

from minibert import BertConfig
from minibert.batches import Batch, find_masked_positions
from minibert.config import FAMILIES
from minibert.model import BertForMaskedLM
from minibert.training import profiling
from minibert.training.flops import forward_flops, num_visible_pairs, training_flops


def small_model(family):
    """Return a model whose windows are wider than the sequences, and a batch for it."""
    config = BertConfig(
        family=family, vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=24, type_vocab_size=1, local_attention=64)
    ids = torch.randint(5, 60, (2, 11))
    labels = torch.where(torch.arange(11) % 4 == 1, ids, -100)  # three in each row
    return BertForMaskedLM(config), ids, labels


def count(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops(), result


@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_those_that_torch_counts(family):
    model, ids, labels = small_model(family)
    forward, out = count(lambda: model(ids, labels=labels))
    backward, _ = count(out.loss.backward)
    assert forward == sum(forward_flops(model.config, [11, 11], 6).values())
    assert forward + backward == training_flops(model.config, [11, 11], 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_that_are_timed_have_these_operations(family):
    model, ids, labels = small_model(family)
    batch = Batch(ids, labels, masked_positions=find_masked_positions(labels)[:6])
    parts = profiling.model_parts(model, batch)
    for part, operations in forward_flops(model.config, [11, 11], 6).items():
        counted, _ = count(parts[part])
        assert counted == 3 * operations, part


@pytest.mark.parametrize("length, reach", [(7, 2), (3, 5), (9, 0)])
def test_a_window_has_fewer_pairs(length, reach):
    position = torch.arange(length)
    in_window = (position[:, None] - position).abs() <= reach
    assert num_visible_pairs(length, reach) == in_window.sum()


def profile(text, out, *flags):
    """Return {part: its row of the profile}."""
    trainer = make_trainer(text, out, "--max-steps", "9", *flags)
    with closing(trainer.batches):
        return {row["part"]: row for row in profiling.measure(trainer, repeats=1)}


@pytest.mark.parametrize("flags", [
    "", "--examples lines --micro-batch-size 2", "--preset kant --optimizer adamw"])
def test_each_part_of_a_step_is_measured(text, tmp_path, flags):
    rows = profile(text, tmp_path / "run", *flags.split())
    assert list(rows) == ["data", "embedding", "attention", "mlp", "head", "loss", "optimizer",
                          "rest", "step"]
    with_operations = {part for part, row in rows.items() if row["operations"]}
    assert with_operations == {"attention", "mlp", "head", "step"}


@pytest.mark.parametrize("ramp", [
    "--batch-ramp 0.5 --ramp-from 2", "--batch-ramp 0.5 --ramp-from 2 --stream"])
def test_with_a_batch_ramp_a_full_step_is_measured(text, tmp_path, ramp):
    flags = ["--batch-size", "6", "--mlm-probability", "0.99"]
    expected = profile(text, tmp_path / "flat", *flags)["step"]["operations"]
    ramped = profile(text, tmp_path / "ramp", *flags, *ramp.split())["step"]["operations"]
    assert ramped == pytest.approx(expected, rel=0.02)


def test_profile_prints_the_table_and_trains_nothing(text, tmp_path, capsys):
    assert run(text, tmp_path / "run", "--max-steps", "9", "--profile") == 0
    assert "\nattention " in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_the_table_has_shares_and_rates():
    rows = [{"part": "mlp", "seconds": 0.25, "operations": 5e9},
            {"part": "step", "seconds": 0.5, "operations": 5e9}]
    assert profiling.table(rows).splitlines()[1].split() == ["mlp", "250.0", "50%", "5.0", "20"]

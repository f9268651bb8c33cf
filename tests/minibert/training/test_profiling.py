"""Operations are those that torch counts, and train.py --profile shows them with their time."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from train_helpers import SMALL

import train
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


@pytest.fixture
def profile(text, tmp_path, monkeypatch):
    """Return a function that runs train.py --profile and returns the rows of its table."""
    monkeypatch.setattr(profiling, "REPEATS", 1)
    tables = []
    print_table = profiling.table
    monkeypatch.setattr(profiling, "table", lambda rows: tables.append(rows) or print_table(rows))

    def run(name, *flags):
        out = tmp_path / name
        assert train.main([*SMALL, "--corpus", str(text), "--out", str(out), "--profile",
                           "--max-steps", "9", *flags]) == 0
        assert not (out / "checkpoints").exists()  # nothing was trained
        return {row["part"]: row for row in tables[-1]}
    return run


@pytest.mark.parametrize("flags", [[], ["--examples", "lines", "--micro-batch-size", "2"],
                                   ["--preset", "kant", "--optimizer", "adamw"]])
def test_profile_prints_each_part(flags, profile, capsys):
    rows = profile("run", *flags)
    assert list(rows) == ["data", "embedding", "attention", "mlp", "head", "loss", "optimizer",
                          "rest", "step"]
    assert {part for part, row in rows.items() if row["operations"]} == {
        "attention", "mlp", "head", "step"}
    screen = capsys.readouterr().out
    assert all(f"\n{part} " in screen for part in rows)


def test_with_a_batch_ramp_a_full_step_is_profiled(profile):
    flags = ["--batch-size", "6", "--mlm-probability", "0.99"]
    ramp = ["--batch-ramp", "0.5", "--ramp-from", "2"]
    flat = profile("flat", *flags)["step"]["operations"]
    for name, more in (("ramp", ramp), ("stream", ["--stream", *ramp])):
        assert profile(name, *flags, *more)["step"]["operations"] == pytest.approx(flat, rel=0.02)


def test_the_table_has_shares_and_rates():
    rows = [{"part": "mlp", "seconds": 0.25, "operations": 5e9},
            {"part": "step", "seconds": 0.5, "operations": 5e9}]
    assert profiling.table(rows).splitlines()[1].split() == ["mlp", "250.0", "50%", "5.0", "20"]

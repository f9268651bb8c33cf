"""Operations counted and timed: against torch's own counter, and as train.py --profile shows them."""
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from train_helpers import SMALL

import train
from minibert import BertConfig
from minibert.batches import Batch, masked_positions
from minibert.config import FAMILIES
from minibert.model import BertForMaskedLM
from minibert.training.flops import forward_flops, num_visible_pairs, training_flops
from minibert.training.profiling import model_parts, table


@pytest.mark.parametrize("family", FAMILIES)
def test_operations_are_those_that_torch_counts(family):
    """Without padding and windows all that is needed is computed, so the two counts are equal: forward, and both passes."""
    config = BertConfig(family=family, vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
                        max_position_embeddings=24, type_vocab_size=1, local_attention=64)
    model, ids = BertForMaskedLM(config), torch.randint(5, 60, (2, 11))
    labels = torch.where(torch.arange(11) % 4 == 1, ids, -100)  # three of each row
    with FlopCounterMode(display=False) as forward:
        loss = model(ids, labels=labels).loss
    assert sum(forward_flops(config, [11, 11], 6).values()) == forward.get_total_flops()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    assert both == training_flops(config, [11, 11], 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_that_are_timed_are_the_operations_that_are_counted(family):
    """The last block's for the masked tokens alone, forward and backward."""
    config = BertConfig(family=family, vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
                        max_position_embeddings=24, type_vocab_size=1, local_attention=64)
    model, ids = BertForMaskedLM(config), torch.randint(5, 60, (2, 11))
    labels = torch.where(torch.arange(11) % 4 == 1, ids, -100)
    parts = model_parts(model, Batch(ids, labels, masked_positions(labels)[:6], 22, 6, 2))
    for part, count in forward_flops(config, [11, 11], 6).items():
        with FlopCounterMode(display=False) as counted:
            parts[part]()
        assert counted.get_total_flops() == 3 * count, part


def test_a_window_leaves_pairs_out():
    for length, reach in ((7, 2), (3, 5), (9, 0)):
        near = (torch.arange(length)[:, None] - torch.arange(length)).abs() <= reach
        assert num_visible_pairs(length, reach) == near.sum()


@pytest.mark.parametrize("flags", [[], ["--examples", "lines", "--micro-batch-size", "2"], ["--preset", "kant", "--optimizer", "adamw"]])
def test_profile_prints_each_part_and_trains_nothing(tmp_path, capsys, monkeypatch, flags):
    monkeypatch.setattr("minibert.training.profiling.REPEATS", 1)
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"The {n} small words of a short line.\nAnd another one." for n in range(60)))
    assert train.main([*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--profile", "--max-steps", "9", *flags]) == 0
    screen = capsys.readouterr().out
    lines = [line.split() for line in screen[screen.index("part "):].splitlines()]
    assert [line[0] for line in lines[:10]] == ["part", "data", "embedding", "attention", "mlp", "head", "loss", "optimizer", "rest", "step"]
    counts = {line[0]: float(line[3]) for line in lines[1:10] if len(line) == 5}
    assert set(counts) == {"attention", "mlp", "head", "step"}
    assert not (tmp_path / "run/checkpoints").exists()


def test_with_a_ramp_a_full_step_is_profiled(text, tmp_path, monkeypatch):
    """Three batches of two examples, which are prepared three times as long as one: as a step has when the ramp is done."""
    monkeypatch.setattr("minibert.training.profiling.REPEATS", 1)
    sizes, found, real, measured = [], [], train.Trainer.step, train.profiling.measure
    monkeypatch.setattr(train.Trainer, "step", lambda self, micros: (sizes.append([len(micro) for micro in micros]), real(self, micros))[1])
    monkeypatch.setattr("minibert.training.profiling.measure", lambda *arguments: found.append(measured(*arguments)) or found[-1])
    flags = ["--batch-size", "6", "--profile", "--max-steps", "9", "--mlm-probability", "0.99"]
    ramp = ["--batch-ramp", "0.5", "--ramp-from", "2"]
    for name, more in (("flat", []), ("ramp", ramp), ("stream", ["--stream", *ramp])):
        assert train.main([*SMALL, *flags, *more, "--corpus", str(text), "--out", str(tmp_path / name)]) == 0
    assert sizes == 3 * [[6]] + 6 * [[2, 2, 2]]
    flat, *ramps = [{row["part"]: row["operations"] for row in rows} for rows in found]
    assert all(ramp == pytest.approx(flat, rel=0.02) for ramp in ramps)


def test_the_table_says_shares_and_rates():
    rows = [{"part": "mlp", "seconds": 0.25, "operations": 5e9}, {"part": "step", "seconds": 0.5, "operations": 5e9}]
    assert table(rows).splitlines()[1].split() == ["mlp", "250.0", "50%", "5.0", "20"]

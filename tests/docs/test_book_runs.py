"""The small trainings of the book: each breaks or switches what its row says, and nothing else."""
import json

import pytest
import torch
from book_helpers import ROOT, load_script
from train_helpers import metrics, run

from minibert.batches import Batch
from minibert.config import BertConfig
from minibert.model import BertModel

training_runs = load_script("docs/book/training_runs")
TINY = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 "
        "--vocab-size 300 --max-length 16 --batch-size 4 --max-steps 2 --eval-every 1 "
        "--eval-examples 4 --log-every 1 --device cpu --precision fp32")


def micro_batch_weights():
    """Return the weights of two micro-batches, with one and three masked tokens."""
    labels = torch.full((2, 8), -100)
    labels[0, :1] = 7
    labels[1, :3] = 7
    batch = Batch(torch.zeros(2, 8).long(), labels)
    return [micro.num_masked / 4 for micro in batch.split(1)]


def test_mean_of_means_gives_micro_batches_equal_weights():
    assert micro_batch_weights() == [0.25, 0.75]
    with training_runs.mean_of_means():
        assert micro_batch_weights() == [0.5, 0.5]


def test_no_scale_leaves_gradients_unscaled():
    with training_runs.no_scale():
        assert torch.amp.GradScaler("cpu").get_scale() == 1
    assert torch.amp.GradScaler("cpu").get_scale() == 65536


def test_a_config_switch_is_set_only_within_its_context():
    def parameter_names():
        config = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1,
                            num_attention_heads=2, intermediate_size=8)
        return [name for name, _ in BertModel(config).named_parameters()]

    with training_runs.config_switch("use_bias", False):
        assert not any(name.endswith("bias") for name in parameter_names())
    assert "blocks.0.mlp.down_proj.bias" in parameter_names()


def test_a_row_has_the_losses_of_its_run_and_is_not_trained_again(text, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    command = ["loop", "--corpus", str(text), "--out", str(out), "--seeds", "0", "1",
               "--only", "no warm-up", "--extra", TINY]
    training_runs.main(command)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["name"], row["seed"]) for row in rows] == [("no warm-up", 0), ("no warm-up", 1)]
    flags = f"{training_runs.SETS['loop']['common']} --warmup 0 {TINY} --seed 1"
    run(text, tmp_path / "run", *flags.split())
    assert rows[1]["loss"] == metrics(tmp_path / "run")[-1]["eval_loss"]
    monkeypatch.setattr(training_runs, "train_row", None)
    training_runs.main(command)


def test_mixed_blocks_train_although_they_cannot_be_saved(text, tmp_path):
    out = tmp_path / "out.json"
    training_runs.main(["switches", "--corpus", str(text), "--out", str(out), "--seeds", "0",
                        "--only", "without GeGLU", "--extra", TINY])
    [row] = json.loads(out.read_text())["rows"]
    assert row["loss"] < 9


@pytest.mark.parametrize("name", ["loop", "switches"])
def test_the_results_have_the_rows_and_flags_of_the_script(name):
    results = json.loads((ROOT / "docs/book/results" / f"{name}.json").read_text())
    expected = training_runs.SETS[name]
    assert results["flags"] == expected["common"]
    assert {row["name"] for row in results["rows"]} == set(expected["rows"])


def test_the_mixed_blocks_of_the_quickstart_can_be_trained(text, tmp_path):
    out = tmp_path / "out.json"
    training_runs.main(["text", "--corpus", str(text), "--out", str(out), "--seeds", "0",
                        "--extra", f"{TINY} --num-hidden-layers 2"])
    rows = json.loads(out.read_text())["rows"]
    assert [row["name"] for row in rows] == list(training_runs.SETS["text"]["rows"])
    assert len({row["loss"] for row in rows}) == 5  # five different models

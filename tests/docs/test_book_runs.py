"""The book's small runs: what is broken by hand is broken as the page says, and the results are of the flags that the script has."""
import doctest
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from train_helpers import run

from minibert.batches import Batch
from minibert.config import BertConfig
from minibert.formats.run_folder import read_metrics_lines
from minibert.model import BertModel

BOOK = Path(__file__).parents[2] / "docs" / "book"
spec = importlib.util.spec_from_file_location("training_runs", BOOK / "training_runs.py")
training_runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(training_runs)
TINY = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 --vocab-size 300 --max-length 16 --batch-size 4 "
        "--max-steps 2 --eval-every 1 --eval-examples 4 --log-every 1 --device cpu --precision fp32")


def batch(*masked):
    """A batch with so many masked tokens in each row, of 8."""
    labels = torch.full((len(masked), 8), -100)
    for row, count in zip(labels, masked):
        row[:count] = 7
    return Batch(torch.zeros(len(masked), 8).long(), labels)


def test_mean_of_means_weighs_micro_batches_alike_and_train_py_by_their_masked_tokens():
    weights = [micro.num_masked / 4 for micro in batch(1, 3).split(1)]
    with training_runs.mean_of_means():
        wrong = [micro.num_masked / 4 for micro in batch(1, 3).split(1)]
    assert (weights, wrong) == ([0.25, 0.75], [0.5, 0.5])


def test_without_a_scale_gradients_stay_as_they_are():
    with training_runs.no_scale():
        assert torch.amp.GradScaler("cpu").get_scale() == 1
    assert torch.amp.GradScaler("cpu").get_scale() == 65536


def test_a_switch_is_turned_for_a_while_only():
    shape = {"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    with training_runs.config_switch("use_bias", False), training_runs.config_switch("rotary", True):
        names = [name for name, _ in BertModel(BertConfig(**shape)).named_parameters()]
    assert not any(name.endswith("bias") or "position" in name for name in names)
    names = [name for name, _ in BertModel(BertConfig(**shape)).named_parameters()]
    assert "embeddings.position.weight" in names and "blocks.0.mlp.down_proj.bias" in names


def test_a_row_holds_the_losses_of_its_run_and_is_not_trained_again(text, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    command = ["loop", "--corpus", str(text), "--out", str(out), "--seeds", "0", "1", "--only", "no warm-up", "--extra", TINY]
    training_runs.main(command)
    found = json.loads(out.read_text())
    assert [(row["name"], row["seed"]) for row in found["rows"]] == [("no warm-up", 0), ("no warm-up", 1)]
    run(text, tmp_path / "run", *(training_runs.SETS["loop"]["common"] + " --warmup 0 " + TINY).split(), "--seed", "1")
    final = read_metrics_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert found["rows"][1]["loss"] == final["eval_loss"] and len(found["rows"][1]["training"]) == len(found["rows"][1]["held_out"]) == 2
    monkeypatch.setattr(training_runs, "train_row", None)
    training_runs.main(command)


def test_mixed_blocks_train_though_they_cannot_be_saved(text, tmp_path):
    training_runs.main(["switches", "--corpus", str(text), "--out", str(tmp_path / "out.json"), "--seeds", "0", "--only", "without GeGLU",
                        "ModernBERT's block", "--extra", TINY])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["ModernBERT's block", "without GeGLU"] and all(row["loss"] < 9 for row in rows)


def test_a_run_that_ends_without_a_number_says_so(text, tmp_path, monkeypatch, capsys):
    def refuse(arguments):
        folder = Path(arguments[arguments.index("--out") + 1])
        for name in ("data", "tokenizer"):
            (folder / name).mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(json.dumps({"ln_vocab": 5, "unigram_entropy": 4}) + "\n")
        raise ValueError("the loss is nan at step 2")

    monkeypatch.setattr("train.main", refuse)
    training_runs.main(["loop", "--out", str(tmp_path / "out.json"), "--seeds", "0", "--only", "fp16"])
    capsys.readouterr()
    training_runs.main(["--table", str(tmp_path / "out.json")])
    assert "fp16    no end reached  stopped" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["loop", "switches"])
def test_the_results_are_of_the_rows_and_flags_that_the_script_has(name):
    found, now = json.loads((BOOK / "results" / f"{name}.json").read_text()), training_runs.SETS[name]
    assert found["flags"] == now["common"] and {row["name"] for row in found["rows"]} == set(now["rows"])


def test_the_example_in_the_scripts_docstring_is_true():
    failed, tried = doctest.testmod(training_runs)
    assert tried and not failed

"""The benchmark of pre-training objectives, on a corpus of a few lines: that each row is what its name says."""
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import objectives  # noqa: E402

SMALL = "--hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --batch-size 4 --device cpu --precision fp32 --eval-examples 8"


def command(folder, *names):
    objectives.main(["--corpus", str(folder / "story.txt"), "--tasks", str(folder), "--runs", str(folder / "runs"), "--out", str(folder / "out.json"),
                     "--steps", "1", "--examples", "8", "--epochs", "1", "--seeds", "2", "--extra", SMALL, "--only", *names])


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    story = "\n\n".join(f"The film {n} was good.\nThe plot of film {n} was bad, and the actor slept." for n in range(120))
    (folder / "story.txt").write_text(story)
    (folder / "sst2").mkdir()
    for name in ("train", "dev"):
        rows = "".join(f"a {('bad', 'good')[n % 2]} film\t{n % 2}\n" for n in range(12))
        (folder / "sst2" / f"{name}.tsv").write_text("sentence\tlabel\n" + rows)
    command(folder, "masked tokens", "pairs and NSP", "pairs without NSP")
    return folder


def test_each_row_has_its_scores_and_only_pairs_have_nsp(result):
    found = json.loads((result / "out.json").read_text())
    assert list(found["rows"]) == ["masked tokens", "from scratch", "pairs and NSP", "pairs without NSP"]
    assert all(len(row["sst2"]) == 2 for row in found["rows"].values()) and found["constant"] == 0.5
    assert [name for name, row in found["rows"].items() if row.get("nsp_accuracy") is not None] == ["pairs and NSP"]


def test_the_same_command_again_trains_nothing(result, monkeypatch):
    before = (result / "out.json").read_bytes()
    monkeypatch.setattr(objectives, "pretrain", None)
    command(result, "masked tokens", "pairs and NSP")
    assert (result / "out.json").read_bytes() == before


def test_fine_tuning_warms_up_long_and_runs_to_its_end(result, monkeypatch):
    """Where some seeds need epochs to leave the constant answer, patience must not stop them there."""
    monkeypatch.setattr(objectives, "finetune", lambda *given: given[-1])
    args = objectives.parse(["--tasks", str(result), "--epochs", "5"])
    config = objectives.fine_tuned(None, None, args, from_scratch=False)
    assert (config.warmup, config.epochs, config.patience) == (0.3, 5, 5)


def test_rows_of_another_fine_tuning_are_not_taken_for_this_one(result, monkeypatch):
    def asked_for(*given):
        raise LookupError
    monkeypatch.setattr(objectives, "WARMUP", 0.1)
    monkeypatch.setattr(objectives, "pretrain", asked_for)
    with pytest.raises(LookupError):
        command(result, "masked tokens")


def test_pairs_without_nsp_have_its_examples_and_not_its_head(result):
    for name, architecture in (("pairs-and-NSP", "BertForPreTraining"), ("pairs-without-NSP", "BertForMaskedLM")):
        run = result / "runs" / name
        assert json.loads((run / "config.json").read_text())["train"]["examples"] == "pairs"
        assert json.loads((run / "model" / "config.json").read_text())["architectures"] == [architecture]


def test_the_table_is_printed_from_the_file(capsys):
    rows = {"masked tokens": {"loss": 5.5, "accuracy": 0.2, "nsp_accuracy": None, "sst2": [0.7, 0.8]}, "from scratch": {"sst2": [0.6, 0.6]},
            "pairs and NSP": {"loss": 5.6, "accuracy": 0.1, "nsp_accuracy": 0.625, "nsp_chance": 0.5, "sst2": [0.7, 0.5]}}
    table = objectives.table({"examples": 2000, "constant": 0.5, "rows": rows}).splitlines()
    assert table[2:] == ["| masked tokens | 5.500 | 20.0% | 75.0 % ± 7.1 |", "| from scratch | | | 60.0 % ± 0.0 |",
                         "| pairs and NSP | 5.600 | 10.0%, NSP 62.5% (chance 50.0%) | 60.0 % ± 14.1, 1 of 2 seeds learned nothing |",
                         "| always the same answer | | | 50.0% |"]


def test_without_a_task_the_table_has_no_column_for_it():
    rows = {"pairs and NSP": {"loss": 5.6, "accuracy": 0.1, "nsp_accuracy": 0.625, "nsp_chance": 0.5}}
    assert objectives.table({"examples": 2000, "rows": rows}).splitlines() == [
        "| objective | held-out loss | masked accuracy |", "|---|---|---|", "| pairs and NSP | 5.600 | 10.0%, NSP 62.5% (chance 50.0%) |"]


def test_a_run_that_was_stopped_gives_no_row(result, monkeypatch, tmp_path):
    monkeypatch.setattr(objectives.train, "main", lambda flags: 130)
    with pytest.raises(SystemExit, match="130"):
        objectives.main(["--corpus", str(result / "story.txt"), "--tasks", str(result), "--runs", str(tmp_path), "--out", str(tmp_path / "out.json")])
    assert not (tmp_path / "out.json").exists()

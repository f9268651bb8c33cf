"""The benchmark of fine-tuning on a tiny model: its rows, that it goes on where it was, and its tables."""
import json
import sys
from pathlib import Path

import pytest
from finetune_helpers import make_run, sentences, table

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import finetuning  # noqa: E402

EXTRA = "--batch-size 8 --device cpu --precision fp32 --lora-rank 2 --prefix-length 3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, sst2/ with 24 examples, cola/ with 16 in its own form."""
    folder = make_run("modernbert", tmp_path_factory.mktemp("bench"))
    for task, count in (("sst2", 24), ("cola", 16)):
        (folder / task).mkdir()
        for name, seed in (("train", 1), ("dev", 2)):
            rows = sentences(count, seed)
            text = table(rows) if task == "sst2" else "".join(f"x\t{label}\t\t{words}\n" for words, label in rows)
            (folder / task / f"{name}.tsv").write_text(text)
    return folder


def run(folder, *args):
    return finetuning.main([str(folder), "--tasks", str(folder), "--out", str(folder / "out.json"), "--epochs", "10:3,20:2,all:1", "--extra", EXTRA,
                            "--mode-size", "20", *args])


def test_rows_are_trained_once_and_more_are_added_to_them(folder, monkeypatch, capsys):
    first = ["--sizes", "10", "all", "--modes", "all", "lora", "prefix"]
    assert run(folder, *first, "--seeds", "1") is None
    rows = json.loads((folder / "out.json").read_text())["rows"]
    assert list(rows) == ["sst2, 10, all", "sst2, 10, from scratch", "sst2, all, all", "sst2, all, from scratch",
                          "sst2, 20, all", "sst2, 20, lora", "sst2, 20, prefix", "cola, all, all", "cola, all, lora", "cola, all, prefix"]
    assert [row["config"]["epochs"] for row in rows.values()] == [3, 3, 1, 1, 2, 2, 2, 2, 2, 2]
    assert [row["examples"] for row in rows.values()] == [10, 10, 24, 24, 20, 20, 20, 16, 16, 16]
    assert rows["cola, all, lora"]["metric"] == "matthews" and rows["sst2, 20, lora"]["learning"]["share"] < 0.2
    seed = rows["sst2, 10, all"]["seeds"]["0"]
    assert seed["score"] == seed["last"]["accuracy"] and seed["last"]["epoch"] == 3 and seed["processor_seconds"] > 0

    trained, fit = [], finetuning.fit
    monkeypatch.setattr(finetuning, "fit", lambda model, learn, *rest: trained.append(len(learn)) or fit(model, learn, *rest))
    run(folder, *first, "--seeds", "1")
    assert not trained
    run(folder, "--sizes", "10", "--modes", "head", "--on", "cola", "--seeds", "2")
    assert trained == [10, 10, 16, 16]  # a second seed of two rows, two of a new one
    run(folder, "--sizes", "10", "--modes", "--seeds", "1", "--rates", "from scratch:1e-3")
    assert trained == [10, 10, 16, 16, 10]  # a row that was trained otherwise is trained again
    assert "| 10 | 3 | " in capsys.readouterr().out


def test_scratch_and_pre_trained_differ_in_their_weights_alone(folder, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(finetuning, "fresh_model", lambda *given, **named: seen.append((given[2:], named)) or (_ for _ in ()).throw(LookupError))
    for mode in ("all", "from scratch"):
        monkeypatch.setattr(finetuning, "wanted", lambda args, mode=mode: [("sst2", "10", mode)])
        with pytest.raises(LookupError):
            finetuning.main([str(folder), "--tasks", str(folder), "--out", str(tmp_path / "out.json")])
    assert seen[0][0] == seen[1][0] and [named["adopt"] for _, named in seen] == [True, False]


def test_results_of_another_model_are_not_mixed_in(folder, tmp_path):
    (tmp_path / "out.json").write_text(json.dumps({"digest": "0" * 64, "run": "other", "rows": {}}))
    with pytest.raises(ValueError, match="holds the results of another model, other: choose another --out"):
        finetuning.main([str(folder), "--tasks", str(folder), "--out", str(tmp_path / "out.json")])


def test_a_seed_that_was_cut_short_is_not_written(folder, tmp_path, monkeypatch):
    def interrupted(model, learn, dev, config, seed, bar, stop):
        stop.requested = True
        return [{"accuracy": 0.5}]

    monkeypatch.setattr(finetuning, "fit", interrupted)
    out = tmp_path / "out.json"
    assert finetuning.main([str(folder), "--tasks", str(folder), "--out", str(out), "--sizes", "10", "--seeds", "1"]) == 130 and not out.exists()


def test_the_tables_are_printed_from_the_file(tmp_path, capsys):
    def row(task, size, mode, scores, seconds=(10, 20)):
        return {"task": task, "size": size, "mode": mode, "examples": 100 if size == "100" else 8550, "metric": finetuning.TASKS[task][1],
                "constant": {"sst2": 0.5, "cola": 0.0}[task], "config": {"epochs": 4},
                "learning": {"trained": 61826, "head": 37250, "parameters": 3123778, "share": 0.019792},
                "seeds": {str(n): {"score": score, "processor_seconds": seconds[n]} for n, score in enumerate(scores)}}

    rows = [row("sst2", "100", "all", [0.7, 0.8]), row("sst2", "100", "from scratch", [0.5, 0.7]), row("cola", "all", "lora", [0.2, 0.3]),
            row("cola", "all", "from scratch", [0.0, 0.1])]
    (tmp_path / "out.json").write_text(json.dumps({"rows": {str(n): row for n, row in enumerate(rows)}}))
    finetuning.main(["--table", str(tmp_path / "out.json")])
    assert capsys.readouterr().out.splitlines() == [
        "| SST-2 examples | epochs | pre-trained | from scratch | gain |", "|---|---|---|---|---|",
        "| 100 | 4 | 75.0 ± 7.1 | 60.0 ± 14.1, 1 of 2 seeds learned nothing | +15.0 |", "",
        "| what learns | numbers | of them the head | share | CoLA, 8,550 examples, matthews | processor seconds |", "|---|---|---|---|---|---|",
        "| all weights, from scratch | 61,826 | 37,250 | 1.98 % | 5.0 ± 7.1, 1 of 2 seeds learned nothing | 15 |",
        "| LoRA | 61,826 | 37,250 | 1.98 % | 25.0 ± 7.1 | 15 |", "| nothing: always the same answer | 0 | 0 | 0 % | 0.0 | 0 |"]

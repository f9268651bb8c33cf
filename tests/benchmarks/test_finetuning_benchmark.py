"""The benchmark of fine-tuning on a tiny model: its rows, that it goes on where it was, and its tables."""
import json
import shutil
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
    otherwise = r"2 seed\(s\) of 'sst2, 10, from scratch' that were trained otherwise \(learning_rate 0.0005, now 0.001\)"
    with pytest.raises(ValueError, match=otherwise):
        run(folder, "--sizes", "10", "--modes", "--rates", "from scratch:1e-3")
    assert trained == [10, 10, 16, 16] and "| 10 | 3 | " in capsys.readouterr().out
    shutil.copytree(folder, folder / "other")
    (folder / "other" / "sst2" / "dev.tsv").write_text(table(sentences(24, 3)))
    finetuning.files.cache_clear()
    with pytest.raises(ValueError, match=r"otherwise \(other files\): choose another --out"):
        run(folder, "--sizes", "10", "--modes", "--tasks", str(folder / "other"))


@pytest.mark.parametrize("args, error", [
    (["--rates", "loar:1e-3"], "--rates 'loar:1e-3': write NAME:NUMBER"), (["--rates", "lora"], "--rates 'lora': write"),
    (["--epochs", "100:x"], "--epochs '100:x': write"), (["--epochs", "5:1"], "--epochs says nothing of 10 examples: add all:3"),
    (["--extra", "--tune lora"], "--extra --tune: that is set by"), (["--extra", "--examples 5"], "--extra --examples: that is set by"),
])
def test_flags_that_would_do_nothing_are_refused(folder, tmp_path, args, error):
    with pytest.raises(ValueError, match=error):
        finetuning.main([str(folder), "--tasks", str(folder), "--out", str(tmp_path / "out.json"), "--sizes", "10", "--modes", *args])


@pytest.mark.parametrize("args", [["--sizes", "abc"], ["--sizes", "0"], ["--mode-size", "-1"], ["--seeds", "0"]])
def test_numbers_that_cannot_be_are_refused(folder, args, capsys):
    with pytest.raises(SystemExit):
        finetuning.main([str(folder), *args])
    assert "above 0, or all" in (said := capsys.readouterr().err) or "--seeds 0: at least 1" in said


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rows": []}', "sentence\tlabel"])
def test_a_file_of_something_else_is_no_results(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="x.json holds no results of this benchmark"):
        finetuning.main(["--table", str(tmp_path / "x.json")])


def test_scratch_and_pre_trained_differ_in_their_weights_alone(folder, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(finetuning, "new_classifier", lambda *given, **named: seen.append((given[2:], named)) or (_ for _ in ()).throw(LookupError))
    for mode in ("all", "from scratch"):
        monkeypatch.setattr(finetuning, "wanted", lambda args, mode=mode: [("sst2", "10", mode)])
        with pytest.raises(LookupError):
            finetuning.main([str(folder), "--tasks", str(folder), "--out", str(tmp_path / "out.json"), "--rates", "all:1e-3,from scratch:1e-3",
                             "--extra", "--hidden-dropout-prob 0.1"])
    assert seen[0][0] == seen[1][0] and [named["load_encoder_from"] for _, named in seen] == [True, False]


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
    (tmp_path / "out.json").write_text(json.dumps({"digest": "", "run": "x", "rows": {str(n): row for n, row in enumerate(rows)}}))
    finetuning.main(["--table", str(tmp_path / "out.json")])
    assert capsys.readouterr().out.splitlines() == [
        "| SST-2 examples | epochs | pre-trained | from scratch | gain |", "|---|---|---|---|---|",
        "| 100 | 4 | 75.0 ± 7.1 | 60.0 ± 14.1, 1 of 2 seeds learned nothing | +15.0 |", "",
        "| what learns | numbers | of them the head | share | CoLA, 8,550 examples, matthews | processor seconds |", "|---|---|---|---|---|---|",
        "| all weights, from scratch | 61,826 | 37,250 | 1.98 % | 5.0 ± 7.1, 1 of 2 seeds learned nothing | 15 |",
        "| LoRA | 61,826 | 37,250 | 1.98 % | 25.0 ± 7.1 | 15 |", "| nothing: always the same answer | 0 | 0 | 0 % | 0.0 | 0 |"]

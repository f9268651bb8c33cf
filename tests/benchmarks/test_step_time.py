"""The benchmarks of the engine, on a model of a few numbers: that they run, and that their tables say what was measured."""
import json
import random
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import speedrun  # noqa: E402
import step_time  # noqa: E402


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    rng = random.Random(0)
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "kant").mkdir()
    lines = [" ".join(rng.choices("human thinking involves reason and a pure or practical law of nature".split(), k=9)) for _ in range(600)]
    (folder / "kant" / "book.txt").write_text("\n\n".join(lines))
    return folder


def test_two_contestants_take_turns_on_the_same_lines(corpora, tmp_path, capsys):
    command = f"{corpora} --shapes tiny --rounds 2 --out {tmp_path / 'out.json'} --contestants minibert"
    step_time.main([*command.split(), "minibert, muon"])
    row = json.loads((tmp_path / "out.json").read_text())["rows"][0]
    assert row["tokens"] > 48 * 9 and row["operations"] > 0 and row["product_rate"] > 0
    assert {name: len(seconds) for name, seconds in row["seconds"].items()} == {"minibert": 2, "minibert, muon": 2}
    assert all(10 < megabytes < 4000 for megabytes in row["megabytes"].values())
    assert "minibert, muon" in capsys.readouterr().out


def test_the_table_of_steps_says_medians_and_ratios():
    row = {"shape": "tiny", "tokens": 600, "operations": 3e9, "product_rate": 2e9, "megabytes": {"minibert": 100.4, "transformers": 2000},
           "seconds": {"minibert": [1.2, 2.4, 3.6], "transformers": [12.0, 12.0, 12.0]}}
    assert step_time.table([row]).splitlines()[3:] == [
        "| minibert | 0.200 | 250 |  | 62% | 100 MB |", "| transformers | 1.000 | 50 | **5.00 x** as fast (3.33 to 10.00) | 12% | 2,000 MB |"]


def test_a_speedrun_leaves_a_row_for_each_record(corpora, tmp_path, capsys):
    small = ("--hidden-size 16 --intermediate-size 16 --num-hidden-layers 1 --num-attention-heads 2 --vocab-size 300 --batch-size 4 --device cpu "
             "--eval-examples 4")
    command = ["--corpus", str(corpora / "kant"), "--minutes", "0.01", "--extra", small, "--out", str(tmp_path / "out.json")]
    speedrun.main(command)
    speedrun.main(command)
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["the recipe"] * 2 and all(row["steps"] > 0 and 0 < row["loss"] < 7 for row in rows)
    speedrun.main([*command, "--ablation", "--only", "linear schedule", "the recipe"])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["the recipe", "the recipe", "linear schedule"]  # the recipe was there
    assert "--schedule linear" in rows[2]["flags"]
    speedrun.main(["--table", str(tmp_path / "out.json")])
    assert capsys.readouterr().out.count("| linear schedule |") == 2


@pytest.mark.parametrize("script", ["speedrun", "finetuning"])
def test_the_table_of_a_file_that_is_not_there_is_refused_in_one_line(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script, "--table", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match=r"^error: \[Errno 2\] No such file or directory: '.*none.json'$"):
        runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")


def test_the_last_twentieth_is_held_out_in_whole_paragraphs(corpora, tmp_path):
    speedrun.make_data(str(corpora / "kant"), 300, tmp_path)
    held, trained = (json.loads((tmp_path / "data" / name / "meta.json").read_text())["num_bytes"] for name in ("eval", "train"))
    assert 0.05 <= held / (held + trained) < 0.055

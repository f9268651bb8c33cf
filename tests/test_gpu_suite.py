"""The suite for a GPU, tried without one: its parts on a model of a few numbers, its bookkeeping with parts that answer at once."""
import json
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import contest  # noqa: E402
import gpu_suite  # noqa: E402

from tokenizer import ByteLevelBPE  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place, documents = tmp_path_factory.mktemp("tiny"), gpu_suite.made_up_text(lines=400)
    contest.make_data("tiny", documents, place, ByteLevelBPE.train_from_iterator(documents, vocab_size=600, show_progress=False))
    return place


def test_the_text_is_the_same_everywhere_and_its_lines_are_as_long_as_said():
    documents = gpu_suite.made_up_text(lines=2000)
    assert documents == gpu_suite.made_up_text(lines=2000) and documents != gpu_suite.made_up_text(lines=2000, seed=1)
    lengths = [len(line.split()) for document in documents for line in document.split("\n")]
    assert (len(documents), len(lengths), min(lengths), max(lengths)) == (40, 2000, 4, 22) and 12.5 < sum(lengths) / 2000 < 13.5


@pytest.fixture
def two_recipes(monkeypatch):
    monkeypatch.setattr(gpu_suite, "RECIPES", {name: gpu_suite.RECIPES[name] for name in ("AdamW, fp16", "Muon, bf16")})
    monkeypatch.setattr(gpu_suite, "WATCHED", (2, 4))


def test_every_recipe_is_watched_after_it_has_warmed_up(folder, two_recipes):
    modes = []
    assert gpu_suite.stops("tiny", folder, CPU, modes.append) == {"AdamW, fp16": "none", "Muon, bf16": "none"}
    assert modes == ["error", "default"] * 2


def test_a_stop_is_said_with_its_place(folder, two_recipes, monkeypatch):
    """What CUDA does in mode "error", done by hand: an .item() in the step raises then."""
    mode, real = [], contest.train.Trainer.optimiser_step

    def stopping(self, micros):
        if mode[-1:] == ["error"]:
            raise RuntimeError("called a synchronizing CUDA operation\nand more")
        return real(self, micros)

    monkeypatch.setattr(contest.train.Trainer, "optimiser_step", stopping)
    found = gpu_suite.stops("tiny", folder, CPU, mode.append)
    assert all(said.startswith("test_gpu_suite.py:") and said.endswith(": called a synchronizing CUDA operation") for said in found.values())


def test_fp16_ends_near_bf16_and_another_seed_says_how_near_that_is(folder):
    ended = gpu_suite.precision("tiny", folder, CPU, max_steps=40)
    assert list(ended) == ["bf16", "bf16, another seed", "fp16"]
    assert abs(ended["fp16"] - ended["bf16"]) < 0.05 < abs(ended["bf16, another seed"] - ended["bf16"]) + 0.05
    assert ended["bf16"] != ended["fp16"] and ended["bf16"] < 6.4  # ln 600


FAKE = '''
import json, sys
name = sys.argv[1]
for line in sys.stdin:
    if name == "transformers, tuned":
        sys.exit("no such thing")
    last = line == "end\\n"
    print(json.dumps({"megabytes": 5, "torch": "2", "threads": 1} if last else {"seconds": 0.12 if "product" in name else 0.24}), flush=True)
'''


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Contestants that answer at once, but for one that has ended."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(contest, "__file__", str(tmp_path / "fake.py"))


def test_who_takes_too_long_is_ended(folder, fakes):
    contestant = contest.Contestant("minibert", "tiny", folder, "cpu")
    with pytest.raises(contest.ContestantFailed, match="it took too long"):
        contestant.answer(time.monotonic())
    assert contestant.process.returncode


def test_who_fails_is_left_out_and_the_others_go_on(folder, fakes):
    row = contest.measure("tiny", folder, ["minibert", "minibert, fp16", "transformers, tuned"], rounds=2, device="cpu")
    assert row["seconds"] == {"minibert": [0.24, 0.24], "minibert, fp16": [0.24, 0.24]}
    assert row["product_rate"] == row["product_rate_fp16"] == 12 * 2 * 2048 ** 3 / 0.12
    assert row["failed"] == {"transformers, tuned": "it ended (what it said stands above)"}
    lines = contest.table([row], gpu=True).splitlines()
    assert lines[3].startswith("| minibert | 20.0 |")
    assert lines[-1] == "| transformers, tuned | left out: it ended (what it said stands above)" + " |" * 5
    assert {line.count("|") for line in lines} == {7}


def test_fp16_is_held_against_a_product_in_fp16():
    row = {"shape": "tiny", "tokens": 100, "operations": 6e12, "product_rate": 2e12, "product_rate_fp16": 4e12,
           "megabytes": {"minibert": 1, "minibert, fp16": 1}, "seconds": {"minibert": [6.0], "minibert, fp16": [3.0]}}
    assert [line.split("|")[5].strip() for line in contest.table([row], gpu=True).splitlines()[3:]] == ["50%", "50%"]


@pytest.fixture
def answers(monkeypatch):
    """Parts that answer at once: what was asked of them, and what they say."""
    asked, said = [], {"stops": {"AdamW, bf16": "none"}, "precision": {"bf16": 4.25, "fp16": 4.5}}
    row = {"tokens": 1200, "operations": 6e12, "product_rate": 4e12, "seconds": {"minibert": [0.24]}, "megabytes": {"minibert": 5}}
    monkeypatch.setattr(gpu_suite, "make_data", lambda *how: None)
    monkeypatch.setattr(gpu_suite, "check", lambda part, *how: (asked.append(part), said[part])[1])
    monkeypatch.setattr(gpu_suite, "measure", lambda shape, folder, who, *how: (asked.append((shape, who)), {"shape": shape, **row})[1])
    return asked, said


def suite(out, *more):
    gpu_suite.main(["--device", "cpu", "--lines", "200", "--out", str(out), *more])


def test_the_suite_goes_on_with_the_parts_that_are_missing(tmp_path, answers, capsys):
    asked, said = answers
    out = tmp_path / "gpu.json"
    suite(out, "--parts", "precision")
    said["stops"] = {"failed": "exit code 1"}
    suite(out, "--parts", "stops", "precision", "small")
    said["stops"] = {"AdamW, bf16": "none"}
    suite(out)
    names = [part if isinstance(part, str) else part[0] for part in asked]
    assert names == ["precision", "stops", "small", "stops", "bert-base at 512", "bert-base", "kantaibert"]
    parts = json.loads(out.read_text())["parts"]
    assert set(parts) == {"stops", "precision", "small", "bert-base at 512", "bert-base", "kantaibert"}
    capsys.readouterr()
    gpu_suite.main(["--table", str(out)])
    screen = capsys.readouterr().out
    assert "| AdamW, bf16 | none |" in screen and "| fp16 | 4.500 |" in screen and "| minibert | 20.0 | 5,000 |  | " in screen
    results = json.loads(out.read_text()) | {"torch": "1.0"}
    out.write_text(json.dumps(results))
    with pytest.raises(ValueError, match="is of torch 1.0, this is .*: choose another --out"):
        suite(out)


def test_without_transformers_its_rows_are_left_out_and_that_is_said(tmp_path, answers, monkeypatch, capsys):
    asked, _ = answers
    for there in (True, False):
        monkeypatch.setattr(gpu_suite, "find_spec", lambda name, there=there: there or None)
        suite(tmp_path / f"{there}.json", "--parts", "small")
        assert any(name.startswith("transformers") for name in asked[-1][1]) == there
        assert ("transformers or accelerate is not installed" in capsys.readouterr().out) == (not there)


def test_a_suite_without_time_left_says_so_and_keeps_what_it_has(tmp_path, answers, capsys):
    suite(tmp_path / "gpu.json", "--minutes", "0.1")
    assert not answers[0] and "no time is left for it. The same command again goes on" in capsys.readouterr().err


def test_a_check_that_takes_too_long_is_ended(tmp_path):
    assert gpu_suite.check("stops", tmp_path, "cpu", 0.05) == {"failed": "it took more than 0 seconds"}


def test_without_a_gpu_the_error_says_so(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="device cuda is not available"):
        gpu_suite.main([])

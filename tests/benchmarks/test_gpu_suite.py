"""The suite for a GPU, tried without one: its parts on a model of a few numbers, its bookkeeping with parts that answer at once."""
import io
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import contest  # noqa: E402
import gpu_suite  # noqa: E402

from tokenizer import ByteLevelBPE  # noqa: E402

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


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


@pytest.mark.parametrize("device, examples, untimed", [(CPU, "lines", 0), (CUDA, "blocks", 1), (CUDA, "lines", 12)])
def test_a_turn_on_cuda_begins_with_steps_that_are_not_timed_and_ends_with_memory_given_back(device, examples, untimed, monkeypatch):
    events, done = [], [0]

    class Told(contest.Turns):
        def tell(self, answer):
            events.append((done[0], answer["seconds"]))

    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: events.append((done[0], name)))
    monkeypatch.setattr(contest, "os", SimpleNamespace(dup=os.dup, fdopen=lambda *how: os.close(how[0]), dup2=lambda *how: None))
    monkeypatch.setattr(contest, "time", SimpleNamespace(perf_counter=lambda: done[0]))  # a step takes a second
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n" * 3))
    turns = Told(device, examples)
    turns.wait()
    for _ in range(2 * (untimed + 12)):
        done[0] += 1
        turns.step_done()
    ends = [untimed + 12, 2 * (untimed + 12)]
    if device is CPU:
        assert events == [(end, 12) for end in ends]
    else:
        assert events == [event for end in ends for event in ((end - 12, "synchronize"), (end, "synchronize"), (end, "empty_cache"), (end, 12))]


@pytest.fixture
def recorded(monkeypatch):
    """Contestants that are no processes: what they are asked, and what time it is then. An answer takes three seconds."""
    calls, clock = [], [0]

    class Recorded(contest.Contestant):
        def __init__(self, name, *where):
            self.name = name

        def say(self, word):
            calls.append(f"{self.name}: {word}")

        def answer(self, deadline):
            calls.append(f"{self.name} answers")
            clock[0] += 3
            if clock[0] > deadline:
                raise contest.ContestantFailed(contest.TOO_LONG)
            return {"seconds": 0.12, "megabytes": 5, "torch": "2", "threads": 1}

        def end(self):
            """There is no process."""

    monkeypatch.setattr(contest, "Contestant", Recorded)
    monkeypatch.setattr(contest, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return calls


WARMED_UP = {"cpu": ["product: go", "minibert, compiled: go", "minibert: go", "product answers", "minibert, compiled answers", "minibert answers"],
             "cuda": ["product: go", "product answers", "minibert: go", "minibert answers", "minibert, compiled: go", "minibert, compiled answers"]}


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_on_cuda_contestants_warm_up_one_after_another_and_compile_last(kind, folder, recorded, monkeypatch):
    monkeypatch.setattr(contest, "choose_device", torch.device)
    monkeypatch.setattr(contest, "choose_precision", lambda name, device: "bf16")
    contest.measure("tiny", folder, ["minibert, compiled", "minibert"], rounds=1, device=kind)
    assert recorded[:6] == WARMED_UP[kind]


def test_a_round_for_which_the_time_does_not_suffice_is_not_begun(folder, recorded, monkeypatch):
    """Nine seconds to warm up, nine a round: the third would end at 36."""
    monkeypatch.setattr(contest, "choose_precision", lambda name, device: "bf16")
    row = contest.measure("tiny", folder, ["minibert", "transformers"], rounds=5, device="cpu", limit=35)
    assert row["seconds"] == {"minibert": [0.12] * 2, "transformers": [0.12] * 2} and "failed" not in row


@pytest.mark.parametrize("auto, who, rates", [
    ("bf16", ["minibert"], {"product_rate"}), ("fp16", ["minibert", "transformers, fp16"], {"product_rate_fp16"}),
    ("fp16", ["minibert", "transformers, bf16"], {"product_rate", "product_rate_fp16"}), ("fp32", ["minibert"], {"product_rate"})])
def test_a_product_of_each_type_that_somebody_trains_in_takes_part(auto, who, rates, folder, recorded, monkeypatch):
    monkeypatch.setattr(contest, "choose_precision", lambda name, device: auto)
    row = contest.measure("tiny", folder, who, rounds=1, device="cpu")
    assert {name for name in row if name.startswith("product_rate")} == rates and row["precision"] == auto


FAKE = '''
import json, os, subprocess, sys
name = sys.argv[1]
if name == "transformers":
    subprocess.Popen(["sleep", "15"])
for line in sys.stdin:
    if name == "transformers, tuned":
        sys.exit("no such thing")
    last = line == "end\\n"
    print(json.dumps({"megabytes": 5, "torch": "2", "threads": 1} if last else
                     {"card": os.environ["CUDA_VISIBLE_DEVICES"], "seconds": 0.12 if "product" in name else 0.24}), flush=True)
'''  # one has a process of its own, as the tuned Trainer has for its batches


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


def test_who_is_ended_is_not_waited_for_by_way_of_the_processes_that_make_its_batches(folder, fakes):
    contestant, start = contest.Contestant("transformers", "tiny", folder, "cpu"), time.monotonic()
    contestant.ask("go", start + 60)
    contestant.end()
    assert time.monotonic() - start < 14


@pytest.mark.parametrize("visible, card", [(None, "0"), ("2,3", "2"), ("", "")])
def test_a_contestant_sees_one_card(visible, card, folder, fakes, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    contestant = contest.Contestant("minibert", "tiny", folder, "cpu")
    assert contestant.ask("go", time.monotonic() + 60)["card"] == card
    contestant.end()


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
    cells = [[cell.strip() for cell in line.split("|")] for line in contest.table([row], gpu=True).splitlines()[3:]]
    assert [(cell[1], cell[5]) for cell in cells] == [("minibert", "50%"), ("minibert, fp16", "50%")]
    row = {**row, "precision": "fp16", "seconds": {"minibert": [3.0], "minibert, muon": [1.5], "transformers, bf16": [6.0]},
           "megabytes": {"minibert": 1, "minibert, muon": 1, "transformers, bf16": 1}}  # a card without bf16
    cells = [[cell.strip() for cell in line.split("|")] for line in contest.table([row], gpu=True).splitlines()[2:]]
    assert [(cell[1], cell[5]) for cell in cells] == [("**1 x 16, 4 lines**", "of 2 TFLOP/s, of 4 TFLOP/s in fp16"), ("minibert (fp16)", "50%"),
                                                      ("minibert, muon (fp16)", "100%"), ("transformers, bf16", "50%")]


def test_every_shape_has_a_name_for_the_table():
    assert set(contest.TOLD) == set(contest.SHAPES)


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


def test_a_part_in_which_somebody_took_too_long_is_tried_again_and_stays_until_then(tmp_path, answers, monkeypatch):
    asked, _ = answers
    out, row = tmp_path / "gpu.json", {"tokens": 1200, "operations": 6e12, "seconds": {"minibert": [0.24]}, "megabytes": {"minibert": 5}}
    failed = {"small": contest.TOO_LONG, "kantaibert": "it ended (what it said stands above)"}

    def measure(shape, *how):
        asked.append(shape)
        return {"shape": shape, **row, "failed": {"minibert, compiled": failed[shape]}}

    monkeypatch.setattr(gpu_suite, "measure", measure)
    suite(out, "--parts", "small", "kantaibert")
    suite(out, "--parts", "small", "kantaibert", "--minutes", "0.1")
    assert asked == ["small", "kantaibert"] and set(json.loads(out.read_text())["parts"]) == {"small", "kantaibert"}
    suite(out, "--parts", "small", "kantaibert")
    assert asked == ["small", "kantaibert", "small"]


def test_a_card_without_bf16_has_contestants_in_fp16(tmp_path, answers, monkeypatch):
    asked, _ = answers
    monkeypatch.setattr(gpu_suite, "find_spec", lambda name: True)
    for auto in ("bf16", "fp16"):
        monkeypatch.setattr(gpu_suite, "choose_precision", lambda name, device, auto=auto: auto)
        suite(tmp_path / f"{auto}.json", "--parts", "small")
    assert [who for _, who in asked] == [gpu_suite.WHO, gpu_suite.WHO_WITHOUT_BF16] and "minibert, fp16, compiled" not in gpu_suite.WHO
    assert all(contest.in_fp16(name, "fp16") for name in gpu_suite.WHO_WITHOUT_BF16)
    suite(tmp_path / "asked.json", "--parts", "small", "--contestants", "minibert, muon")
    assert asked[-1][1] == ["minibert, muon"]


def test_a_small_card_has_a_quarter_of_the_examples(tmp_path, answers, monkeypatch):
    parts = ["precision", "small", "bert-base", "bert-base at 512"]
    small = ["quickstart", "small", "bert-base, small card", "bert-base at 512, small card"]
    for gibibytes, told in ((39.4, ["quickstart", *parts[1:]]), (15, small)):
        card = SimpleNamespace(total_memory=gibibytes * 2 ** 30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, card=card: card)
        assert [gpu_suite.shape_of(part, CUDA) for part in parts] == told
    assert [gpu_suite.shape_of(part, CPU) for part in parts] == ["quickstart", *parts[1:]]
    for shape in ("bert-base", "bert-base at 512"):
        assert contest.SHAPES[f"{shape}, small card"] == (*contest.SHAPES[shape][:3], contest.SHAPES[shape][3] // 4)
    monkeypatch.setattr(gpu_suite, "shape_of", lambda part, device: f"{part}, small card")
    suite(tmp_path / "gpu.json", "--parts", "bert-base")
    assert answers[0][-1][0] == json.loads((tmp_path / "gpu.json").read_text())["parts"]["bert-base"]["shape"] == "bert-base, small card"


def test_without_transformers_its_rows_are_left_out_and_that_is_said(tmp_path, answers, monkeypatch, capsys):
    asked, _ = answers
    for there in (True, False):
        monkeypatch.setattr(gpu_suite, "find_spec", lambda name, there=there: there or None)
        suite(tmp_path / f"{there}.json", "--parts", "small")
        assert any(name.startswith("transformers") for name in asked[-1][1]) == there
        assert ("transformers or accelerate is not installed" in capsys.readouterr().out) == (not there)


def test_a_suite_without_time_left_says_so_and_keeps_what_it_has(tmp_path, answers, capsys):
    suite(tmp_path / "gpu.json", "--minutes", "0.6")  # too few seconds for processes to start, to warm up and to make a round
    assert not answers[0] and "no time is left for it. The same command again goes on" in capsys.readouterr().err


def test_a_check_that_takes_too_long_is_ended(tmp_path):
    assert gpu_suite.check("stops", tmp_path, "cpu", 0.05) == {"failed": "it took more than 0 seconds"}


def test_without_a_gpu_the_error_says_so(tmp_path):
    with pytest.raises(ValueError, match="device cuda is not available"):
        gpu_suite.main([])

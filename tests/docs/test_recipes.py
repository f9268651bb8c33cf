"""The three recipes: the published numbers, the small variants, from the source to answers."""
import bz2
import gzip
import json
import random
import re
import subprocess
import sys

import pytest
from commands import ROOT
from train_helpers import checkpoint_names, metrics

import train
from minibert.formats.run_folder import load_run
from minibert.presets import PRESETS

RECIPES = ("kant", "wikipedia", "amazon")


@pytest.mark.parametrize("name, vocab_size, shape, kind, examples, max_length, batch_size", [
    ("kant", 52_000, (6, 768, 12), "bpe", "lines", 128, 64),
    ("wikipedia", 35_000, (4, 256, 8), "wordpiece", "pairs", 128, 32),
    ("amazon", 20_005, (12, 768, 12), "bpe", "blocks", 512, 16),
])
def test_the_recipes_have_the_published_numbers(
        name, vocab_size, shape, kind, examples, max_length, batch_size):
    model, training = PRESETS[name]
    assert model.family == ("bert" if name == "wikipedia" else "roberta")
    assert model.vocab_size == vocab_size
    assert (model.num_hidden_layers, model.hidden_size, model.num_attention_heads) == shape
    assert (training.tokenizer_kind, training.examples) == (kind, examples)
    assert (training.max_length, training.batch_size) == (max_length, batch_size)
    assert (training.corpus, training.min_frequency, training.lowercase) == (name, 2, True)


def test_kant_sees_as_many_lines_as_the_published_walk_through():
    _, training = PRESETS["kant"]
    assert training.max_steps * training.batch_size == 171_008


def test_amazon_saves_as_often_as_published():
    _, training = PRESETS["amazon"]
    assert (training.eval_every, training.save_every, training.keep_checkpoints) == (500, 500, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_a_small_recipe_differs_only_in_size(name):
    model, training = PRESETS[name]
    small, short = PRESETS[f"{name}-small"]
    for field in ("tokenizer_kind", "examples", "corpus", "masking", "lowercase", "min_frequency"):
        assert getattr(short, field) == getattr(training, field), field
    assert (small.family, small.segments) == (model.family, model.segments)
    assert small.num_hidden_layers * small.hidden_size < model.num_hidden_layers * model.hidden_size
    assert 0 < short.minutes <= 5


@pytest.mark.parametrize("name", [*RECIPES, *(f"{name}-small" for name in RECIPES)])
def test_each_recipe_is_one_command(name):
    done = subprocess.run(["make", "--dry-run", name, "ARGS=--max-steps 20"], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    assert f"train.py --preset {name} --max-steps 20" in done.stdout


def write_source(name, folder):
    """Write a small corpus in the format of the recipe's source."""
    words = ("the cat dog sees eats a red small fish house and or not under over tree old new bad "
             "good girls boys like chased human").split()
    rng = random.Random(3)
    texts = []  # lists of sentences
    for _ in range(150):
        sentences = [" ".join(rng.choices(words, k=rng.randint(4, 9))) for _ in range(6)]
        texts.append([sentence.capitalize() + "." for sentence in sentences])
    if name == "kant":  # a book
        path = folder / "book.txt"
        path.write_text("\n\n".join("\n".join(text) for text in texts))
    elif name == "wikipedia":  # a dump of the search index
        path = folder / "wiki.json.bz2"
        with bz2.open(path, "wt") as file:
            for i, text in enumerate(texts):
                page = {"title": str(i), "namespace": 0, "text": " ".join(text)}
                file.write(json.dumps({"index": {"_id": i}}) + "\n" + json.dumps(page) + "\n")
    else:  # reviews
        path = folder / "Toys.jsonl.gz"
        with gzip.open(path, "wt") as file:
            for text in texts:
                review = {"rating": 5.0, "title": "Fine", "text": "<br />".join(text), "asin": "B0"}
                file.write(json.dumps(review) + "\n")
    return path


@pytest.mark.parametrize("name, probe", [
    ("kant", "Human thinking involves human <mask>."),
    ("wikipedia-small", "Good girls, like bad [MASK]"),
    ("amazon", "The dog chased the red <mask>"),
])
def test_from_the_source_to_the_five_likeliest_words(tmp_path, capsys, name, probe):
    source = write_source(name.removesuffix("-small"), tmp_path)
    out = tmp_path / "run"
    tiny = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 "
            "--vocab-size 300 --batch-size 4 --device cpu --precision fp32 --eval-examples 8 "
            "--max-steps 7 --eval-every 2 --save-every 2 --max-length 32").split()
    assert train.main(["--preset", name, "--corpus", str(source), "--out", str(out), *tiny]) == 0
    answers = capsys.readouterr().out.split(probe + "\n")[1].split("\n\n")[0]
    assert len(re.findall(r"^ +\d+\.\d%  ", answers, re.M)) == 5
    model, tokenizer = load_run(out)
    assert tokenizer.mask_token in probe
    has_nsp = getattr(model, "nsp", None) is not None
    assert has_nsp == name.startswith("wikipedia")
    assert checkpoint_names(out) == ["step-0000006", "step-0000007"]
    assert [line["step"] for line in metrics(out) if "eval_loss" in line] == [2, 4, 6, 7]


# ------------------------------------------------------------------------ against the Trainer

BENCHMARK = ROOT / "benchmarks" / "kant_against_trainer.py"


def curve(*points):
    """Return a curve from (step, seconds, processor seconds, loss, accuracy) of each point."""
    names = ("step", "seconds", "processor_seconds", "loss", "accuracy")
    return [dict(zip(names, point)) for point in points]


CURVES = {
    "minibert": curve((1, 60, 30, 7.0, 0.1), (2, 120, 60, 6.0, 0.2)),
    "trainer": curve((1, 90, 75, 6.5, 0.1), (2, 180, 150, 6.25, 0.15)),
}
ON_CPU = {"device": "cpu, 1 thread(s)", "curves": CURVES}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import kant_against_trainer
    return kant_against_trainer


def test_lower_at_every_step(benchmark):
    assert benchmark.lower_everywhere(ON_CPU) is False  # 7.0 at step 1, theirs 6.5
    assert benchmark.lower_everywhere({**ON_CPU, "curves": {}}) is None


def test_lower_in_time(benchmark):
    # On a CPU by processor time: when theirs has 6.5, after 75 seconds, ours has 6.0.
    assert benchmark.lower_in_time(ON_CPU) is True
    # On a GPU by the clock: when theirs has 6.5, after 90 seconds, ours has 7.0.
    assert benchmark.lower_in_time({**ON_CPU, "device": "a GPU"}) is False
    assert benchmark.lower_in_time({**ON_CPU, "curves": {"minibert": CURVES["minibert"]}}) is None


def test_the_table_has_the_points_that_both_have(benchmark):
    longer = CURVES["minibert"] + curve((3, 1, 1, 1.0, 1.0))
    results = {**ON_CPU, "curves": {**CURVES, "minibert": longer}}
    assert benchmark.table(results).splitlines()[2:] == [
        "| 1 | 7.000 | 10.0% | 0.5 | 6.500 | 10.0% | 1.2 |",
        "| 2 | 6.000 | 20.0% | 1.0 | 6.250 | 15.0% | 2.5 |"]


def test_results_with_other_settings_are_not_continued(benchmark, tmp_path):
    pytest.importorskip("transformers")
    path = tmp_path / "results.json"
    benchmark.write_json(path, {"settings": {"steps": 3}, "curves": CURVES})
    assert benchmark.load_results(path, {"steps": 3})["curves"] == CURVES
    assert benchmark.load_results(path, {"steps": 4})["curves"] == {}


@pytest.mark.parity
def test_both_are_trained_and_measured_on_the_same_lines(tmp_path):
    """In two runs: a complete curve is not trained again."""
    pytest.importorskip("accelerate")
    out = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARK), "--corpus", str(write_source("kant", tmp_path)),
               "--size", "tiny", "--steps", "5", "--every", "2", "--out", str(out)]

    def train_both(*flags):
        subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, check=True)
        return json.loads(out.read_text())

    alone = train_both("--only", "trainer")
    results = train_both()
    assert alone["curves"] == {"trainer": results["curves"]["trainer"]}
    for points in results["curves"].values():
        assert [point["step"] for point in points] == [2, 4, 5]
        assert all(5 < point["loss"] < 6.5 for point in points)  # ln 300 = 5.7: hardly trained
    assert train_both() == results


def test_the_published_table_is_that_of_the_results(benchmark):
    path = ROOT / "benchmarks" / "results" / "kant-against-trainer.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert f"\n{benchmark.table(results)}\n" in page
    assert benchmark.lower_everywhere(results)
    assert benchmark.lower_in_time(results)

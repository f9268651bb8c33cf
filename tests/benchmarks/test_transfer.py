"""benchmarks/transfer.py and its linear probe, on tiny models and files made up here."""
import itertools
import json
import math
import random
import signal
import sys
from pathlib import Path

import pytest
import torch
from finetune_helpers import make_run, sentences, table

from minibert.analysis.activations import hidden_activations
from minibert.finetuning.loop import EncodedTexts
from minibert.finetuning.seeds import NEVER_STOP, choose_examples
from minibert.formats.run_folder import load_run

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import labeled_tasks  # noqa: E402
import linear_probe  # noqa: E402
import transfer  # noqa: E402
import transfer_tables  # noqa: E402

TAGS = {"pos": ("ADJ", "NOUN"), "ner": ("B-MOOD", "O")}  # of good and bad, and of other words


def write_task(folder, task, part, rows):
    """Write train.tsv or dev.tsv of a task that asks for "good" and "bad" in a sentence."""
    (folder / task).mkdir(parents=True, exist_ok=True)
    if task == "cola":
        text = "".join(f"x\t{label}\t\t{sentence}\n" for sentence, label in rows)
    elif task in TAGS:
        lines = [[f"{word}\t{TAGS[task][word not in ('good', 'bad')]}" for word in text.split()]
                 for text, _ in rows]
        text = "\n\n".join(map("\n".join, lines)) + "\n"
    else:
        text = table(rows)
    (folder / task / f"{part}.tsv").write_text(text)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A run with random weights that is also a folder of all tasks."""
    folder = make_run("modernbert", tmp_path_factory.mktemp("transfer"))
    for task in ("sst2", "cola", *TAGS):
        write_task(folder, task, "train", sentences(24, seed=1))
        write_task(folder, task, "dev", sentences(10, seed=2))
    (folder / "subjectivity").mkdir()
    for label, name in labeled_tasks.SUBJECTIVITY.items():
        lines = [f"{text} {label}\n" for text, _ in sentences(15, seed=3)]
        (folder / "subjectivity" / name).write_text("".join(lines))
    return folder


def command(tasks, out, *more):
    return [str(tasks), "--tasks", str(tasks), "--out", str(out), "--epochs", "all:1", "--rates",
            "1e-3", "--dropouts", "0.1,0.2", "--seeds", "2", "--sizes", "8",
            "--extra", "--batch-size 8 --device cpu --precision fp32", *more]


def test_all_tasks_are_measured_in_one_table_and_one_picture(tasks, tmp_path, capsys):
    out, picture = tmp_path / "out.json", tmp_path / "curve.png"
    pair = {"sentence_good": "a good film", "sentence_bad": "film good a", "field": "syntax"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    transfer.main(command(tasks, out, "--seeds", "1", "--dropouts", "0.1", "--plot", str(picture),
                          "--blimp", str(tmp_path / "pairs.jsonl")))
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert len(result["rows"]) == len(result["searches"]) == 2 * len(labeled_tasks.TASKS)
    assert [group["name"] for group in result["minimal_pairs"]["groups"]] == ["", "syntax"]
    assert "trained on 16 examples of the training file, scored on 8 others" in printed
    assert "RoBERTa-base 69.5" in printed and "| layer | pre-trained, mean |" in printed
    assert picture.read_bytes().startswith(b"\x89PNG")
    transfer.main(["--table", str(out)])
    assert printed.endswith(capsys.readouterr().out)


def test_an_interrupted_measurement_ends_with_the_same_file(tasks, tmp_path, monkeypatch):
    more = ["--on", "sst2", "ner"]
    transfer.main(command(tasks, tmp_path / "whole.json", *more))
    calls = 0
    fit = labeled_tasks.fit

    def interrupted_fit(*args):
        nonlocal calls
        calls += 1
        if calls in (2, 6, 15):  # a trial, a seed, and a seed of the other task
            signal.raise_signal(signal.SIGINT)
        return fit(*args)

    monkeypatch.setattr(labeled_tasks, "fit", interrupted_fit)
    words = command(tasks, tmp_path / "parts.json", *more)
    assert [transfer.main(words) for _ in range(4)] == [130, 130, 130, None]
    assert calls == 2 * (2 * 2 + 2 * 2) + 3  # each of the three was trained once more
    assert (tmp_path / "parts.json").read_text() == (tmp_path / "whole.json").read_text()
    transfer.main(words)
    assert calls == 2 * (2 * 2 + 2 * 2) + 3


def test_a_size_of_the_complete_training_file_is_all(tasks, tmp_path):
    out = tmp_path / "out.json"
    transfer.main(command(tasks, out, "--on", "cola", "--sizes", "23", "24", "1000", "all"))
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == ["cola, 23, pre-trained", "cola, 23, from scratch",
                          "cola, all, pre-trained", "cola, all, from scratch"]


@pytest.mark.parametrize(("more", "message"), [
    (["--rates", "1e-2"], "choose another --out"),
    (["--epochs", "all:2"], "epochs 1, now 2"),
    (["--epochs", "9:1"], "no entry for 16 examples"),
    (["--extra", "--learning-rate 1e-3"], "the benchmark sets this itself"),
    (["--extra", "--learning-rate=1e-3 --batch-size 8"], "the benchmark sets this itself"),
    (["--extra", "--lora-rank 2"], "the benchmark sets this itself"),
    (["--sizes", "many"], "not a number of examples"),
    (["--rates", "0,1e-3"], "must be above 0"),
    (["--rates", "nan"], "learning_rate"),
    (["--dropouts", "1.5"], "hidden_dropout_prob"),
])
def test_other_settings_are_refused(tasks, tmp_path, more, message):
    out = tmp_path / "out.json"
    transfer.main(command(tasks, out, "--on", "cola", "--seeds", "1"))
    before = out.read_text()
    with pytest.raises(ValueError, match=message):
        transfer.main(command(tasks, out, "--on", "cola", "--seeds", "1", *more))
    assert out.read_text() == before


def test_rows_of_other_files_are_refused(tasks, tmp_path):
    out, folder = tmp_path / "out.json", tmp_path / "tasks"
    for part in ("train", "dev"):
        write_task(folder, "cola", part, sentences(24, seed=4))
    transfer.main(command(tasks, out, "--on", "cola"))
    with pytest.raises(ValueError, match="other files"):
        transfer.main(command(tasks, out, "--on", "cola", "--tasks", str(folder)))


def test_a_dev_file_that_cannot_be_used_is_an_error_before_the_first_training(
        tasks, tmp_path, monkeypatch):
    write_task(tmp_path, "cola", "train", sentences(24, seed=1))
    monkeypatch.setattr(labeled_tasks, "fit", None)
    words = command(tasks, tmp_path / "out.json", "--on", "cola", "--tasks", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="dev.tsv"):
        transfer.main(words)
    write_task(tmp_path, "cola", "dev", [("a film", "excellent")])
    transfer.read_part.cache_clear()
    with pytest.raises(ValueError, match="dev.tsv:1: label 'excellent' does not occur"):
        transfer.main(words)


def test_texts_that_are_too_short_for_the_search_are_an_error():
    with pytest.raises(ValueError, match="has 2 sentences of at least 5 words: the search needs 3"):
        transfer.search_sentences(["a b", "a b c d e", "f g h i j"])


def test_dev_phrases_of_sentences_that_are_trained_on_are_a_warning(tasks, tmp_path, capsys):
    for part, num_words in (("train", 7), ("dev", 5)):  # of the same sentences
        rows = [(" ".join(f"{label}{i}{word}" for word in "abcdefg"[:num_words]), label)
                for i in range(24) for label in ("good", "bad")]
        write_task(tmp_path, "sst2", part, rows)
    run = transfer.Measurement(transfer.parse(
        command(tasks, tmp_path / "out.json", "--on", "sst2", "--tasks", str(tmp_path))), None)
    run.check_files("sst2")
    assert "warning: 48 of 48 dev texts of sst2 share 5 words in a row" in capsys.readouterr().err


def test_results_are_in_the_folder_of_the_run_by_default(tasks):
    assert transfer.parse([str(tasks)]).out == tasks / "transfer.json"
    assert transfer.parse([str(tasks), "--out", "x.json"]).out == Path("x.json")


def test_the_search_reads_only_the_training_file(tasks, tmp_path):
    write_task(tmp_path, "sst2", "train", sentences(24, seed=1))  # there is no dev.tsv
    args = transfer.parse(command(tasks, tmp_path / "out.json", "--tasks", str(tmp_path)))
    transfer.Measurement(args, NEVER_STOP).search("sst2", "from scratch")
    search = json.loads(args.out.read_text())["searches"]["sst2, from scratch"]
    assert [*search["trials"]] == ["0.001, 0.1", "0.001, 0.2"]


@pytest.mark.parametrize(("count", "num_train", "num_held_out"), [
    (24, 16, 8), (2000, 1000, 666), (7000, 1000, 2000)])
def test_the_search_holds_out_other_examples(count, num_train, num_held_out):
    train, held_out = transfer.search_examples(count)
    assert (len(train), len(held_out)) == (num_train, num_held_out)
    assert not {*train} & {*held_out}
    assert [*train] == [*choose_examples(count, num_train)]


def test_no_phrase_that_is_trained_on_is_part_of_a_held_out_sentence_or_contains_one(tmp_path):
    """30 sentences of six to ten words, each with its parts of two words and more."""
    rng = random.Random(0)
    whole = [[f"w{rng.randrange(300)}" for _ in range(rng.randrange(6, 11))] for _ in range(30)]
    phrases = {" ".join(words[start:end]) for words in whole for end in range(len(words) + 1)
               for start in range(end - 1)}
    write_task(tmp_path, "sst2", "train", [(phrase, "1") for phrase in sorted(phrases)])
    train, held_out = transfer.search_parts(tmp_path, "sst2")
    assert {*held_out.texts} <= {" ".join(words) for words in whole}
    assert len(held_out) == 10 and len(train) > 300
    for a, b in itertools.product(train.texts, held_out.texts):
        assert f" {a} " not in f" {b} " and f" {b} " not in f" {a} "


@pytest.mark.parametrize(("grid", "best", "tried"), [
    ([1e-4, 3e-4, 1e-3], 3e-4, [1e-4, 3e-4, 1e-3]),
    ([1e-4, 3e-4, 1e-3], 4e-5, [2.5e-5, 5e-5, 1e-4, 3e-4, 1e-3]),
    ([1e-3, 1e-4, 3e-4], 1.5e-3, [1e-4, 3e-4, 1e-3, 2e-3, 4e-3]),
    ([1e-3], 1e-4, [1e-3]),
])
def test_the_search_goes_on_until_the_best_rate_has_others_on_both_sides(grid, best, tried):
    search = {"task": "sst2", "grid": [*itertools.product(grid, [0.5, 0.1])], "trials": {}}
    while trial := transfer.next_trial(search):
        rate, dropout = trial
        score = -abs(math.log(rate / best)) - dropout
        search["trials"][transfer.trial_key(rate, dropout)] = {
            "learning_rate": rate, "hidden_dropout_prob": dropout, "accuracy": score,
            "train_loss": 1.0}
    pairs = [(trial["learning_rate"], trial["hidden_dropout_prob"])
             for trial in search["trials"].values()]
    assert sorted(pairs) == [(pytest.approx(rate), dropout) for rate in tried
                             for dropout in (0.1, 0.5)]


def test_the_dev_part_of_subjectivity_is_a_fifth_that_training_lacks(tasks):
    train, dev = (labeled_tasks.read_part(tasks, "subjectivity", part) for part in ("train", "dev"))
    assert (len(train), len(dev)) == (24, 6)
    assert not {*train.texts} & {*dev.texts}
    assert all(text.endswith(label) for text, label in zip(train.texts, train.labels))


def test_each_variant_is_trained_with_its_own_weights_and_best_values(
        tasks, tmp_path, monkeypatch, capsys):
    """With fake training: the run's weights score best with 0.01, others with 0.001."""
    run, _ = load_run(tasks)

    def fake_fit(model, train, dev, config, seed, *others):
        blocks = [m.bert.blocks[0].mlp.up_proj.weight for m in (model, run)]
        is_pretrained = torch.equal(*blocks)
        assert config.epochs == config.eval_every == config.patience == 3  # dev selects nothing
        is_best = config.learning_rate == (1e-2 if is_pretrained else 1e-3)
        score = (0.5 + 0.25 * is_pretrained) if is_best else 0.1
        return [{"accuracy": score, "train_loss": 1.0, "seed": seed, "examples": len(train)}]

    monkeypatch.setattr(labeled_tasks, "fit", fake_fit)
    out = tmp_path / "out.json"
    transfer.main(command(tasks, out, "--on", "subjectivity", "--epochs", "all:3",
                          "--rates", "1e-3,1e-2", "--dropouts", "0.1"))
    rows = json.loads(out.read_text())["rows"]
    last = [seed["last"] for row in rows.values() for seed in row["seeds"].values()]
    assert [(entry["seed"], entry["examples"]) for entry in last] == [(0, 8), (1, 8)] * 2
    lines = capsys.readouterr().out.splitlines()
    assert "| 8 | 3 | 75.0 ± 0.0 | 50.0 ± 0.0 | +25.0 (0.0) | 50.0 |" in lines
    assert ("| subjectivity | pre-trained | 3 | 16 and 8 | 0.001, 0.01, 0.02 | 0.1 | 0.01 | 0.1 "
            "| 75.0 |") in lines
    assert ("| subjectivity | from scratch | 3 | 16 and 8 | 0.0005, 0.001, 0.01 | 0.1 | 0.001 "
            "| 0.1 | 50.0 |") in lines


def test_a_rate_that_is_too_high_is_not_chosen(tasks, tmp_path):
    out = tmp_path / "out.json"
    transfer.main(command(tasks, out, "--on", "cola", "--rates", "1e30,1e-3"))
    for search in json.loads(out.read_text())["searches"].values():
        errors = {trial["learning_rate"]: "error" in trial for trial in search["trials"].values()}
        assert errors.pop(1e30) and not any(errors.values())
    with pytest.raises(ValueError, match="give lower --rates and another --out"):
        transfer.main(command(tasks, tmp_path / "b.json", "--on", "cola", "--rates", "1e30"))


def test_of_equal_scores_accuracy_and_then_the_loss_choose():
    trials = {name: {"f1": 0.0, "accuracy": accuracy, "train_loss": loss}
              for name, accuracy, loss in (("a", 0.8, 0.1), ("b", 0.9, 0.5), ("c", 0.9, 0.4))}
    assert transfer_tables.best_trial({"task": "ner", "trials": trials}) is trials["c"]
    trials["a"]["f1"] = 0.01
    assert transfer_tables.best_trial({"task": "ner", "trials": trials}) is trials["a"]


def row(variant, scores, examples=1000):
    return {"task": "sst2", "variant": variant, "examples": examples, "constant": 0.509,
            "config": {"epochs": 20}, "seeds": {i: {"score": s} for i, s in enumerate(scores)}}


def test_the_difference_has_its_standard_error():
    """Deviations of 2 and 1 points over three seeds: sqrt(4 / 3 + 1 / 3) = 1.29."""
    rows = {"a": row("pre-trained", [0.70, 0.72, 0.74]), "c": row("pre-trained", [0.625], 100),
            "b": row("from scratch", [0.69, 0.68, 0.67]), "d": row("from scratch", [0.635], 100)}
    lines = transfer_tables.tables({"rows": rows, "searches": {}}).splitlines()
    assert lines[0] == "SST-2 (accuracy)"
    assert lines[4] == "| 100 | 20 | 62.5 | 63.5 | -1.0 | 50.9 |"
    assert lines[5] == "| 1,000 | 20 | 72.0 ± 2.0 | 68.0 ± 1.0 | +4.0 (1.3) | 50.9 |"


def test_the_tables_of_an_unfinished_file_have_what_is_there(tmp_path):
    search = {"task": "sst2", "variant": "pre-trained", "trials": {}}
    result = {"rows": {}, "searches": {"sst2, pre-trained": search}}
    assert transfer_tables.tables(result) == ""
    with pytest.raises(ValueError, match="a.png: there is no score to draw yet"):
        transfer_tables.plot(result, tmp_path / "a.png")


def test_a_logistic_regression_has_the_smallest_penalized_loss():
    """x = -1 and 1 with weights (-a, a): s a = 1 / (1 + e^(2a)), so a = 1/2 for s = 2 / (1 + e)."""
    x = torch.tensor([[-1.0], [1.0]])
    strength = 2 / (1 + math.e)
    weights, biases = linear_probe.fit_logistic(x, torch.tensor([0, 1]), 2, strength)
    assert weights.tolist() == [pytest.approx([-0.5, 0.5], abs=1e-4)]
    assert biases.tolist() == pytest.approx([0, 0], abs=1e-4)


def test_a_probe_finds_a_planted_direction():
    generator = torch.Generator().manual_seed(0)
    parts = ("train", "held_out", "dev")
    labels = {part: torch.arange(200) % 2 for part in parts}
    noise = {part: torch.randn(200, 8, generator=generator) for part in parts}
    planted = {part: x.clone() for part, x in noise.items()}
    for part in parts:
        planted[part][:, 3] = 100 + 0.01 * noise[part][:, 3] + 0.05 * labels[part]
    assert linear_probe.probe(planted, labels, 2)["dev"] > 0.97
    assert 0.4 < linear_probe.probe(noise, labels, 2)["dev"] < 0.6


def test_the_strength_of_a_probe_is_not_chosen_on_the_dev_part():
    generator = torch.Generator().manual_seed(1)
    labels = {part: torch.arange(40) % 2 for part in ("train", "held_out", "dev")}
    features = {part: torch.randn(40, 30, generator=generator) + 0.3 * labels[part][:, None]
                for part in labels}
    chosen = linear_probe.probe(features, labels, 2)
    opposite = linear_probe.probe(features, labels | {"dev": 1 - labels["dev"]}, 2)
    assert opposite["strength"] == chosen["strength"]
    assert opposite["dev"] == pytest.approx(1 - chosen["dev"])


@pytest.mark.parametrize("family", ["modernbert", "bert"])
def test_features_are_the_vectors_of_each_text_without_padding(family, tmp_path):
    model, tokenizer = load_run(make_run(family, tmp_path))
    texts = ["good", "a bad film about a good actor", "bad film"]
    encoded = EncodedTexts(tokenizer, texts, model.config, 32, torch.arange(3).numpy())
    features = linear_probe.layer_features(model.bert, encoded)
    for i, text in enumerate(texts):
        vectors = hidden_activations(model, tokenizer, text).vectors  # (L + 1, T, H)
        assert torch.allclose(features["mean"][:, i], vectors.mean(dim=1), atol=1e-5)
        assert torch.allclose(features["first token"][:, i], vectors[:, 0], atol=1e-5)

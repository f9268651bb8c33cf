"""The fine-tuning command and its seeds, on a task that a tiny model learns in seconds."""
import json
import re

import numpy as np
import pytest
import torch
from finetune_helpers import QUICK, flags, load_parts, sentences, silent, table

from minibert.finetuning import command, seeds
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.loop import fit
from minibert.finetuning.predict import read_settings
from minibert.finetuning.seeds import (
    balanced_weights,
    choose_examples,
    finetune,
    new_model,
)
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification


def files(run):
    return ["--train", str(run / "train.tsv"), "--dev", str(run / "dev.tsv")]


def accuracy_of_predictions(words, run, capsys):
    """Run --predict on the dev file."""
    command.main([*words, "--predict", str(run / "dev.tsv"), "--json"])
    lines = capsys.readouterr().out.splitlines()
    labels = [label for _, label in sentences(40, 2)]
    return np.mean([json.loads(line)["prediction"] == label for line, label in zip(lines, labels)])


# the results


def test_an_easy_task_is_learned_saved_and_predicted(any_run, tmp_path, capsys):
    out = tmp_path / "out"
    options = flags(epochs=4, patience=4)
    command.main([str(any_run), *files(any_run), "--out", str(out), "--json", *options])
    results = json.loads(capsys.readouterr().out)
    assert results["pretrained"]["mean"] >= 0.9
    assert results["constant"] == 0.5 and results["labels"] == ["0", "1"]
    new = tmp_path / "new.tsv"
    new.write_text(table([("a very good plot", "x"), ("", "y"), ("the bad actor", "z")],
                         ["sentence", "id"]))
    command.main([str(out), "--predict", str(new)])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["index", "prediction", "probability"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "2"]
    assert lines[1][1] == "1" and lines[3][1] == "0"
    # The saved model is the one whose score was reported.
    assert accuracy_of_predictions([str(out)], any_run, capsys) == results["pretrained"]["mean"]


def test_uneven_labels_get_balanced_weights_and_all_scores_are_shown(bert, tmp_path, capsys):
    """Always the same answer has 91 % accuracy, no F1 of the rare label, and no correlation."""
    rows = [row for i, row in enumerate(sentences(400, 4)) if row[1] == "1" or i % 18 == 0]
    (tmp_path / "train.tsv").write_text(table(rows) + "too\tmany\tfields\n" * 4)
    command.main([str(bert), "--train", str(tmp_path / "train.tsv"), "--out", str(tmp_path / "out"),
                  "--skip-bad-rows", *flags(epochs=1, class_weights="balanced")])
    shown = capsys.readouterr().out
    skipped = shown[shown.index("skipped"):].splitlines()[:5]
    assert skipped[0].startswith("skipped      4 bad rows of")
    assert [line.partition("train.tsv:")[2][:14] for line in skipped[1:4]] == [
        f"{i}: 3 fields " for i in (225, 226, 227)]
    assert skipped[4].strip() == "and 1 more"
    assert "baseline     accuracy 0.9091, f1 (0) 0.0000, matthews 0.0000 for always" in shown
    config = json.loads((tmp_path / "out" / "finetune.json").read_text())["config"]
    assert config["f1_class"] == 0


def test_a_dev_set_of_one_label_is_reported(bert, tmp_path, capsys):
    (tmp_path / "dev.tsv").write_text(table([("a bad plot", "0"), ("quite bad", "0")]))
    command.main([str(bert), "--train", str(bert / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"),
                  "--out", str(tmp_path / "out"), *flags(epochs=1)])
    shown = capsys.readouterr().out
    assert "the dev set has only the label 0" in shown
    assert "hint         no better than always the same answer: try --class-weights" in shown


@pytest.mark.parametrize(("scores", "constant", "dropout", "hint"), [
    ([20 / 21] * 2, 20 / 21, 0.1, "try --class-weights balanced, --learning-rate"),
    ([20 / 21] * 2, 20 / 21, 0.3,
     "try --class-weights balanced, less --hidden-dropout-prob, --learning"),
    ([0.5] * 2, 0.5, 0.1, "always the same answer: try --learning-rate"),  # equally frequent labels
    ([1.0, 19 / 21], 20 / 21, 0.3, ""),
])
def test_a_best_score_that_a_constant_answer_has_too_is_no_success(
        scores, constant, dropout, hint):
    lines = []
    command.report({
        "metric": "accuracy", "labels": ["neg", "pos"],
        "config": vars(FinetuneConfig(hidden_dropout_prob=dropout)),
        "constant": constant, "constant_scores": {"accuracy": constant},
        "pretrained": {"mean": round(sum(scores) / 2, 6), "deviation": 0.0, "scores": scores},
    }, lines.append)
    hints = [line for line in lines if "no better than always the same answer" in line]
    assert bool(hints) == bool(hint) and hint in "".join(hints)


def test_class_weights_change_the_loss_as_if_rare_examples_were_repeated(bert):
    config = from_pretrained(bert / "model").config
    model = BertForSequenceClassification(config, ("a", "b")).eval()
    ids = torch.tensor([[2, 5, 3], [2, 6, 3], [2, 7, 3], [2, 8, 3]])
    labels = torch.tensor([1, 0, 0, 0])
    weights = balanced_weights(labels.numpy(), 2)
    weighted = model(ids, labels=labels, class_weights=weights).loss
    repeated = model(ids[[0, 0, 0, 1, 2, 3]], labels=labels[[0, 0, 0, 1, 2, 3]]).loss
    torch.testing.assert_close(weighted, repeated)


@pytest.mark.parametrize("mode, options", [
    ("lora", {"lora_rank": 4, "lora_on": "query,value,mlp"}), ("prefix", {"prefix_length": 8})])
def test_an_adapter_learns_an_easy_task_and_predicts_it(
        modernbert, tmp_path, capsys, mode, options):
    run = modernbert
    out = tmp_path / "out"
    command.main([str(run), *files(run), "--out", str(out),
                  *flags(tune=mode, epochs=6, patience=6, learning_rate=6e-3, **options)])
    shown = capsys.readouterr().out
    results = json.loads((out / "finetune.json").read_text())
    trained = f"trained      {mode}: {results['learning']['trained']:,} of "
    assert trained in shown and shown.index(trained) < shown.index("pre-trained  seed 0")
    assert f"adapter      {out / 'adapter.safetensors'}" in shown
    assert results["pretrained"]["mean"] >= 0.75
    assert results["tuning"] == {**results["tuning"], "tune": mode, **options}
    for words in ([str(out)], [str(run), "--adapter", str(out)]):
        assert accuracy_of_predictions(words, run, capsys) == results["pretrained"]["mean"]


def test_a_regression_of_pairs_learns_a_number_and_predicts_a_third_file(bert, tmp_path, capsys):
    for name, seed in (("train", 1), ("dev", 2)):
        rows = [(text, "a film", "2.5" if label == "1" else "-1")
                for text, label in sentences(120, seed)]
        (tmp_path / f"{name}.tsv").write_text(table(rows, ["one", "two", "score"]))
    out = tmp_path / "out"
    command.main([str(bert), *files(tmp_path), "--predict", str(tmp_path / "dev.tsv"),
                  "--text", "one", "--pair", "two", "--label", "score", "--task", "regression",
                  "--out", str(out), "--json", *flags(epochs=5, learning_rate=5e-3)])
    shown = capsys.readouterr()
    results = json.loads(shown.out)
    assert results["pretrained"]["mean"] > 0.9 and results["constant"] is None
    assert "pearson undefined, spearman undefined (all scores are equal) for always" in shown.err
    assert results["predicted"]["scores"]["pearson"] == pytest.approx(results["pretrained"]["mean"])
    assert f"pearson {results['predicted']['scores']['pearson']:.4f}" in shown.err
    lines = (out / "predictions.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert float(lines[2].split("\t")[1]) > 1 > float(lines[1].split("\t")[1])
    assert json.loads((out / "finetune.json").read_text())["layout"]["pair"] == "two"


def test_a_correlation_of_equal_predictions_is_undefined(bert, tmp_path, capsys):
    """The texts are equal, and so are their predictions."""
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n" + "a film\t1\na film\t2\n" * 4)
    data = ["--train", str(tmp_path / "a.tsv"), "--dev", str(tmp_path / "a.tsv")]
    command.main([str(bert), *data, "--predict", str(tmp_path / "a.tsv"), "--task", "regression",
                  "--from-scratch", "--out", str(tmp_path / "out"), "--json", *flags(epochs=1)])
    shown = capsys.readouterr()
    assert "pre-trained  pearson undefined (all scores are equal)\n" in shown.err
    assert "hint         no better than always the same answer" in shown.err
    results = json.loads(shown.out)
    assert results["pretrained"]["scores"] == [None] and "gain" not in results
    assert results["predicted"]["scores"] == {"pearson": None, "spearman": None}
    from_pretrained(tmp_path / "out")


def test_pretraining_gains_over_random_weights(bert):
    """The "pre-trained" model is one that has been fine-tuned before, so it needs no learning."""
    model, tokenizer, train, dev = load_parts(bert)
    best_models = []
    config = FinetuneConfig(epochs=4, patience=4, **QUICK)
    finetune(model, tokenizer, train, dev, config, say=silent,
             on_best=lambda model, score, chosen: best_models.append(model))
    options = QUICK | {"learning_rate": 1e-3, "seeds": 2}
    config = FinetuneConfig(epochs=1, from_scratch=True, **options)
    results = finetune(best_models[-1], tokenizer, train, dev, config, say=silent)
    difference = results["pretrained"]["mean"] - results["from_scratch"]["mean"]
    assert results["gain"] == pytest.approx(difference) and results["gain"] > 0.2
    assert len(results["from_scratch"]["scores"]) == 2


# seeds


@pytest.mark.parametrize("use_pretrained", [True, False])
def test_fine_tuning_uses_dropout_though_pretraining_did_not(any_run, use_pretrained):
    pretrained = from_pretrained(any_run / "model")
    assert pretrained.config.hidden_dropout_prob == 0
    config = FinetuneConfig(hidden_dropout_prob=0.25, device="cpu")
    model = new_model(pretrained, ("0", "1"), config, Tuning(), 0, use_pretrained)
    dropouts = {name: module.p for name, module in model.named_modules()
                if isinstance(module, torch.nn.Dropout)}
    assert dropouts.pop("dropout") == 0.1  # the head
    assert list(dropouts.values()) == [0.25] * 3  # embeddings, attention and MLP of the one block
    assert model.config.attention_probs_dropout_prob == 0


def test_seeds_differ_and_are_reproducible(bert):
    config = FinetuneConfig(epochs=1, examples=32, **QUICK | {"seeds": 2})
    first, second = (finetune(*load_parts(bert), config, say=silent) for _ in range(2))
    assert first == second
    losses = [history[0]["train_loss"] for history in first["pretrained"]["epochs"]]
    assert losses[0] != losses[1]


def test_the_model_of_the_best_seed_is_kept(bert, monkeypatch):
    def scripted_fit(model, train, dev, config, seed, bar, stop, on_best):
        score = (0.7, 0.6, 0.8)[seed]
        on_best(score, {})
        return [{"epoch": 1, "accuracy": score}]

    monkeypatch.setattr(seeds, "fit", scripted_fit)
    best_scores = []
    config = FinetuneConfig(from_scratch=True, **{**QUICK, "seeds": 3})
    results = finetune(*load_parts(bert), config, say=silent,
                       on_best=lambda model, score, chosen: best_scores.append(score))
    assert best_scores == [0.7, 0.8]
    assert results["pretrained"]["mean"] == 0.7 and results["pretrained"]["deviation"] == 0.1
    assert results["gain"] == 0.0


def test_ctrl_c_keeps_the_best_model_so_far(bert, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    seen = []

    def interrupted_fit(model, train, dev, config, seed, bar, stop, on_best):
        seen.append(seed)
        stop.requested = len(seen) == 2
        return fit(model, train, dev, config, seed, bar, stop, on_best)

    monkeypatch.setattr(seeds, "fit", interrupted_fit)
    words = [str(bert), *files(bert), "--out", str(out), *flags(seeds=3, epochs=1),
             "--from-scratch"]
    assert command.main(words) == 130
    assert "stopped      the best model so far is saved" in capsys.readouterr().out
    assert isinstance(from_pretrained(out), BertForSequenceClassification) and seen == [0, 1]
    assert len(json.loads((out / "finetune.json").read_text())["pretrained"]["scores"]) == 1


def test_the_best_model_is_saved_with_its_settings_though_a_later_seed_fails(
        bert, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def failing_fit(model, train, dev, config, seed, bar, stop, on_best):
        if seed == 1:
            raise ValueError("the loss is nan")
        return fit(model, train, dev, config, seed, bar, stop, on_best)

    monkeypatch.setattr(seeds, "fit", failing_fit)
    with pytest.raises(ValueError, match="the loss is nan"):
        command.main([str(bert), *files(bert), "--out", str(out), *flags(seeds=2, epochs=1),
                      "--max-length", "23"])
    assert isinstance(from_pretrained(out), BertForSequenceClassification)
    assert read_settings(out)[1].max_length == 23


def test_the_subset_of_examples_is_always_the_same():
    assert choose_examples(10, 0).tolist() == choose_examples(10, 99).tolist() == list(range(10))
    subset = choose_examples(100, 7).tolist()
    assert len(subset) == 7 and subset == choose_examples(100, 7).tolist() == sorted(set(subset))


def test_a_loss_that_is_not_finite_raises(bert):
    model, tokenizer, train, dev = load_parts(bert)
    with torch.no_grad():
        model.bert.embeddings.token.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="the loss is nan: lower --learning-rate"):
        finetune(model, tokenizer, train, dev, FinetuneConfig(epochs=1, **QUICK), say=silent)


# the command


def test_without_a_dev_file_a_tenth_is_split_off_and_empty_texts_are_counted(
        bert, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(table([*sentences(30, 1), ("", "1")]))
    command.main([str(bert), "--train", str(tmp_path / "train.tsv"),
                  "--out", str(tmp_path / "a"), *flags(epochs=1)])
    shown = capsys.readouterr().out
    assert "left out     1 example of" in shown
    assert "4 of the 30 training examples are the dev set: a random tenth of each label" in shown
    (tmp_path / "dev.tsv").write_text(table([*sentences(4, 1), ("", "1")]))
    command.main([str(bert), *files(tmp_path), "--out", str(tmp_path / "b"), *flags(epochs=1)])
    assert "kept         1 example of" in capsys.readouterr().out
    assert json.loads((tmp_path / "b" / "finetune.json").read_text())["dev"] == 5


def test_each_mode_has_its_own_default_learning_rate(bert, tmp_path, monkeypatch):
    seen = []

    def record(model, tokenizer, train, dev, config, stop, say, on_best, tuning):
        seen.append((tuning.tune, config.learning_rate))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "finetune", record)
    for words in ([], ["--tune", "lora"], ["--tune", "prefix", "--learning-rate", "0.25"]):
        with pytest.raises(KeyboardInterrupt):
            command.main([str(bert), *files(bert), "--out", str(tmp_path / "out"), *words])
    # 0.1 / (16 wide x sqrt(1 layer))
    assert seen == [("all", 6.3e-3), ("lora", 3.1e-2), ("prefix", 0.25)]


@pytest.mark.parametrize("words, message", [
    ("RUN", "nothing to do: give --train FILE"),
    ("RUN --tune lorra", "--tune is 'lorra'"),
    ("DIR/absent --train TRAIN", "absent: no such folder"),
    ("RUN --predict TRAIN", "has not been fine-tuned"),
    ("RUN --adapter RUN --predict TRAIN", "adapter.json: no such file"),
    ("RUN --train DIR/absent.tsv", "no such file"),
    ("RUN --train TRAIN --text text", "train.tsv:2: no column 'text'; there are: sentence, label"),
    ("RUN --train TRAIN --dev DIR/other.tsv", "other.tsv:3: label '2' does not occur in training"),
    ("RUN --train TRAIN --examples 1", "has only one label: raise --examples"),
    ("RUN --train TRAIN --out DIR/full", "holds a model already"),
    ("RUN --train TRAIN --metric pearson", "--metric is 'pearson': choose from"),
    ("RUN --train TRAIN --epochs 0", "--epochs is 0: it must be at least 1"),
    (f"RUN --train TRAIN --seeds {10**23}", f"--seeds is {10**23}: it must be at most"),
    ("RUN --train TRAIN --learning-rate -1", "--learning-rate is -1.0"),
    ("RUN --train TRAIN --max-length 35", "--max-length 35 is more than the 34 tokens"),
    ("RUN --train TRAIN --max-length 2", "--max-length 2 has room for special tokens only: "
     "at least 3"),
    ("RUN --train TRAIN --task qa --max-length 5", "--max-length 5 has room for special"),
    ("RUN --train TRAIN --lora-rank 4", "--lora-rank belongs to --tune lora, but --tune is all"),
    ("RUN --train TRAIN --tune lora --from-scratch", "--from-scratch with tune lora"),
    ("RUN --train TRAIN --tune lora --lora-rank 99", "--lora-rank 99 is more than"),
    ("RUN --train TRAIN --adapter DIR", "is only for --predict"),
])
def test_mistakes_raise_and_leave_nothing_behind(bert, tmp_path, words, message):
    (tmp_path / "other.tsv").write_text(table([("a", "0"), ("b", "2")]))
    save_pretrained(from_pretrained(bert / "model"), tmp_path / "full")
    out = tmp_path / "out"
    for name, path in (("RUN", bert), ("TRAIN", bert / "train.tsv"), ("DIR", tmp_path)):
        words = words.replace(name, str(path))
    extra = [] if "--out" in words else ["--out", str(out)]
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        command.main([*words.split(), *extra])
    assert not out.exists()

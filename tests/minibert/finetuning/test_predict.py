"""Predictions with and without labels in the file, and where they are written."""
import json

import pytest
import torch
from finetune_helpers import load_parts, make_run, sentences, table

from minibert.finetuning import command
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import Layout
from minibert.finetuning.predict import read_settings
from minibert.formats.huggingface import save_pretrained
from minibert.heads import BertForSequenceClassification


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that always answers 1."""
    pretrained, tokenizer, *_ = load_parts(make_run("bert", tmp_path_factory.mktemp("run")))
    model = BertForSequenceClassification(pretrained.config, ("0", "1"))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 5.0]))
    folder = tmp_path_factory.mktemp("out")
    save_pretrained(model, folder, tokenizer)
    return folder


def predict(folder, path, rows, *flags, names=("sentence", "label")):
    path.write_text(table(rows, names))
    command.main([str(folder), "--predict", str(path), *flags])


def test_labels_in_the_file_are_scored(folder, tmp_path, capsys):
    """Three of four labels are 1: accuracy 3/4, F1 2 x 3 / (2 x 3 + 1)."""
    rows = [("a film", "1"), ("the plot", "1"), ("", "1"), ("an actor", "0")]
    predict(folder, tmp_path / "a.tsv", rows)
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert "accuracy 0.7500, f1 (1) 0.8571, matthews 0.0000, on the 4 examples of" in error


def test_files_that_cannot_be_scored_are_still_predicted(folder, tmp_path, capsys):
    predict(folder, tmp_path / "a.tsv", [("a film", "1"), ("the plot", "-1")])
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "not scored" in error and "a.tsv:3: label '-1' does not occur in training" in error
    predict(folder, tmp_path / "b.tsv", [("a film",), ("the plot",)], names=("sentence",))
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 3 and not error


def test_out_names_the_folder_for_predictions(folder, tmp_path, capsys):
    out = tmp_path / "answers"
    predict(folder, tmp_path / "a.tsv", sentences(4, 1), "--out", str(out), "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["predictions"] == str(out / "predictions.tsv")
    assert result["scores"]["accuracy"] == 0.5
    lines = (out / "predictions.tsv").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["prediction", "1", "1", "1", "1"]


def test_old_predictions_are_only_replaced_on_request(folder, tmp_path):
    (tmp_path / "predictions.tsv").write_text("old")
    words = [folder, tmp_path / "a.tsv", sentences(4, 1), "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="predictions.tsv already exists: add --overwrite"):
        predict(*words)
    assert (tmp_path / "predictions.tsv").read_text() == "old"
    predict(*words, "--overwrite")
    assert len((tmp_path / "predictions.tsv").read_text().splitlines()) == 5


def test_predictions_never_replace_the_file_that_they_are_for(folder, tmp_path):
    path = tmp_path / "predictions.tsv"
    with pytest.raises(ValueError, match="predictions.tsv is read, so it cannot be replaced"):
        predict(folder, path, sentences(4, 1), "--out", str(tmp_path), "--overwrite")
    assert path.read_text().startswith("sentence")


@pytest.mark.parametrize("flags, named", [
    (["--epochs", "3"], "--epochs"), (["--dev", "a.tsv"], "--dev"), (["--tune", "lora"], "--tune"),
    (["--skip-bad-rows"], "--skip-bad-rows"),
    (["--learning-rate", "1", "--from-scratch"], "--learning-rate, --from-scratch")])
def test_training_flags_without_a_training_file_raise(folder, tmp_path, flags, named):
    with pytest.raises(ValueError, match=f"^{named}: only for training: add --train FILE"):
        predict(folder, tmp_path / "a.tsv", sentences(4, 1), *flags)


def test_settings_are_read_back_and_damaged_ones_raise(tmp_path):
    assert read_settings(tmp_path) == (Layout(), FinetuneConfig())
    path = tmp_path / "finetune.json"
    path.write_text(json.dumps({"layout": {"text": "a"}, "config": {"max_length": 9}}))
    assert read_settings(tmp_path) == (Layout(text="a"), FinetuneConfig(max_length=9))
    for content in ("{", "[]", '{"layout": {"txt": "a"}, "config": {}}', '{"layout": {}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="finetune.json was not written by fine-tuning"):
            read_settings(tmp_path)

"""What a fine-tuned model answers: with labels in the file its scores, in a folder where one is named; and what is refused."""
import json

import pytest
import torch
from finetune_helpers import make_run, parts, sentences, table

from minibert.finetuning import command
from minibert.finetuning.labeled_files import Layout
from minibert.finetuning.loop import FinetuneConfig
from minibert.finetuning.predict import as_table, read_settings
from minibert.formats.huggingface import save_pretrained
from minibert.heads import BertForSequenceClassification


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier that answers 1, whatever it is asked."""
    pretrained, tokenizer, *_ = parts(make_run("bert", tmp_path_factory.mktemp("run")))
    model = BertForSequenceClassification(pretrained.config, ("0", "1"))
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 5.0]))
    folder = tmp_path_factory.mktemp("out")
    save_pretrained(model, folder, tokenizer)
    return folder


def asked(folder, path, rows, *more, names=("sentence", "label")):
    path.write_text(table(rows, names))
    command.main([str(folder), "--predict", str(path), *more])


def test_labels_in_the_file_are_scored(folder, tmp_path, capsys):
    """Always 1, and three of four are 1: accuracy 3/4, F1 2 x 3 / (2 x 3 + 1)."""
    asked(folder, tmp_path / "a.tsv", [("a film", "1"), ("the plot", "1"), ("", "1"), ("an actor", "0")])
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 5 and "scored       accuracy 0.7500, f1 0.8571, matthews 0.0000, on the 4 labels of" in error


def test_what_cannot_be_scored_is_answered_all_the_same(folder, tmp_path, capsys):
    asked(folder, tmp_path / "a.tsv", [("a film", "1"), ("the plot", "-1")])
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 3 and "not scored" in error and "a.tsv:3: label '-1' does not occur in training" in error
    asked(folder, tmp_path / "b.tsv", [("a film",), ("the plot",)], names=("sentence",))
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 3 and not error


def test_out_is_where_predictions_go(folder, tmp_path, capsys):
    asked(folder, tmp_path / "a.tsv", sentences(4, 1), "--out", str(tmp_path / "answers"), "--json")
    place = tmp_path / "answers" / "predictions.tsv"
    result = json.loads(capsys.readouterr().out)
    assert result["predictions"] == str(place) and result["scores"]["accuracy"] == 0.5
    assert [line.split("\t")[1] for line in place.read_text().splitlines()] == ["prediction", "1", "1", "1", "1"]


@pytest.mark.parametrize("more, named", [(["--epochs", "3"], "--epochs"), (["--dev", "a.tsv"], "--dev"), (["--tune", "lora"], "--tune"),
                                         (["--learning-rate", "1", "--from-scratch"], "--learning-rate, --from-scratch")])
def test_flags_of_training_are_refused_without_it(folder, tmp_path, more, named):
    with pytest.raises(ValueError, match=f"^{named}: for training, and there is no --train FILE"):
        asked(folder, tmp_path / "a.tsv", sentences(4, 1), *more)


def test_scores_of_a_third_file_stand_in_the_results_of_training(folder, tmp_path, capsys):
    for name, seed in (("train", 1), ("dev", 2), ("test", 3)):
        (tmp_path / f"{name}.tsv").write_text(table(sentences(16, seed)))
    files = [part for name in ("train", "dev") for part in (f"--{name}", str(tmp_path / f"{name}.tsv"))]
    asked(folder, tmp_path / "test.tsv", sentences(16, 3), *files, "--out", str(tmp_path / "out"), "--json", "--epochs", "1", "--seeds", "1")
    out, error = capsys.readouterr()
    found = json.loads(out)["predicted"]
    assert found["file"] == str(tmp_path / "test.tsv") and 0 <= found["scores"]["accuracy"] <= 1
    assert f"scored       accuracy {found['scores']['accuracy']:.4f}" in error


def test_settings_are_read_back_or_refused(tmp_path):
    assert read_settings(tmp_path) == (Layout(), FinetuneConfig())
    path = tmp_path / "finetune.json"
    path.write_text(json.dumps({"layout": {"text": "a"}, "config": {"max_length": 9}}))
    assert read_settings(tmp_path) == (Layout(text="a"), FinetuneConfig(max_length=9))
    for content in ("{", "[]", '{"layout": {"txt": "a"}, "config": {}}', '{"layout": {}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="finetune.json is not what fine-tuning wrote"):
            read_settings(tmp_path)


def test_predictions_of_a_regression_have_no_probability():
    assert as_table([{"prediction": 1.5}]) == ["index\tprediction", "0\t1.5000"]
    assert Layout().parts(labeled=False) == ["sentence"]

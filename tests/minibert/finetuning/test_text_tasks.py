"""Several labels per text: how they are read, the loss, the scores and the command."""
import json
import math
from pathlib import Path

import pytest
import torch
from finetune_helpers import flags, sentences, table

from minibert.finetuning import command
from minibert.finetuning.config import TASKS, FinetuneConfig
from minibert.finetuning.labeled_files import Layout
from minibert.formats.huggingface import from_pretrained
from minibert.heads import BertForMultiLabelClassification

TASK = TASKS["multilabel"]


def written(tmp_path, content, name="a.tsv"):
    path = tmp_path / name
    path.write_text(content)
    return path


def two_labels(count, seed):
    """Label the texts of ``sentences`` "good" or nothing, and "the" if the word occurs."""
    rows = []
    for text, label in sentences(count, seed):
        names = ["good"] * (label == "1") + ["the"] * ("the" in text.split())
        rows.append((text, ",".join(names)))
    return rows


@pytest.mark.parametrize("content, name", [
    ('sentence\tlabel\nx\tred, green\ny\t\nz\tred,red\n', "a.tsv"),
    ('sentence\tlabel\nx\t["red", "green"]\ny\t[]\nz\t["red"]\n', "a.tsv"),
    ('{"sentence": "x", "label": ["red", "green"]}\n{"sentence": "y", "label": []}\n'
     '{"sentence": "z", "label": "red"}\n', "a.jsonl")])
def test_labels_are_separated_by_commas_or_a_json_list(tmp_path, content, name):
    path = written(tmp_path, content, name)
    examples = TASK.read(path, Layout())
    assert examples.labels == [["red", "green"], [], ["red"]]
    assert TASK.labels(examples) == ("green", "red") and TASK.file_has_labels(path, Layout())
    assert TASK.targets(examples, ("green", "red")).tolist() == [[1, 1], [0, 0], [0, 1]]


def test_the_sample_of_the_guide_has_texts_with_two_labels_and_with_none():
    examples = TASK.read(Path(__file__).parents[3] / "docs/samples/reviews.tsv", Layout())
    assert {len(names) for names in examples.labels} == {0, 1, 2}
    assert TASK.labels(examples) == ("food", "place", "service")


@pytest.mark.parametrize("label", ['["red"', '[["red"]]', "[null]"])
def test_a_label_that_is_no_list_of_strings_raises_with_its_line(tmp_path, label):
    with pytest.raises(ValueError, match="a.tsv:3: the labels .* are not a JSON list of strings"):
        TASK.read(written(tmp_path, f"sentence\tlabel\nx\tred\ny\t{label}\n"), Layout())


def test_unknown_and_too_few_labels_raise(tmp_path):
    examples = TASK.read(written(tmp_path, "sentence\tlabel\nx\tred\ny\tred,grene\n"), Layout())
    with pytest.raises(ValueError, match="a.tsv:3: label 'grene' does not occur .* mean green"):
        TASK.targets(examples, ("green", "red"))
    with pytest.raises(ValueError, match="at least two different labels, it has 1"):
        TASK.labels(examples.subset([0]))


def test_answers_are_the_labels_with_a_probability_of_a_half():
    answer, = TASK.answers([torch.tensor([math.log(3), 0.0, -1.0])], None, ("a", "b", "c"), None)
    assert answer["prediction"] == ["a", "b"]
    assert answer["probabilities"]["a"] == pytest.approx(0.75)
    lines = TASK.render([answer], "a.tsv", Layout())
    assert lines == ["index\tprediction\tp(a)\tp(b)\tp(c)", "0\ta,b\t0.7500\t0.5000\t0.2689"]


def test_scores_count_all_decisions_or_the_mean_over_labels(tmp_path):
    """a: TP 1, FN 1; b: TP 1, FP 1. Micro 4/6; each label has 2/3."""
    examples = TASK.read(written(tmp_path, "sentence\tlabel\nx\ta,b\ny\ta\n"), Layout())
    answers = [{"prediction": ["a", "b"]}, {"prediction": ["b"]}]
    scores = TASK.score(answers, examples, ("a", "b"), FinetuneConfig(task="multilabel"))
    assert scores == pytest.approx({"micro_f1": 2 / 3, "macro_f1": 2 / 3})
    constant = TASK.baseline(examples.subset([1, 1, 0]), examples)
    assert [answer["prediction"] for answer in constant] == [("a",), ("a",)]


@pytest.mark.parametrize("options", [
    {}, {"tune": "lora", "lora_on": "query,value,mlp"}], ids=["all", "lora"])
def test_several_labels_are_learned_saved_and_predicted(
        modernbert, tmp_path, capsys, options):
    for name, count, seed in (("train", 140, 1), ("dev", 40, 2)):
        written(tmp_path, table(two_labels(count, seed)), f"{name}.tsv")
    out = tmp_path / "out"
    command.main([str(modernbert), "--task", "multilabel", "--train", str(tmp_path / "train.tsv"),
                  "--dev", str(tmp_path / "dev.tsv"), "--out", str(out), "--json",
                  *flags(epochs=6, patience=6, learning_rate=1e-2, **options)])
    results = json.loads(capsys.readouterr().out)
    assert results["metric"] == "micro_f1" and results["labels"] == ["good", "the"]
    assert results["pretrained"]["mean"] > results["constant"] + 0.2
    command.main([str(out), "--predict", str(tmp_path / "dev.tsv"), "--json"])
    shown = capsys.readouterr()
    assert f"scored       micro_f1 {results['pretrained']['mean']:.4f}" in shown.err
    assert json.loads(shown.out.splitlines()[0]).keys() == {"prediction", "probabilities"}
    if not options:
        assert isinstance(from_pretrained(out), BertForMultiLabelClassification)
        values = json.loads((out / "config.json").read_text())
        assert values["problem_type"] == "multi_label_classification"


def test_f1_of_three_labels_needs_no_example_of_each(tmp_path):
    """The dev file has no c. a: TP 1, FN 1; b: TP 1, FP 1."""
    task = TASKS["classification"]
    examples = task.read(written(tmp_path, "sentence\tlabel\nx\ta\ny\ta\nz\tb\n"), Layout())
    answers = [{"prediction": "a"}, {"prediction": "b"}, {"prediction": "b"}]
    config = FinetuneConfig(f1_class=2)  # c is the rarest label in training
    assert task.score(answers, examples, ("a", "b", "c"), config)["f1"] == pytest.approx(2 / 3)

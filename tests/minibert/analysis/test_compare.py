"""Two runs that fill the same masks: with probabilities set by hand, and as a command."""
import json
import math

import pytest
from reading_models import constant_model, saved

from minibert.analysis.compare import compare, main
from tokenizer import ByteLevelBPE, WordPiece

TEXT = "They came back and [MASK] was waiting."


@pytest.fixture(scope="module")
def runs():
    """A byte-level and a WordPiece run, whose mask tokens differ; they lean opposite ways."""
    corpus = ["They came back and he was waiting, she was waiting."] * 9
    bpe = ByteLevelBPE.train_from_iterator(corpus, 400, show_progress=False)
    wordpiece = WordPiece.train_from_iterator(corpus, 400, show_progress=False)
    return [
        ("a", constant_model(bpe, {"Ġhe": 0.4, "Ġshe": 0.1}), bpe),
        ("b", constant_model(wordpiece, {"he": 0.05, "she": 0.5}), wordpiece),
    ]


@pytest.fixture(scope="module")
def folders(runs, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [str(saved(root / name, model, tokenizer)) for name, model, tokenizer in runs]


def test_each_run_answers_with_its_own_likeliest_words(runs):
    (first, second), = compare(runs, TEXT, top_k=2)
    assert [first["run"], second["run"]] == ["a", "b"]
    words = [answer["token_str"] for answer in first["answers"] + second["answers"]]
    assert words == [" he", " she", "she", "he"]
    scores = [answer["score"] for answer in first["answers"] + second["answers"]]
    assert scores == pytest.approx([0.4, 0.1, 0.5, 0.05], rel=1e-4)


def test_targets_have_probabilities_and_the_log_of_their_ratio(runs):
    (first, second), = compare(runs, TEXT, targets=["he", "she"])
    assert first["targets"] == pytest.approx({"he": 0.4, "she": 0.1}, rel=1e-4)
    assert first["log_ratios"] == pytest.approx({"he/she": math.log(4)}, rel=1e-4)
    assert second["log_ratios"] == pytest.approx({"he/she": math.log(0.1)}, rel=1e-4)


def test_several_masks_and_three_runs(runs):
    three = [*runs, ("c", *runs[0][1:])]
    masks = compare(three, "[MASK] came and <mask> was waiting.", targets=["she", "was", "he"])
    assert [[entry["run"] for entry in entries] for entries in masks] == [["a", "b", "c"]] * 2
    assert list(masks[0][0]["log_ratios"]) == ["she/was", "she/he"]


def test_a_probability_of_zero_has_a_finite_ratio(runs):
    _, _, tokenizer = runs[1]
    model = constant_model(tokenizer, {"he": 1 - 1e-9, "she": 1e-60})
    entry = compare([("a", model, tokenizer)], TEXT, targets=["he", "she"])[0][0]
    assert entry["targets"]["she"] == 0
    assert 80 < entry["log_ratios"]["he/she"] < 90


def test_an_error_names_the_run(runs):
    with pytest.raises(ValueError, match="^a: the target 'anyone' is not one token"):
        compare(runs, TEXT, targets=["he", "anyone"])


def test_the_command_prints_a_table_for_each_mask(folders, capsys):
    main([*folders, TEXT, "[MASK] and [MASK]", "--top-k", "1"])
    blocks = capsys.readouterr().out.rstrip("\n").split("\n\n")
    titles = [block.split("\n")[0] for block in blocks]
    assert titles == [TEXT, "[MASK] and [MASK]  (mask 1)", "[MASK] and [MASK]  (mask 2)"]
    _, header, row = blocks[0].split("\n")
    assert header.split() == folders
    assert row.split() == ["40.00%", "he", "50.00%", "she"]


def test_the_command_prints_the_ratio_of_targets(folders, capsys):
    main([*folders, "--targets", "he, she", TEXT])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["he", "40.00%", "5.00%"]
    assert lines[4].split() == ["ln(he/she)", "+1.39", "-2.30"]


@pytest.mark.parametrize("words", [["a", TEXT], ["a", "b", "no mask here"]])
def test_two_runs_and_a_text_with_a_mask_are_needed(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "error: name at least two runs, and a text with [MASK]" in capsys.readouterr().err


def test_the_command_prints_json(folders, capsys):
    main([*folders, TEXT, "--json", "--targets", "she,he"])
    result = json.loads(capsys.readouterr().out)
    assert result["text"] == TEXT
    assert [entry["run"] for entry in result["masks"][0]] == folders
    ratios = result["masks"][0][1]["log_ratios"]
    assert ratios == pytest.approx({"she/he": math.log(10)}, rel=1e-4)

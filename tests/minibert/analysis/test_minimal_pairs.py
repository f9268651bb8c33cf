"""Minimal pairs: worked by hand, the files that are read, and the command."""
import json

import numpy as np
import pytest
from commands import ROOT
from reading_models import LINES, constant_model, saved

from data import prepare
from minibert.__main__ import main
from minibert.analysis.minimal_pairs import Pair, group_accuracies, read_pairs

PROBABILITIES = {"The": 0.5, "Ġcat": 0.125, "Ġdog": 0.1, "Ġrecord": 0.05}
RIGHT = {"sentence_good": "The cat", "sentence_bad": "The dog", "UID": "nouns", "field": "lexicon"}
WRONG = {"sentence_good": "The record", "sentence_bad": "The dog", "UID": "things"}

LONGER = {"sentence_good": "The record", "sentence_bad": "The cat cat", "UID": "lengths"}


@pytest.fixture
def run(bpe, tmp_path):
    prepare(LINES, bpe, tmp_path / "data" / "train")
    return str(saved(tmp_path, constant_model(bpe, PROBABILITIES), bpe))


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def results(capsys, *args):
    main(["pairs", *args, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def pair(uid, **groups):
    return Pair(("good", "bad"), {"UID": uid, **groups}, "file:1")


def test_accuracies_are_means_over_the_uids_and_ties_are_wrong():
    """UID x: 1 of 1 right. UID y: 1 of 3 right, one of them a tie. Their mean is 2/3."""
    pairs = [pair("x", field="syntax"), pair("y"), pair("y"), pair("y")]
    scores = np.array([-3.0, -4.0, -5.0, -6.0, -6.0, -5.0, -2.0, -2.0 + 1e-12])
    assert group_accuracies(pairs, {"model": scores}) == [
        {"level": "all", "name": "", "pairs": 4, "accuracy": {"model": pytest.approx(2 / 3)}},
        {"level": "field", "name": "syntax", "pairs": 1, "accuracy": {"model": 1.0}},
        {"level": "UID", "name": "x", "pairs": 1, "accuracy": {"model": 1.0}},
        {"level": "UID", "name": "y", "pairs": 3, "accuracy": {"model": pytest.approx(1 / 3)}},
    ]


def test_two_rounding_errors_make_a_tie():
    scores = {"model": np.array([-7.0, np.nextafter(-7.0, -8)])}
    assert group_accuracies([pair("x")], scores)[0]["accuracy"] == {"model": 0.0}


def test_the_lines_of_blimp_are_read_as_they_are(tmp_path):
    record = {"sentence_good": "She sees it.", "sentence_bad": "She see it.", "field": "morphology",
              "linguistics_term": "subject_verb_agreement", "UID": "verbs", "pairID": "0",
              "simple_LM_method": True, "lexically_identical": False}
    path = write(tmp_path / "verbs.jsonl", record)
    groups = {key: record[key] for key in ("field", "linguistics_term", "UID")}
    assert list(read_pairs(path)) == [Pair(("She sees it.", "She see it."), groups, f"{path}:1")]


@pytest.mark.parametrize("name, text", [
    ("verbs.tsv", "sentence_good\tsentence_bad\nShe sees it.\tShe see it.\n"),
    ("verbs.tsv", "She sees it.\tShe see it.\n"),
    ("verbs.csv", "sentence_bad,sentence_good\nShe see it.,She sees it.\n"),
    ("verbs.jsonl", '{"sentence_good": "She sees it.", "sentence_bad": "She see it. "}\n'),
])
def test_files_with_only_the_sentences_are_named_after_the_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    read, = read_pairs(tmp_path / name)
    assert read.sentences == ("She sees it.", "She see it.") and read.groups == {"UID": "verbs"}


def test_the_sample_in_the_docs_has_ten_pairs():
    pairs = list(read_pairs(ROOT / "docs" / "samples" / "minimal_pairs.jsonl"))
    assert len(pairs) == len({pair.sentences for pair in pairs}) == 10
    assert len({pair.groups["UID"] for pair in pairs}) == 4


def test_the_command_compares_sums_of_log_probabilities(run, tmp_path, capsys):
    """0.5 * 0.125 > 0.5 * 0.1 is right, 0.5 * 0.05 < 0.5 * 0.1 is wrong.

    0.5 * 0.05 > 0.5 * 0.125^2 is right, although the mean of the three is higher.
    In the training text, " record" is more frequent than " dog", and " cat" is as frequent.
    """
    path = write(tmp_path / "pairs.jsonl", RIGHT, WRONG, LONGER)
    everything, *groups = results(capsys, run, path)
    two_thirds = dict.fromkeys(("word-l2r", "unigram", "5-gram"), pytest.approx(2 / 3))
    assert everything == {"level": "all", "name": "", "pairs": 3, "accuracy": two_thirds}
    accuracies = {group["name"]: group["accuracy"] for group in groups}
    assert accuracies["nouns"] == {"word-l2r": 1.0, "unigram": 0.0, "5-gram": 1.0}
    assert accuracies["things"] == {"word-l2r": 0.0, "unigram": 1.0, "5-gram": 0.0}
    assert accuracies["lengths"] == {"word-l2r": 1.0, "unigram": 1.0, "5-gram": 1.0}


def test_the_command_prints_a_table_and_reads_folders(run, tmp_path, capsys):
    folder = tmp_path / "pairs"
    folder.mkdir()
    write(folder / "a.jsonl", RIGHT, RIGHT)
    write(folder / "b.jsonl", WRONG)
    main(["pairs", run, str(folder), "--limit", "1", "--pll", "original"])
    assert capsys.readouterr().out.splitlines() == [
        "original  unigram  5-gram  pairs  group",
        "   50.0%    50.0%   50.0%      2  all",
        "  100.0%     0.0%  100.0%      1  field lexicon",
        "  100.0%     0.0%  100.0%      1  UID nouns",
        "    0.0%   100.0%    0.0%      1  UID things",
    ]


def test_a_model_without_its_training_text_has_no_floors(bpe, tmp_path, capsys):
    run = saved(tmp_path, constant_model(bpe, PROBABILITIES), bpe)
    main(["pairs", str(run), write(tmp_path / "pairs.jsonl", RIGHT)])
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["word-l2r", "pairs", "group"]
    assert err.startswith(f"no floors: there is no {run / 'data' / 'train'}; --floors names")
    tokens = tmp_path / "tokens"
    prepare(LINES, bpe, tokens)
    path = str(tmp_path / "pairs.jsonl")
    everything, *_ = results(capsys, str(run), path, "--floors", str(tokens))
    assert list(everything["accuracy"]) == ["word-l2r", "unigram", "5-gram"]


def test_a_first_row_of_other_names_is_not_a_pair(tmp_path):
    (tmp_path / "pairs.csv").write_text("good,bad\nShe sees it.,She see it.\n")
    with pytest.raises(ValueError, match="pairs.csv:1: 'good,bad' looks like the names of columns"):
        list(read_pairs(tmp_path / "pairs.csv"))


def test_a_pair_with_an_unknown_token_is_left_out(wordpiece, tmp_path, capsys):
    """The model gives "☃" no probability, so the sentence with it would always seem likelier."""
    model = constant_model(wordpiece, {"the": 0.5, "cat": 0.125, "dog": 0.1})
    run = str(saved(tmp_path, model, wordpiece))
    unknown = {"sentence_good": "the cat", "sentence_bad": "the ☃", "UID": "snow"}
    path = write(tmp_path / "pairs.jsonl", unknown, RIGHT)
    main(["pairs", run, path, "--json"])
    out, err = capsys.readouterr()
    everything = json.loads(out.splitlines()[0])
    assert (everything["pairs"], everything["accuracy"]) == (1, {"word-l2r": 1.0})
    assert f"warning: left out 1 pair with unknown tokens, such as that of {path}:1" in err
    with pytest.raises(ValueError, match="^nothing to score but 1 pair with unknown tokens"):
        main(["pairs", run, write(tmp_path / "pairs.jsonl", unknown)])


LONG = {"sentence_good": "The cat " * 60, "sentence_bad": "x"}


def test_a_row_with_another_number_of_sentences_is_an_error(tmp_path):
    (tmp_path / "pairs.tsv").write_text("She sees it.\tShe see it.\nShe sees it.\n")
    with pytest.raises(ValueError, match="pairs.tsv:2: 1 field in this row, but 2 column names"):
        list(read_pairs(tmp_path / "pairs.tsv"))


def test_only_the_error_of_a_table_without_a_header_names_the_columns(tmp_path):
    (tmp_path / "pairs.tsv").write_text("good\tbad\tUID\nShe sees it.\tShe see it.\tx\n")
    with pytest.raises(ValueError, match="they are sentence_good and sentence_bad"):
        list(read_pairs(tmp_path / "pairs.tsv"))
    (tmp_path / "pairs.tsv").write_text("sentence_good\tsentence_bad\tUID\nShe sees.\tShe see.\n")
    with pytest.raises(ValueError, match="2 fields in this row, but 3 column names") as error:
        list(read_pairs(tmp_path / "pairs.tsv"))
    assert "Without a first row" not in str(error.value)


@pytest.mark.parametrize("records, message", [
    ([RIGHT, {"sentence_good": "The cat"}], ":2: no text in 'sentence_bad'; each line needs"),
    ([RIGHT, RIGHT | {"sentence_good": 7}], ":2: no text in 'sentence_good'"),
    ([RIGHT | {"sentence_bad": " "}], ":1: no text in 'sentence_bad'"),
    ([RIGHT, ["The cat"]], ":2: a JSON list instead of an object"),
    ([RIGHT, LONG], ":2: a sequence of .* tokens, but the model takes"),
    ([RIGHT | {"sentence_bad": "<mask>"}], ":1: the text '<mask>' has no token to predict"),
    ([], ": no pairs"),
])
def test_an_error_names_the_file_and_the_line(run, tmp_path, records, message):
    path = write(tmp_path / "pairs.jsonl", *records)
    with pytest.raises(ValueError, match=path + message):
        main(["pairs", run, path])

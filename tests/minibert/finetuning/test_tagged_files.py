"""Reading and writing a tag for each word: CoNLL and JSON lines, and errors with their line."""
import gzip
import json
from pathlib import Path

import pytest

from minibert.finetuning.labeled_files import Layout
from minibert.finetuning.metrics import entities
from minibert.finetuning.tagged_files import has_tags, read_sentences, with_tags

TABS = "Ann\tB-PER\nslept\tO\n\n\nhere\tO\n"
SPACES = "-DOCSTART- -X- O\n\nAnn NNP B-PER\nslept VBD O\n \nhere RB O"
JSON = '{"words": ["Ann", "slept"], "tags": ["B-PER", "O"]}\n{"words": ["here"], "tags": ["O"]}\n'
PUBLISHED = JSON.replace("words", "tokens").replace("tags", "ner_tags")


def written(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize("content, name", [
    (TABS, "a.tsv"), (TABS.replace("\n", "\r\n"), "a.conll"), (TABS, "a.tsv.gz"),
    (SPACES, "a.txt"), (JSON, "a.jsonl"), (PUBLISHED, "a.jsonl")])
def test_sentences_are_lists_of_words_and_tags(tmp_path, content, name):
    path = written(tmp_path, content, name)
    examples = read_sentences(path, Layout())
    assert examples.texts == [["Ann", "slept"], ["here"]]
    assert examples.labels == [["B-PER", "O"], ["O"]]
    assert has_tags(path, Layout())


def test_the_sample_of_the_guide_has_entities_of_three_types():
    examples = read_sentences(Path(__file__).parents[3] / "docs/samples/entities.tsv", Layout())
    found = {kind for tags in examples.labels for kind, _, _ in entities(tags)}
    assert found == {"PER", "LOC", "ORG"} and len(examples) > 20


def test_each_word_keeps_its_line(tmp_path):
    assert read_sentences(written(tmp_path, TABS, "a.tsv"), Layout()).lines == [[1, 2], [5]]
    assert read_sentences(written(tmp_path, JSON, "a.jsonl"), Layout()).lines == [[1, 1], [2]]


def test_flags_name_other_fields(tmp_path):
    content = JSON.replace("words", "mots").replace("tags", "classes")
    examples = read_sentences(written(tmp_path, content, "a.jsonl"), Layout("mots", "", "classes"))
    assert examples.texts[0] == ["Ann", "slept"] and examples.labels[0] == ["B-PER", "O"]


def test_words_between_tabs_may_contain_spaces(tmp_path):
    path = written(tmp_path, "New York\tB-LOC\nis\tO\n", "a.tsv")
    assert read_sentences(path, Layout()).texts == [["New York", "is"]]


def test_only_spaces_and_tabs_are_between_columns(tmp_path):
    path = written(tmp_path, "10\u00a0000  B-SUM \nmen O\n", "a.txt")
    assert read_sentences(path, Layout()).texts == [["10\u00a0000", "men"]]


@pytest.mark.parametrize("labeled", [True, False])
@pytest.mark.parametrize("content", [
    "\nAnn slept.\nShe slept here.\n\nAll day long.\nNow she has eaten.\nYes.\n",
    "\nAnn slept\t1\nWhere?\t0\nShe slept here\t1\n"])
def test_sentences_instead_of_words_are_an_error(tmp_path, content, labeled):
    with pytest.raises(ValueError, match="a.txt:2: this line and most others are sentences"):
        read_sentences(written(tmp_path, content, "a.txt"), Layout(), labeled)


@pytest.mark.parametrize("content, name", [
    ("Ann\nslept\n\nhere\n", "a.txt"),
    ('{"words": ["Ann", "slept"]}\n{"words": ["here"]}', "a.jsonl")])
def test_files_to_predict_need_no_tags(tmp_path, content, name):
    path = written(tmp_path, content, name)
    examples = read_sentences(path, Layout(), labeled=False)
    assert examples.texts == [["Ann", "slept"], ["here"]] and examples.labels is None
    assert not has_tags(path, Layout())


@pytest.mark.parametrize("content, name", [
    ("Ann\nslept\tO\n", "a.txt"), ('{"words": ["Ann"]}\n' + JSON, "a.jsonl")])
def test_a_file_whose_first_sentence_has_no_tags_may_have_some(tmp_path, content, name):
    assert has_tags(written(tmp_path, content, name), Layout())


@pytest.mark.parametrize("content, name, message", [
    ("Ann\tB-PER\nslept\n", "a.tsv", "a.tsv:2: the word 'slept' has no tag"),
    ("Ann\tB-PER\nslept\t\n", "a.tsv", "a.tsv:2: the word 'slept' has no tag"),
    ("Ann\tB-PER\n\tO\n", "a.tsv", "a.tsv:2: a tag without a word before it"),
    ("\n\n", "a.tsv", "a.tsv has no words"),
    (JSON + "{", "a.jsonl", "a.jsonl:3: invalid JSON"),
    (JSON + '{"words": ["a"]}', "a.jsonl", "a.jsonl:3: no field tags or ner_tags or pos_tags"),
    (JSON + '{"words": ["a"], "tags": []}', "a.jsonl", "a.jsonl:3: 1 word but 0 tags"),
    (JSON + '{"words": ["a"], "tags": [3]}', "a.jsonl", "3: the field 'tags' must be a list"),
    (JSON + '{"words": "a", "tags": ["O"]}', "a.jsonl", "a.jsonl:3: the field 'words' must be a"),
])
def test_bad_files_raise_with_the_line(tmp_path, content, name, message):
    with pytest.raises(ValueError, match=message):
        read_sentences(written(tmp_path, content, name), Layout())


@pytest.mark.parametrize("content, name, expected", [
    (TABS, "a.tsv", "Ann\tX\nslept\tY\n\n\nhere\tZ"),
    (SPACES, "a.txt", "-DOCSTART- -X- O\n\nAnn NNP X\nslept VBD Y\n \nhere RB Z"),
    ("Ann\nslept\n\nhere", "a.txt", "Ann\tX\nslept\tY\n\nhere\tZ")])
def test_predicted_tags_replace_the_last_column_and_nothing_else(tmp_path, content, name, expected):
    path = written(tmp_path, content, name)
    assert "\n".join(with_tags(path, [["X", "Y"], ["Z"]], Layout())) == expected


@pytest.mark.parametrize("content, field", [
    (JSON, "tags"), (PUBLISHED, "ner_tags"),
    ('{"id": 7, "words": ["a", "b"]}\n{"words": []}', "tags")])
def test_predicted_tags_replace_the_field_of_tags(tmp_path, content, field):
    lines = with_tags(written(tmp_path, content, "a.jsonl"), [["X", "Y"], ["Z"]], Layout())
    first = json.loads(content.splitlines()[0])
    assert json.loads(next(lines)) == first | {field: ["X", "Y"]}


def test_conll_u_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "en.conllu"
    rows = ["# text = Dogs bark .", *("\t".join([str(i), word, "_", tag, *"______"])
                                      for i, (word, tag) in enumerate(
                                          [("Dogs", "NOUN"), ("bark", "VERB"), (".", "PUNCT")], 1))]
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=r"en.conllu is CoNLL-U.* cut -f 2,4"):
        read_sentences(path, Layout())
    # What the command leaves of it
    path.write_text("\n".join("\t".join(row.split("\t")[1:4:2]) for row in rows[1:]) + "\n")
    assert read_sentences(path, Layout()).labels == [["NOUN", "VERB", "PUNCT"]]

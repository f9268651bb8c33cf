"""SQuAD's files and scores; all numbers are worked by hand."""
import json
import re

import pytest

from minibert.finetuning.squad import (
    has_answers,
    normalize_answer,
    read_questions,
    score_answer,
)

CONTEXT = "A bee has five eyes."
QA = {"id": "q1", "question": "How many eyes?", "answers": [{"text": "five", "answer_start": 10}]}


def write(path, *qas, context=CONTEXT):
    paragraph = {"context": context, "qas": list(qas)}
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": [paragraph]}]}))
    return path


# files


def test_questions_are_read_with_their_answers(tmp_path):
    several = [{"text": "A bee", "answer_start": 0}, {"text": " bee ", "answer_start": 1}]
    path = write(tmp_path / "a.json", QA, {"id": "q2", "question": "Who?", "answers": several},
                 {"id": "q3", "question": "When?", "answers": [], "is_impossible": True})
    examples = read_questions(path)
    assert examples.texts == [("How many eyes?", CONTEXT), ("Who?", CONTEXT), ("When?", CONTEXT)]
    assert examples.labels == [(("five", 10),), (("A bee", 0), ("bee", 2)), ()]
    assert examples.lines == ["q1", "q2", "q3"]


def test_questions_without_text_are_counted_and_left_out_or_kept(tmp_path):
    blank = {"id": "q0", "question": " ", "answers": []}
    path = write(tmp_path / "a.json", blank, QA)
    assert read_questions(path).lines == ["q1"] and read_questions(path).num_empty == 1
    kept = read_questions(path, keep_empty=True)
    assert kept.lines == ["q0", "q1"] and kept.labels == [(), (("five", 10),)]
    assert kept.num_empty == 1
    without_context = write(tmp_path / "b.json", QA | {"answers": []}, context="\n")
    with pytest.raises(ValueError, match="b.json has no questions with text"):
        read_questions(without_context)
    assert read_questions(without_context, keep_empty=True).lines == ["q1"]


def test_a_file_to_predict_needs_no_answers(tmp_path):
    path = write(tmp_path / "a.json", {"id": "q1", "question": "How many eyes?"})
    assert read_questions(path, labeled=False).labels is None
    assert not has_answers(path)
    with pytest.raises(ValueError, match=r'a.json: question q1 has no "answers" that is a list'):
        read_questions(path)
    assert has_answers(write(path, QA | {"answers": []}))
    assert has_answers(write(path, {"id": "q0", "question": "Where?"}, QA))


@pytest.mark.parametrize("change, message", [
    ({"answers": [{"text": "five", "answer_start": 9}]},
     "a.json: question q1: the answer 'five' is not at answer_start 9 of its context; there is "
     "' fiv'"),
    ({"answers": [{"text": "A bee", "answer_start": -5}]}, "is not at answer_start -5"),
    ({"answers": [{"text": "", "answer_start": 3}]}, "the answer '' is not at answer_start 3"),
    ({"answers": [{"text": "five"}]}, 'a.json: question q1 has no "answer_start" that is a number'),
    ({"answers": {"text": ["five"], "answer_start": [10]}}, 'q1 has no "answers" that is a list'),
    ({"answers": ["five"]}, 'a.json: question q1 has no "text" that is a text'),
    ({"question": None}, 'a.json: question q1 has no "question" that is a text'),
    ({"id": 7}, 'a.json: data[0].paragraphs[0].qas[1] has no "id" that is a text'),
    ({"id": "q0"}, "a.json: question q0: two questions have this id"),
    ({"id": "\x1b[2J", "answers": None}, r"a.json: question \x1b[2J has no"),
])
def test_a_mistake_names_the_question(tmp_path, change, message):
    path = write(tmp_path / "a.json", QA | {"id": "q0"}, QA | change)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_questions(path)


@pytest.mark.parametrize("content, message", [
    ('{"data":\n [{"paragraphs": [}]}', "a.json:2: invalid JSON (Expecting value, column 19)"),
    ("", "a.json:1: invalid JSON"),
    ('[{"text": "x"}]', 'a.json has no "data" that is a list'),
    ('{"data": [{"title": "x"}]}', 'a.json: data[0] has no "paragraphs" that is a list'),
    ('{"data": [{"paragraphs": [{"qas": []}]}]}',
     'a.json: data[0].paragraphs[0] has no "context" that is a text'),
    ('{"data": []}', "a.json has no questions"),
])
def test_a_file_that_is_not_squad_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_questions(tmp_path / "a.json")


# scores


@pytest.mark.parametrize("text, normalized", [
    ("The U.S. Army", "us army"), ("the-cat", "thecat"), ("an 'apple'\n a  day", "apple day"),
    ("Theme", "theme"), ("A", ""), ("1,000 €", "1000 €"),
])
def test_case_punctuation_articles_and_white_space_do_not_count(text, normalized):
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize("golds, predicted, f1, exact", [
    (["five eyes"], "The five eyes!", 1, 1),
    (["five eyes"], "five", 2 / 3, 0),  # 1 of 1 word is right, 1 of 2 is found
    (["five eyes"], "five five five", 2 / 5, 0),  # one five is right
    (["five eyes"], "six", 0, 0),
    (["eyes of bees", "five"], "five", 1, 1),  # the best of several answers
    (["eyes of bees", "the bees"], "eyes bees", 4 / 5, 0),  # of both: 4/5 and 2/3
    (["five"], "", 0, 0),
    ([], "", 1, 1),  # no answer is right
    ([], "five", 0, 0),
    ([], "the", 1, 1),  # nothing is left of it
    (["a", "five"], "a", 0, 0),  # an answer of which nothing is left does not count
])
def test_scores_are_those_of_the_evaluation_script(golds, predicted, f1, exact):
    answers = [(gold, 0) for gold in golds]
    assert score_answer(answers, predicted) == {"f1": pytest.approx(f1), "exact_match": exact}

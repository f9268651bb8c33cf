"""Windows, spans and the threshold for no answer."""
import numpy as np
import pytest
import torch

from minibert.config import BertConfig
from minibert.finetuning.labeled_files import LabeledTexts
from minibert.finetuning.questions import (
    MAX_ANSWER,
    MAX_QUESTION,
    QuestionAnswering,
    answer_tokens,
    best_span,
    choose_threshold,
    find_answers,
    make_windows,
)
from tokenizer import ByteLevelBPE, WordPiece

CONTEXT = "a b c d e f g h"


def examples(*answers, question="x y", context=CONTEXT):
    """Return questions with these answers, None for no answer."""
    labels = [((answer, context.index(answer)),) if answer else () for answer in answers]
    texts = [(question, context)] * len(answers)
    return LabeledTexts("a.json", texts, labels, [*map(str, range(len(answers)))])


def letters(cls):
    """Return a tokenizer with one token per letter and the space before it."""
    return cls.train_from_iterator([CONTEXT + " x y z"] * 3, vocab_size=300, show_progress=False)


def shown(tokenizer, window):
    return " ".join(tokenizer.id_to_token(i).replace("Ġ", "") for i in window.ids)


# windows


def test_a_window_has_the_question_a_part_of_the_context_and_where_the_answer_is():
    tokenizer = letters(WordPiece)
    windows = make_windows(tokenizer, examples("e f"), max_length=9)
    assert [(shown(tokenizer, window), window.span) for window in windows] == [
        ("[CLS] x y [SEP] a b c d [SEP]", (0, 0)),
        ("[CLS] x y [SEP] c d e f [SEP]", (6, 7)),
        ("[CLS] x y [SEP] e f g h [SEP]", (4, 5))]
    assert windows[1].type_ids == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert windows[1].first == 4
    assert windows[1].offsets.tolist() == [[4, 5], [6, 7], [8, 9], [10, 11]]


def test_roberta_has_two_separators_and_spaces_inside_its_tokens():
    tokenizer = letters(ByteLevelBPE)
    first, second = make_windows(tokenizer, examples("e f"), max_length=12)
    assert shown(tokenizer, first) == "<s> x y </s> </s> a b c d e f </s>"
    assert shown(tokenizer, second) == "<s> x y </s> </s> d e f g h </s>"
    assert first.span == (9, 10) and second.span == (6, 7)
    assert second.offsets[0].tolist() == [5, 7]  # " d"


def test_a_part_of_an_answer_is_no_answer():
    windows = make_windows(letters(WordPiece), examples("d e f"), max_length=9)
    assert [window.span for window in windows] == [(0, 0), (5, 7), (0, 0)]


def test_only_the_last_window_is_shorter_and_no_token_is_left_out():
    tokenizer = letters(WordPiece)
    for max_length in range(6, 14):
        windows = make_windows(tokenizer, examples(None), max_length)
        assert all(len(window.ids) == max_length for window in windows[:-1])
        covered = {tuple(offset) for window in windows for offset in window.offsets.tolist()}
        assert len(covered) == 8
        assert windows[-1].offsets[-1].tolist() == [14, 15]
        assert len({window.offsets[0, 0] for window in windows}) == len(windows)


def test_a_long_question_is_cut_to_half_of_the_window_and_to_64_tokens():
    tokenizer = letters(WordPiece)
    window, = make_windows(tokenizer, examples("b", question="x y z x y z", context="a b"), 9)
    assert shown(tokenizer, window) == "[CLS] x y z [SEP] a b [SEP]"
    assert window.span == (6, 6)
    window, = make_windows(tokenizer, examples("b", question="x " * 100), 384)
    assert len(window.ids) == 1 + MAX_QUESTION + 1 + 8 + 1


def test_a_context_without_a_token_has_one_window():
    tokenizer = letters(WordPiece)
    window, = make_windows(tokenizer, examples(None, context=" "), 20)
    assert shown(tokenizer, window) == "[CLS] x y [SEP] [SEP]"
    texts, margins = find_answers(examples(None, context=" "), [window], [torch.zeros(5, 2)])
    assert texts == [""] and margins[0] == np.inf


def test_bert_reads_the_question_and_the_context_as_two_segments():
    encoded = QuestionAnswering().encode(letters(WordPiece), examples("b"), ("start", "end"),
                                         BertConfig(type_vocab_size=2), max_length=13)
    batch = encoded.batch([0])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[5, 5]]


@pytest.mark.parametrize("start, text, tokens", [
    (10, "five", (1, 1)), (9, " five", (1, 1)), (11, "iv", (1, 1)),  # a part of a token
    (6, "has five", (0, 1)), (14, " ", (2, 2)), (10, "five eyes", (1, 2)),
])
def test_characters_become_tokens(start, text, tokens):
    offsets = np.array([[6, 9], [9, 14], [14, 19]])
    assert answer_tokens([(text, start)], offsets) == tokens


# spans


def brute_force(start, end):
    n = len(start)
    spans = [(start[i] + end[j], i, j) for i in range(n) for j in range(i, n) if j - i < MAX_ANSWER]
    return max(spans)


@pytest.mark.parametrize("n", [1, 2, 7, MAX_ANSWER, MAX_ANSWER + 1, 50])
def test_the_best_span_is_that_of_trying_all(n):
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, end = rng.random((2, n))
        assert best_span(start, end) == brute_force(start, end)


def scores(window, start=(), end=(), no_answer=0.0):
    """Return outputs of -9 except for {token of the context: score}, and [CLS]."""
    output = torch.full((len(window.ids), 2), -9.0)
    output[0] = no_answer / 2
    for column, values in enumerate((start, end)):
        for token, value in dict(values).items():
            output[window.first + token, column] = value
    return output


def test_the_answer_is_the_best_span_of_all_windows():
    questions = examples(None, None)
    windows = make_windows(letters(WordPiece), questions, max_length=12)  # a to g, and d to h
    outputs = [scores(windows[0], {0: 1}, {1: 2}, no_answer=1),
               scores(windows[1], {2: 3}, {3: 4}, no_answer=5),
               # an end before the start is none
               scores(windows[2], {3: 9, 0: 1}, {2: 9, 4: 0}, no_answer=8),
               scores(windows[3], no_answer=7)]
    texts, margins = find_answers(questions, windows, outputs)
    assert texts == ["f g", "a b c"]
    assert margins.tolist() == [1 - 7, 7 - 10]


def test_an_answer_does_not_begin_with_the_space_of_its_first_token():
    window, = make_windows(letters(ByteLevelBPE), examples("e"), max_length=20)
    texts, _ = find_answers(examples("e"), [window], [scores(window, {4: 1}, {4: 1})])
    assert window.offsets[4].tolist() == [7, 9] and texts == ["e"]


def test_the_threshold_gives_the_highest_f1():
    """Gains of answering: +1 (right), -1 (there is no answer), +1 and 0 at the same margin."""
    answers = examples("b", None, "c", "d", "e").labels
    texts = ["b", "d", "c", "z", "e"]
    margins = np.array([-5.0, -2.0, 1.0, 1.0, 3.0])
    assert choose_threshold(answers[:4], texts[:4], margins[:4]) == -3.5
    assert choose_threshold(answers, texts, margins) == 4.0
    assert choose_threshold(answers[::-1], texts[::-1], margins[::-1]) == 4.0
    # No threshold separates equal margins: both are answered or none.
    assert choose_threshold(answers[:2], texts[:2], np.array([2.0, 2.0])) < 2.0
    assert choose_threshold(answers[1:2], texts[1:2], np.array([-7.0])) < -7.0

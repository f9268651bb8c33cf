"""SQuAD: its files, and the scores of its evaluation script.

    {"version": "v2.0", "data": [{"title": "Bees", "paragraphs": [
        {"context": "A bee has five eyes.", "qas": [
            {"id": "q1", "question": "How many eyes does a bee have?",
             "answers": [{"text": "five", "answer_start": 10}]},
            {"id": "q2", "question": "Where does a bee sleep?", "answers": []}]}]}]}

An answer is a span of its context (Rajpurkar et al. 2016), and ``answer_start`` counts characters.
A question without an answer (v2.0, Rajpurkar et al. 2018) has an empty list. A question may have
several answers, of people who disagree about the span: every one of them is right.
"""
import re
import string
from collections import Counter

from data.lines import decoded_lines
from data.readers import json_value
from minibert.finetuning.labeled_files import LabeledTexts
from tokenizer.utils.terminal import visible

KINDS = {list: "list", str: "text", int: "number"}
ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read_questions(path, labeled=True, keep_empty=False):
    """Return the questions of a SQuAD file (.json, also .gz or .bz2) as LabeledTexts.

    The texts are (question, context), the labels tuples of answers (text, start), and the lines the
    ids of the questions. labeled: every question must have "answers", if only an empty list.
    keep_empty: keep questions without text, and those about a context without text.

    Raise ValueError that names the line of invalid JSON, the part of the file that is not as in
    SQuAD, or the question whose answer is not where it should be.
    """
    texts = []
    labels = []
    lines = []
    ids = set()
    num_empty = 0
    for context, qa, location in _questions_of_json(path):
        question_id = _field(qa, "id", str, location)
        location = f"{path}: question {visible(question_id)}"
        if question_id in ids:
            raise ValueError(f"{location}: two questions have this id: rename one")
        ids.add(question_id)
        question = _field(qa, "question", str, location)
        answers = _field(qa, "answers", list, location) if labeled else ()
        answers = tuple(_read_answer(answer, context, location) for answer in answers)
        if not question.strip() or not context.strip():
            num_empty += 1
            if not keep_empty:
                continue
        texts.append((question, context))
        labels.append(answers)
        lines.append(question_id)
    if not texts:
        raise ValueError(f"{path} has no questions" + " with text" * bool(num_empty))
    return LabeledTexts(str(path), texts, labels if labeled else None, lines, num_empty)


def has_answers(path):
    """Return whether any question of a file has "answers", if only an empty list."""
    return any("answers" in qa for _, qa, _ in _questions_of_json(path))


def _questions_of_json(path):
    """Yield (context, question as in the file, its location) for each question of a file."""
    whole = json_value(path, decoded_lines(path))
    for i, article in enumerate(_field(whole, "data", list, str(path))):
        for j, paragraph in enumerate(_field(article, "paragraphs", list, f"{path}: data[{i}]")):
            location = f"{path}: data[{i}].paragraphs[{j}]"
            context = _field(paragraph, "context", str, location)
            for k, qa in enumerate(_field(paragraph, "qas", list, location)):
                yield context, qa, f"{location}.qas[{k}]"


def _field(values, name, kind, location):
    value = values.get(name) if isinstance(values, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f'{location} has no "{name}" that is a {KINDS[kind]}, as SQuAD\'s files '
                         "have")
    return value


def _read_answer(answer, context, location):
    text = _field(answer, "text", str, location)
    start = _field(answer, "answer_start", int, location)
    found = context[max(start, 0) : max(start, 0) + len(text)]
    if not text.strip() or start < 0 or found != text:
        raise ValueError(f"{location}: the answer {visible(text[:50])!r} is not at answer_start "
                         f"{start} of its context; there is {visible(found[:50])!r}")
    return text.strip(), start + len(text) - len(text.lstrip())


# ------------------------------------------------------------------------------------------ scores


def normalize_answer(text):
    """Return an answer without case, punctuation, articles and superfluous white space.

    >>> normalize_answer("The  U.S. Army, a force")
    'us army force'
    """
    text = text.lower().translate(NO_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", text).split())


def exact_match(gold, predicted):
    """Return 1.0 if two answers are equal after ``normalize_answer``, else 0.0.

    >>> exact_match("the cat", "Cat!")
    1.0
    """
    return float(normalize_answer(gold) == normalize_answer(predicted))


def word_f1(gold, predicted):
    """Return the F1 of the words that two answers share.

    >>> word_f1("the black cat", "cat on a mat")    # 1 of 2 words, and 1 of 3: 2 x 1 / (2 + 3)
    0.4
    >>> word_f1("", ""), word_f1("", "cat")    # no answer is right or wrong
    (1.0, 0.0)
    """
    gold_words = normalize_answer(gold).split()
    predicted_words = normalize_answer(predicted).split()
    if not gold_words or not predicted_words:
        return float(gold_words == predicted_words)
    num_shared = (Counter(gold_words) & Counter(predicted_words)).total()
    return 2 * num_shared / (len(gold_words) + len(predicted_words))


def score_answer(answers, predicted):
    """Return {"f1", "exact_match"} of a predicted text, each the best over the right answers.

    The right text for a question without an answer is "". An answer that is empty after normalizing
    does not count, as in the script for v2.0 (the one for v1.1 has no such rule).

    >>> score_answer([("a hive", 12), ("in a hive", 9)], "The hive")
    {'f1': 1.0, 'exact_match': 1.0}
    """
    texts = [text for text, _ in answers if normalize_answer(text)] or [""]
    return {"f1": max(word_f1(text, predicted) for text in texts),
            "exact_match": max(exact_match(text, predicted) for text in texts)}

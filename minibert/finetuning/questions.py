"""Extractive question answering (Devlin et al. 2018, sections 4.2 and 4.3).

The model reads a question and its context and scores each token as the first and as the last one of
the answer. A context that is too long is read in overlapping windows:

    [CLS] how many eyes? [SEP] a bee has five [SEP]     the answer is from token 9 to token 9
    [CLS] how many eyes? [SEP] five eyes. [SEP]         from token 6 to token 6
    [CLS] how many eyes? [SEP] it flies. [SEP]          not in this window: [CLS], from 0 to 0

The predicted answer is the span with the highest sum of both scores over all windows. A question
without an answer points at [CLS] in every window. No answer is predicted if [CLS] scores more than
the best span by over a threshold, which is chosen on the dev set.
"""
import json
from dataclasses import dataclass

import numpy as np
import torch

from minibert.finetuning.loop import EncodedRows
from minibert.finetuning.squad import has_answers, read_questions, score_answer
from minibert.finetuning.task import Task
from minibert.heads import BertForQuestionAnswering
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural

MAX_QUESTION = 64  # tokens; what is longer is cut off, as in BERT's code
MAX_ANSWER = 30  # tokens; longer spans are not predicted, as in BERT's code


class QuestionAnswering(Task):
    """A part of the context as the answer to a question, or no answer."""
    model_class = BertForQuestionAnswering
    metrics = ("f1", "exact_match")
    max_length = 384
    min_length = 6  # <s> question </s> </s> context </s>
    baseline_name = "never an answer"
    empty_name = "with an empty question or context"
    split_name = "a random tenth of the questions (about contexts that are also in training)"

    def read(self, path, layout, labeled=True, keep_empty=False):
        return read_questions(path, labeled, keep_empty)

    def file_has_labels(self, path, layout):
        return has_answers(path)

    def labels(self, examples):
        return ("start", "end")

    def notes(self, train, dev, labels):
        counts = [plural(sum(not answers for answers in part.labels), "question")
                  for part in (train, dev)]
        return [f"no answer    {counts[0]} for training, {counts[1]} in dev"]

    def encode(self, tokenizer, examples, labels, model_config, max_length):
        """Return a row of ids (T,) for each window; labels (windows, 2): the span of the answer."""
        windows = make_windows(tokenizer, examples, max_length)
        type_ids = [window.type_ids for window in windows]
        encoded = EncodedRows(
            [window.ids for window in windows], tokenizer.pad_token_id, max_length,
            type_ids if model_config.segments > 1 else None,
            None if examples.labels is None else torch.tensor([window.span for window in windows]),
            examples)
        encoded.windows = windows
        return encoded

    def choose(self, outputs, encoded):
        """Choose the threshold for no answer, if some of the questions have none."""
        answers = encoded.examples.labels
        if all(answers):
            return {}
        texts, margins = find_answers(encoded.examples, encoded.windows, outputs)
        return {"no_answer_threshold": choose_threshold(answers, texts, margins)}

    def answers(self, outputs, encoded, labels, config):
        texts, margins = find_answers(encoded.examples, encoded.windows, outputs)
        if config.no_answer_threshold is not None:
            texts = ["" if margin > config.no_answer_threshold else text
                     for text, margin in zip(texts, margins)]
        return [{"id": question_id, "prediction": text}
                for question_id, text in zip(encoded.examples.lines, texts)]

    def score(self, answers, examples, labels, config):
        scores = [score_answer(gold, answer["prediction"])
                  for gold, answer in zip(examples.labels, answers)]
        return {name: float(np.mean([score[name] for score in scores])) for name in self.metrics}

    def baseline(self, train, dev):
        return [{"prediction": ""}] * len(dev)

    def predictions_suffix(self, path):
        return ".json"

    def render(self, answers, path, layout):
        """Return the JSON object {id: text} that SQuAD's evaluation script reads, as lines."""
        texts = {answer["id"]: answer["prediction"] for answer in answers}
        return json.dumps(texts, indent=1, ensure_ascii=False).split("\n")


@dataclass(frozen=True)
class Window:
    """A question and a part of its context.

    ids, type_ids: of all tokens; first: the index of the first one of the context; offsets (n, 2):
    the characters of the n tokens of the context; span: the first and the last token of the answer.
    """
    question: int  # its index
    ids: list
    type_ids: list
    first: int
    offsets: np.ndarray
    span: tuple


def make_windows(tokenizer, examples, max_length):
    """Return the Windows of all questions, in order. Those of a context overlap by half."""
    roles = [part for part, _ in tokenizer.pair_template]  # such as cls, A, sep, B, sep
    a = roles.index("A")
    b = roles.index("B")
    num_special = len(roles) - 2
    windows = []
    with progress_bar(len(examples), "encoding", "questions") as bar:
        for index, (question, context) in enumerate(examples.texts):
            encoded = tokenizer.encode(question, context)
            num_question = len(tokenizer.encode(question, add_special_tokens=False))
            num_kept = min(num_question, MAX_QUESTION, (max_length - num_special) // 2)
            begin = b - 1 + num_question  # of the context
            end = len(encoded) - (len(roles) - b - 1)
            before = [*range(a + num_kept), *range(a + num_question, begin)]
            offsets = np.array(encoded.offsets[begin:end], dtype=np.int64).reshape(-1, 2)
            answers = examples.labels[index] if examples.labels else ()
            answer = answer_tokens(answers, offsets)
            for part in window_ranges(end - begin, max_length - num_special - num_kept):
                tokens = [*before, *(begin + i for i in part), *range(end, len(encoded))]
                span = (0, 0)
                if answer and answer[0] in part and answer[1] in part:
                    span = tuple(len(before) + i - part.start for i in answer)
                windows.append(Window(
                    index, [encoded.ids[i] for i in tokens], [encoded.type_ids[i] for i in tokens],
                    len(before), offsets[part.start : part.stop], span))
            bar.update()
    return windows


def window_ranges(num_tokens, size):
    """Return ranges of up to ``size`` tokens that overlap by half; one, if there is no token.

    >>> window_ranges(7, size=4)
    [range(0, 4), range(2, 6), range(4, 7)]
    """
    step = max(size // 2, 1)
    starts = range(0, max(num_tokens - size + step, 1), step)
    return [range(start, min(start + size, num_tokens)) for start in starts]


def answer_tokens(answers, offsets):
    """Return the indices of the first and the last token of the first answer, None without one.

    answers: of (text, start); offsets (n, 2): the characters of the tokens of the context

    >>> answer_tokens([("five", 10)], np.array([[6, 9], [9, 14], [14, 19]]))
    (1, 1)
    """
    if not answers:
        return None
    text, start = answers[0]
    starts, ends = offsets.T
    first = np.searchsorted(ends, start, side="right")
    last = np.searchsorted(starts, start + len(text), side="left") - 1
    return (int(first), int(last)) if first <= last else None


def best_span(start_scores, end_scores):
    """Return (score, i, j) of the best span of up to MAX_ANSWER tokens.

    >>> best_span(np.array([1.0, 0.0, 5.0]), np.array([4.0, 2.0, 1.0]))
    (6.0, 2, 2)
    """
    best = (-np.inf, 0, 0)
    for length in range(min(MAX_ANSWER, len(start_scores))):
        scores = start_scores[: len(start_scores) - length] + end_scores[length:]
        i = int(scores.argmax())
        best = max(best, (float(scores[i]), i, i + length), key=lambda span: span[0])
    return best


def find_answers(examples, windows, outputs):
    """Return (texts, margins): for each question its best span, and by how much [CLS] scores more.

    outputs: of each window the scores of its tokens as start and end, a tensor (T, 2)
    """
    best = [(-np.inf, "")] * len(examples)
    no_answer = np.full(len(examples), np.inf)
    for window, output in zip(windows, outputs):
        question = window.question
        scores = output.numpy()
        no_answer[question] = min(no_answer[question], scores[0].sum())
        start, end = scores[window.first : window.first + len(window.offsets)].T
        score, i, j = best_span(start, end)
        if score > best[question][0]:
            _, context = examples.texts[question]
            text = context[window.offsets[i, 0] : window.offsets[j, 1]].strip()
            best[question] = (score, text)
    margins = no_answer - np.array([score for score, _ in best])
    return [text for _, text in best], margins


def choose_threshold(answers, texts, margins):
    """Return the threshold with the highest F1: a question with a higher margin has no answer.

    answers: the right ones; texts, margins: from ``find_answers``
    """
    order = np.argsort(margins, kind="stable")
    gains = [score_answer(answers[q], texts[q])["f1"] - score_answer(answers[q], "")["f1"]
             for q in order]
    gain = np.cumsum(gains)  # of answering the questions with the lowest margins
    margins = margins[order]
    gain[:-1][margins[:-1] == margins[1:]] = -np.inf  # no threshold is between equal margins
    last = int(gain.argmax())
    if gain[last] <= 0:
        return float(margins[0]) - 1.0
    # Half way to the next margin: rounding must not decide about the question at the threshold.
    next_margin = margins[last + 1] if last + 1 < len(margins) else margins[last] + 2.0
    return float(margins[last] + next_margin) / 2

"""The exercises: the checker accepts the project's functions and refuses answers nearly right."""
import inspect
import json
import shutil
from collections import Counter
from math import ceil, log

import numpy as np
import pytest
import torch
from book_helpers import load_script

check = load_script("exercises/check")
solutions = load_script("exercises/solutions")
EXERCISES = {exercise.file: exercise for exercise in solutions.EXERCISES}


@pytest.mark.parametrize("file", EXERCISES)
def test_the_projects_function_is_the_solution(file):
    exercise = EXERCISES[file]
    num_inputs = len(exercise.inputs())
    assert num_inputs >= (1 if exercise.judge else 3)
    result = check.check_answer(exercise, exercise.solution)
    assert result == {"state": "done", "inputs": num_inputs}


@pytest.mark.parametrize("file", EXERCISES)
def test_each_file_describes_a_function_with_the_checked_arguments(file):
    exercise = EXERCISES[file]
    function = check.load(check.HERE / f"{file}.py", exercise.function)
    assert list(inspect.signature(function).parameters) == list(exercise.inputs()[0])


# ---------------------------------------------------------------------------- wrong answers


def count_without_word_counts(words):
    return Counter(pair for word in words for pair in zip(word, word[1:]))


def merge_only_once(word, pair, merged):
    word = list(word)
    for i in range(len(word) - 1):
        if (word[i], word[i + 1]) == pair:
            return word[:i] + [merged] + word[i + 2 :]
    return word


def merge_from_the_right(word, pair, merged):
    word = list(word)
    i = len(word) - 2
    while i >= 0:
        if (word[i], word[i + 1]) == pair:
            word[i : i + 2] = [merged]
            i -= 1
        i -= 1
    return word


def score_in_bits(k, left, right, total):
    return solutions.gain(k, left, right, total) / log(2)


def score_as_a_ratio(k, left, right, total):
    return k / (left * right)


def corrupt(input_ids, is_selected, action, replacement, mask_token_id):
    corrupted = np.where(is_selected & (action < 0.9), replacement, input_ids)
    return np.where(is_selected & (action < 0.8), mask_token_id, corrupted)


def label_everywhere(
        input_ids, is_special, select, action, replacement, mask_token_id, probability):
    is_selected = (select < probability) & ~is_special
    return corrupt(input_ids, is_selected, action, replacement, mask_token_id), input_ids


def mask_special_tokens_too(
        input_ids, is_special, select, action, replacement, mask_token_id, probability):
    is_selected = select < probability
    labels = np.where(is_selected, input_ids, -100)
    return corrupt(input_ids, is_selected, action, replacement, mask_token_id), labels


def attention_without_scale(q, k, v, mask=None):
    return solutions.attention_by_hand(q * q.shape[-1] ** 0.5, k, v, mask)


def attention_without_mask(q, k, v, mask=None):
    return solutions.attention_by_hand(q, k, v)


def softmax_over_queries(q, k, v, mask=None):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-2) @ v


def linear_schedule(progress, warmup, decay):
    return solutions.lr_multiplier(progress, "linear", warmup, decay)


def schedule_without_warmup(progress, warmup, decay):
    return min(1.0, (1 - progress) / decay)


def merge_without_rank(weight, a, b, alpha):
    return weight + b @ a * alpha


def merge_in_place(weight, a, b, alpha):
    return weight.add_(b @ a, alpha=alpha / len(a))


def loss_without_the_shift(logits, input_ids, is_token):
    targets = input_ids.masked_fill(~is_token, -100)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def loss_of_padding(logits, input_ids, is_token):
    targets = input_ids[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets)


def bucket_of_each_distance(distance):
    return min(distance, 31)


def bucket_rounded_up(distance):
    return distance if distance < 16 else min(16 + ceil(16 * log(distance / 16) / log(8)), 31)


def right_mask(length, window):
    """Return a causal mask by its definition: (length, length)."""
    distance = np.arange(length)[:, None] - np.arange(length)
    return (distance >= 0) & (distance < (window or 2 * length) / 2)


def mask_without_the_token_itself(length, window):
    return right_mask(length, window) & ~np.eye(length, dtype=bool)


def mask_of_both_sides(length, window):
    return right_mask(length, window) | right_mask(length, window).T


def mask_of_half_a_window_and_the_token(length, window):
    return right_mask(length, window and window + 2)


def mask_without_the_window(length, window):
    return right_mask(length, None)


def corrupt_with_ends_included(ids, spans, sentinel_ids):
    return solutions.replace_spans(ids, [(start, end + 1) for start, end in spans], sentinel_ids)


def corrupt_with_one_sentinel(ids, spans, sentinel_ids):
    return solutions.replace_spans(ids, spans, sentinel_ids[:1] * 3)


def drop_what_follows_the_last_span(ids, spans, sentinel_ids):
    end = max((end for _, end in spans), default=0)
    return solutions.replace_spans(ids[:end], spans, sentinel_ids)


@pytest.mark.parametrize("file, answer", [
    ("1_count_pairs", count_without_word_counts),
    ("2_apply_merge", merge_only_once),
    ("2_apply_merge", merge_from_the_right),
    ("3_score_pair", score_in_bits),
    ("3_score_pair", score_as_a_ratio),
    ("4_mask_tokens", label_everywhere),
    ("4_mask_tokens", mask_special_tokens_too),
    ("5_attention", attention_without_scale),
    ("5_attention", attention_without_mask),
    ("5_attention", softmax_over_queries),
    ("6_schedule", linear_schedule),
    ("6_schedule", schedule_without_warmup),
    ("7_merge_lora", merge_without_rank),
    ("7_merge_lora", merge_in_place),
    ("8_next_token_loss", loss_without_the_shift),
    ("8_next_token_loss", loss_of_padding),
    ("9_relative_bucket", bucket_of_each_distance),
    ("9_relative_bucket", bucket_rounded_up),
    ("10_causal_mask", mask_without_the_token_itself),
    ("10_causal_mask", mask_of_both_sides),
    ("10_causal_mask", mask_of_half_a_window_and_the_token),
    ("10_causal_mask", mask_without_the_window),
    ("11_corrupt_spans", corrupt_with_ends_included),
    ("11_corrupt_spans", corrupt_with_one_sentinel),
    ("11_corrupt_spans", drop_what_follows_the_last_span),
])
def test_a_wrong_answer_is_refused_with_an_input_that_shows_it(file, answer):
    result = check.check_answer(EXERCISES[file], answer)
    assert result["state"] == "wrong"
    assert result["input"]
    assert result["yours"] != result["expected"]


def train_nothing(sentences):
    ids = torch.full((32, 20), 5)
    return ids, lambda ids: torch.zeros(*ids.shape, 9)


def train_on_three_tokens(sentences):
    return torch.full((32, 3), 5), lambda ids: torch.eye(9)[torch.full_like(ids, 5)]


def test_a_bert_that_has_learned_nothing_or_too_little_is_refused():
    exercise = EXERCISES["12_train_bert"]
    result = check.check_answer(exercise, train_nothing)
    assert result["state"] == "wrong" and result["yours"] == "0 of 640 tokens are right"
    assert check.check_answer(exercise, train_on_three_tokens)["state"] == "wrong"
    [case] = exercise.inputs()
    assert case["sentences"][0] == "the boats leave the harbour before the light comes"


IDS = torch.arange(4, 14).repeat(32, 1)


@pytest.mark.parametrize("trained, message", [
    (torch.nn.Identity(), "the result is not (ids, model)"),
    ((IDS.tolist(), torch.nn.Identity()), "ids is not a tensor of int64 of the shape (32, T)"),
    ((IDS.int(), torch.nn.Identity()), "ids is not a tensor of int64 of the shape (32, T)"),
    ((IDS[:31], torch.nn.Identity()), "ids is not a tensor of int64 of the shape (32, T)"),
    ((IDS, lambda ids: torch.zeros(32, 14)),
     "the model maps (32, 10) to (32, 14), not to (B, T, V)"),
    ((IDS[:, :9], lambda ids: torch.zeros(32, 9, 14)), "288 tokens in 32 sentences are too few"),
])
def test_a_bert_of_another_form_is_described(trained, message):
    result = check.check_answer(EXERCISES["12_train_bert"], lambda sentences: trained)
    assert (result["state"], result["yours"]) == ("wrong", message)


def test_the_last_exercise_calls_the_readers_own_functions():
    """They are not written yet, so the file can be loaded, but not used."""
    answer = check.load(check.HERE / "12_train_bert.py", "train_bert")
    with pytest.raises(NotImplementedError):
        answer.__globals__["count_pairs"]({})
    assert {"apply_merge", "mask_tokens", "attention", "lr_multiplier"} < set(answer.__globals__)


def corrupt_token_by_token(ids, spans, sentinel_ids):
    corrupted, target = [], []
    for i, token in enumerate(ids):
        inside = [n for n, (start, end) in enumerate(spans) if start <= i < end]
        for n in inside:
            if i == spans[n][0]:
                corrupted.append(sentinel_ids[n])
                target.append(sentinel_ids[n])
        (target if inside else corrupted).append(token)
    return corrupted, target


@pytest.mark.parametrize("file, answer", [
    ("10_causal_mask", right_mask),
    ("11_corrupt_spans", corrupt_token_by_token),
])
def test_an_answer_by_the_description_is_accepted(file, answer):
    assert check.check_answer(EXERCISES[file], answer)["state"] == "done"


@pytest.mark.parametrize("file", EXERCISES)
def test_no_answer_and_an_exception_are_no_solution(file):
    def returns_none(*args):
        return None

    def fails(*args):
        raise IndexError("out of range")

    def unfinished(*args):
        raise NotImplementedError

    exercise = EXERCISES[file]
    assert check.check_answer(exercise, returns_none)["state"] == "wrong"
    assert check.check_answer(exercise, fails)["yours"] == "IndexError: out of range"
    assert check.check_answer(exercise, unfinished) == {"state": "not yet", "inputs": 0}


@pytest.mark.parametrize("one, two, expected", [
    (Counter({("a", "b"): 2}), {("a", "b"): 2}, True),
    ((1, [2.0000001]), [1, (2,)], True),
    (torch.ones(2), torch.ones(2) + 1e-7, True),
    ({"a": 1}, {"a": 2}, False),
    ([1], [1, 2], False),
    (torch.ones(1), torch.ones(2), False),
    (None, 0, False),
    ("1", 1, False),
    ({}, [], False),
])
def test_equal_ignores_the_type_of_a_container_and_rounding(one, two, expected):
    assert check.equal(one, two) is expected


def test_the_command_prints_the_state_of_each_exercise(tmp_path, capsys):
    answers = {
        "1_count_pairs": "def count_pairs(words):\n    raise NotImplementedError\n",
        "2_apply_merge": "from tokenizer.reference import merge as apply_merge\n",
        "3_score_pair": "def score_pair(k, left, right, total):\n    return k / (left * right)\n",
        "6_schedule": "def rate(progress):\n    return 1\n",
        "7_merge_lora": "def merge_lora(\n",
    }
    for file in EXERCISES:
        shutil.copy(check.HERE / f"{file}.py", tmp_path)
    for file, answer in answers.items():
        (tmp_path / f"{file}.py").write_text(answer)
    assert check.main(["--only", "1", "2", "3", "6", "7", "--json"], tmp_path) == 1
    results = {result["exercise"]: result for result in json.loads(capsys.readouterr().out)}
    states = {file: result["state"] for file, result in results.items()}
    assert states == {"1_count_pairs": "not yet", "2_apply_merge": "done", "3_score_pair": "wrong",
                      "6_schedule": "wrong", "7_merge_lora": "wrong"}
    assert "defines no function lr_multiplier" in results["6_schedule"]["yours"]
    assert "SyntaxError" in results["7_merge_lora"]["yours"]
    assert check.main(["--only", "3"], tmp_path) == 1
    assert "    yours:          0.333333" in capsys.readouterr().out
    with pytest.raises(ValueError, match="there are 1 to 12"):
        check.main(["--only", "13"])


@pytest.mark.parametrize("case", EXERCISES["7_merge_lora"].inputs())
def test_the_project_merges_by_the_formula_of_the_paper(case):
    weight, a, b, alpha = case["weight"].clone(), case["a"], case["b"], case["alpha"]
    assert torch.allclose(solutions.merge_lora(**case), weight + b @ a * alpha / len(a), atol=1e-6)
    assert torch.equal(case["weight"], weight)

"""The exercises: their checker takes the product's functions, and every answer that is nearly right it refuses, with an input that shows it."""
import inspect
import json
import shutil
from collections import Counter
from math import log

import numpy as np
import pytest
import torch
from book_helpers import ROOT, module

check = module(ROOT / "exercises" / "check.py")
BY_FILE = {exercise.file: exercise for exercise in check.EXERCISES}


@pytest.mark.parametrize("file", BY_FILE)
def test_the_product_itself_is_the_solution(file):
    result = check.check_answer(BY_FILE[file], BY_FILE[file].solution)
    assert result == {"state": "done", "inputs": len(BY_FILE[file].inputs())} and result["inputs"] >= 3


@pytest.mark.parametrize("file", BY_FILE)
def test_each_file_leaves_its_function_to_the_reader(file):
    """Its arguments have the product's names; what it gives is the reader's business, who may have written it here."""
    function = check.load(check.HERE / f"{file}.py", BY_FILE[file].function)
    assert list(inspect.signature(function).parameters) == list(BY_FILE[file].inputs()[0])


def pairs_of_sets(words):
    return {pair: sum(count for word, count in words.items() if pair in zip(word, word[1:])) for word in words for pair in zip(word, word[1:])}


def pairs_of_words(words):
    return Counter(pair for word in words for pair in zip(word, word[1:]))


def merge_once(word, pair, merged):
    word = list(word)
    for i in range(len(word) - 1):
        if (word[i], word[i + 1]) == pair:
            return word[:i] + [merged] + word[i + 2:]
    return word


def merge_from_the_right(word, pair, merged):
    word, i = list(word), len(word) - 2
    while i >= 0:
        if (word[i], word[i + 1]) == pair:
            word[i:i + 2] = [merged]
            i -= 1
        i -= 1
    return word


def score_in_bits(k, left, right, total):
    return check.gain(k, left, right, total) / log(2)


def score_of_courses(k, left, right, total):
    return k / (left * right)


def labels_everywhere(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    selected = (select < probability) & ~is_special
    corrupted = np.where(selected & (action < 0.8), mask_token_id, np.where(selected & (action < 0.9), replacement, input_ids))
    return corrupted, input_ids


def specials_too(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    selected = select < probability
    corrupted = np.where(selected & (action < 0.8), mask_token_id, np.where(selected & (action < 0.9), replacement, input_ids))
    return corrupted, np.where(selected, input_ids, -100)


def attention_unscaled(q, k, v, mask=None):
    return check.attention_by_hand(q * q.shape[-1] ** 0.5, k, v, mask)


def attention_blind(q, k, v, mask=None):
    return check.attention_by_hand(q, k, v)


def softmax_over_queries(q, k, v, mask=None):
    return ((q @ k.mT / q.shape[-1] ** 0.5) + (0 if mask is None else mask)).softmax(dim=-2) @ v


def linear_schedule(progress, warmup, decay):
    return check.lr_multiplier(progress, "linear", warmup, decay)


def no_warmup(progress, warmup, decay):
    return min(1.0, (1 - progress) / decay)


def alpha_alone(weight, a, b, alpha):
    return weight + b @ a * alpha


def merged_in_place(weight, a, b, alpha):
    return weight.add_(b @ a, alpha=alpha / len(a))


def transposed(weight, a, b, alpha):
    return weight + (b @ a).T * alpha / len(a)


@pytest.mark.parametrize("file, answer", [
    ("1_count_pairs", pairs_of_sets), ("1_count_pairs", pairs_of_words), ("2_apply_merge", merge_once), ("2_apply_merge", merge_from_the_right),
    ("3_score_pair", score_in_bits), ("3_score_pair", score_of_courses), ("4_mask_tokens", labels_everywhere), ("4_mask_tokens", specials_too),
    ("5_attention", attention_unscaled), ("5_attention", attention_blind), ("5_attention", softmax_over_queries),
    ("6_schedule", linear_schedule), ("6_schedule", no_warmup), ("7_merge_lora", alpha_alone), ("7_merge_lora", merged_in_place),
    ("7_merge_lora", transposed)], ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_answer_is_refused_with_the_first_input_that_differs(file, answer):
    result = check.check_answer(BY_FILE[file], answer)
    assert result["state"] == "wrong" and result["input"] and result["yours"] != result["product"]


@pytest.mark.parametrize("file", BY_FILE)
def test_nothing_no_answer_and_an_exception_are_no_solution(file):
    def none(*_, **__):
        return None

    def breaks(*_, **__):
        raise IndexError("out of range")

    def stub(*_, **__):
        raise NotImplementedError

    assert check.check_answer(BY_FILE[file], none)["state"] == "wrong"
    assert check.check_answer(BY_FILE[file], breaks)["yours"] == "IndexError: out of range"
    assert check.check_answer(BY_FILE[file], stub) == {"state": "not yet", "inputs": 0}


def test_equal_takes_what_means_the_same_and_nothing_else():
    assert check.equal(Counter({("a", "b"): 2}), {("a", "b"): 2}) and check.equal((1, [2.0000001]), [1, (2,)])
    assert check.equal(torch.ones(2), torch.ones(2) + 1e-7)
    for yours, right in (({"a": 1}, {"a": 2}), ([1], [1, 2]), (torch.ones(1), torch.ones(2)), (None, 0), ("1", 1), ({}, [])):
        assert not check.equal(yours, right)


def test_the_command_says_of_each_exercise_how_it_stands(tmp_path, capsys):
    for file in BY_FILE:
        shutil.copy(check.HERE / f"{file}.py", tmp_path)
    (tmp_path / "1_count_pairs.py").write_text("def count_pairs(words):\n    raise NotImplementedError\n")
    (tmp_path / "2_apply_merge.py").write_text("from tokenizer.reference import merge as apply_merge\n")
    (tmp_path / "3_score_pair.py").write_text("def score_pair(k, left, right, total):\n    return k / (left * right)\n")
    (tmp_path / "6_schedule.py").write_text("def rate(progress):\n    return 1\n")
    (tmp_path / "7_merge_lora.py").write_text("def merge_lora(\n")
    assert check.main(["--only", "1", "2", "3", "6", "7"], tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1_count_pairs   not yet   write exercises/1_count_pairs.py"
    assert lines[1].startswith("2_apply_merge   done ")
    assert lines[2:9] == ["3_score_pair    wrong     0 inputs agree, this one does not", "    k               3", "    left            3",
                          "    right           3", "    total           40", "    yours:          0.333333", "    the product's:  10.655379"]
    assert "6_schedule.py defines no function lr_multiplier" in lines[10] and "7_merge_lora.py cannot be run: SyntaxError" in lines[13]
    assert check.main(["--only", "1", "2", "--json"], tmp_path) == 0
    assert [result["state"] for result in json.loads(capsys.readouterr().out)] == ["not yet", "done"]
    with pytest.raises(ValueError, match="there are 1 to 7"):
        check.main(["--only", "9"])


@pytest.mark.parametrize("case", BY_FILE["7_merge_lora"].inputs())
def test_what_the_product_merges_is_the_papers_formula(case):
    weight = case["weight"].clone()
    rank = case["a"].shape[0]
    assert torch.allclose(check.merge_lora(**case), weight + case["b"] @ case["a"] * case["alpha"] / rank, atol=1e-6)
    assert torch.equal(case["weight"], weight)

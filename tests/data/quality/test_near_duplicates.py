"""MinHash against the true similarity, planted near duplicates among unrelated texts, and memory that stops growing."""
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.quality.near_duplicates import BANDS, HASHES, NearDuplicates, jaccard, shingles, signature, similarity

WORDS = [f"word{n}" for n in range(2000)]


def changed(words, number, rng):
    """The words with ``number`` of them replaced by others that stand nowhere else."""
    words = list(words)
    for place in rng.sample(range(len(words)), number):
        words[place] = f"new{rng.getrandbits(60)}"
    return words


def test_shingles_worked_by_hand():
    assert shingles("A b c, d e F.") == {("a", "b", "c", "d", "e"), ("b", "c", "d", "e", "f")}
    assert shingles("only three words") == {("only", "three", "words")} and shingles("...") == set()


def test_the_true_similarity_worked_by_hand():
    """Ten words have six shingles; with the last word another, five are in both and seven in either."""
    assert jaccard("a b c d e f g h i j", "A, b c d e f g h i x") == pytest.approx(5 / 7)
    assert jaccard("a b", "a b") == 1 and jaccard("a b", "b a") == 0 and jaccard("", "") == 0


def test_the_estimate_agrees_with_its_slow_twin_within_its_error():
    """400 pairs from alike to unrelated: each difference is within five standard errors, their mean near zero, and the
    squared differences are what independent numbers give, so that the 128 are worth 128."""
    rng = random.Random(0)
    errors, variances = [], []
    for _ in range(400):
        words = rng.choices(WORDS, k=rng.randint(20, 300))
        one, other = " ".join(words), " ".join(changed(words, rng.randint(0, len(words) // 6), rng))
        true, estimate = jaccard(one, other), similarity(signature(one), signature(other))
        errors.append(estimate - true)
        variances.append(true * (1 - true) / HASHES)
        assert abs(errors[-1]) <= 5 * variances[-1] ** 0.5 + 1e-9, (true, estimate)
    assert abs(np.mean(errors)) < 0.01
    assert 0.8 < np.mean(np.square(errors)) / np.mean(variances) < 1.2


def test_a_long_text_is_computed_in_parts_with_the_same_result(monkeypatch):
    text = " ".join(random.Random(1).choices(WORDS, k=500))
    whole = signature(text)
    monkeypatch.setattr("data.quality.near_duplicates.AT_ONCE", 7)
    assert (signature(text) == whole).all() and whole.shape == (HASHES,)


def test_planted_near_duplicates_are_found_and_unrelated_texts_are_not():
    rng = random.Random(2)
    seen, planted = NearDuplicates(), 0
    for number in range(300):
        words = rng.choices(WORDS, k=120)
        assert not seen(" ".join(words)), number
        if number % 3 == 0:  # one word changed: at most 5 of 116 shingles, a similarity of 0.92 or more
            near = " ".join(changed(words, 1, rng)).upper() + "!"
            assert jaccard(near, " ".join(words)) >= 111 / 121 and seen(near)
            planted += 1
        if number % 3 == 1:  # half of it another text: far below 0.8
            assert not seen(" ".join(words[:60] + rng.choices(WORDS, k=60)))
    assert planted == 100 and seen.count == 400


def test_texts_of_a_single_shingle_are_told_apart():
    """Of 3,000 texts that share nothing no two look the same, though each of their numbers has 16 bits alone."""
    seen = NearDuplicates()
    assert not any(seen(f"a{number} b{number} c d e") for number in range(3000))


def test_the_threshold_decides():
    words = WORDS[:100]
    one, other = " ".join(words), " ".join(words[:75] + WORDS[100:125])
    assert jaccard(one, other) == pytest.approx(71 / 121)  # 0.59
    for threshold, found in ((0.8, False), (0.4, True)):
        seen = NearDuplicates(threshold)
        assert not seen(one) and seen(other) == found


def test_texts_without_words_are_no_duplicates_of_each_other():
    seen = NearDuplicates()
    assert not seen("***") and not seen("* * *") and seen.count == 0


def test_what_is_remembered_survives_growth_and_ends_at_the_limit():
    """The arrays begin at 1,024 texts and double; past the limit nothing is added, and the first are still known."""
    texts = [" ".join(WORDS[start:start + 12]) for start in range(0, 1980, 12)]
    texts = [f"{text} {number}" for number in range(10) for text in (" ".join(reversed(text.split()[number:])) for text in texts)]
    seen = NearDuplicates(limit=1500, threshold=1.0)
    assert not any(seen(text) for text in texts)
    assert seen.count == 1500 and seen.not_remembered == len(texts) - 1500 == 150
    assert seen.signatures.shape == (1500, HASHES) and seen.slots.shape == (BANDS, 4096)
    assert all(seen(text) for text in texts[:1500]) and not any(seen(text) for text in texts[1500:])


def test_signatures_are_the_same_in_every_process_and_on_every_machine():
    code = "from data.quality.near_duplicates import signature; print(*signature('One two three four five six, SEVEN é.')[:4])"
    found = {subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, cwd=Path(__file__).parents[3],
                            capture_output=True, text=True, check=True).stdout for seed in ("1", "2")}
    assert found == {"29463 59759 57103 42761\n"}

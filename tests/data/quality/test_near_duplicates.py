import random

import numpy as np
import pytest

from data.quality.near_duplicates import (
    NUM_HASHES,
    NearDuplicates,
    jaccard,
    shingles,
    signature,
    similarity,
)

WORDS = [f"word{n}" for n in range(2000)]


def change_words(words, num_changes, rng):
    """Replace some of the words by new ones."""
    words = list(words)
    for i in rng.sample(range(len(words)), num_changes):
        words[i] = f"new{rng.getrandbits(60)}"
    return words


def test_shingles_by_hand():
    assert shingles("A b c, d e F.") == {tuple("abcde"), tuple("bcdef")}
    assert shingles("only three words") == {("only", "three", "words")}
    assert shingles("...") == set()


def test_jaccard_by_hand():
    # Ten words have six shingles. With another last word, five are in both, seven in either.
    assert jaccard("a b c d e f g h i j", "A, b c d e f g h i x") == pytest.approx(5 / 7)
    assert jaccard("a b", "a b") == 1
    assert jaccard("a b", "b a") == 0
    assert jaccard("", "") == 0


def test_the_estimate_agrees_with_jaccard_within_its_standard_error():
    rng = random.Random(0)
    errors = []
    variances = []
    for _ in range(400):
        words = rng.choices(WORDS, k=rng.randint(20, 300))
        a = " ".join(words)
        b = " ".join(change_words(words, rng.randint(0, len(words) // 6), rng))
        true = jaccard(a, b)
        errors.append(similarity(signature(a), signature(b)) - true)
        variances.append(true * (1 - true) / NUM_HASHES)
        assert abs(errors[-1]) <= 5 * variances[-1] ** 0.5 + 1e-9
    assert abs(np.mean(errors)) < 0.01
    # The variance is that of 128 independent hash functions.
    assert 0.8 < np.mean(np.square(errors)) / np.mean(variances) < 1.2


def test_planted_near_duplicates_are_found_and_other_texts_are_not():
    rng = random.Random(2)
    seen = NearDuplicates()
    for i in range(300):
        words = rng.choices(WORDS, k=120)
        assert not seen(" ".join(words))
        if i % 3 == 0:  # one word changed: at most 5 of 116 shingles
            near = " ".join(change_words(words, 1, rng)).upper() + "!"
            assert jaccard(near, " ".join(words)) >= 111 / 121
            assert seen(near)
        if i % 3 == 1:  # half of it is another text: far below 0.8
            assert not seen(" ".join(words[:60] + rng.choices(WORDS, k=60)))
    assert seen.count == 400


@pytest.mark.parametrize("threshold, found", [(0.8, False), (0.4, True)])
def test_the_threshold_decides(threshold, found):
    first = " ".join(WORDS[:100])
    second = " ".join(WORDS[:75] + WORDS[100:125])
    assert jaccard(first, second) == pytest.approx(71 / 121)  # 0.59
    seen = NearDuplicates(threshold)
    assert not seen(first)
    assert seen(second) == found


def test_texts_without_words_are_not_duplicates():
    seen = NearDuplicates()
    assert not seen("***") and not seen("* * *")
    assert seen.count == 0


def test_memory_grows_up_to_the_limit_and_forgets_nothing():
    texts = []
    for i in range(10):
        for start in range(0, 1980, 12):
            words = WORDS[start + i:start + 12]
            texts.append(" ".join([*reversed(words), str(i)]))
    seen = NearDuplicates(limit=1500, threshold=1.0)
    assert not any(seen(text) for text in texts)
    assert seen.count == 1500
    assert seen.not_remembered == len(texts) - 1500 == 150
    assert seen.signatures.shape == (1500, NUM_HASHES)
    assert all(seen(text) for text in texts[:1500])
    assert not any(seen(text) for text in texts[1500:])


def test_signatures_are_the_same_on_every_machine():
    text = "One two three four five six, SEVEN é."
    assert signature(text)[:4].tolist() == [29463, 59759, 57103, 42761]

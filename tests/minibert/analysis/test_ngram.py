"""The n-gram model, worked by hand."""
import numpy as np
import pytest

from minibert.analysis.ngram import NGramModel

# Two documents, "a b" and "a", and the separator > after each: > a b > a > with the first one
A, B, END = 0, 1, 2
TEXT = np.array([A, B, END, A, END], dtype=np.uint16)


def probability(model, history, token):
    """Return p(token | separators, history)."""
    before, with_token = model.log_likelihoods([[A, *history], [A, *history, token]])
    return np.exp(with_token - before)


def test_token_frequencies_by_hand():
    """c = 2, 1, 3 of 6; three times D = 0.75 is shared equally, 0.75 for each token."""
    model = NGramModel(TEXT, END, vocab_size=3, order=1)
    each = np.exp(model.log_likelihoods([[A], [B], [A, B, B]]))
    assert each == pytest.approx([2 / 6, 1 / 6, 2 / 6 * 1 / 6 * 1 / 6])


def test_bigrams_by_hand():
    """Single tokens count by what is before them: a 1 (>), b 1 (a), > 2 (b and a), sum 4.

    p(a) = (0.25 + 0.75 * 3 / 3) / 4 = 1/4, so is p(b), and p(>) = 1/2.
    """
    model = NGramModel(TEXT, END, vocab_size=3, order=2)
    after_a = [(0 + 0.75 * 2 / 4) / 2, (0.25 + 0.75 * 2 / 4) / 2, (0.25 + 0.75 * 2 / 2) / 2]
    assert [probability(model, [], token) for token in (A, B, END)] == pytest.approx(after_a)
    first_a = (2 - 0.75 + 0.75 * 1 / 4) / 2  # after a separator
    assert np.exp(model.log_likelihoods([[A, B]])) == pytest.approx([first_a * after_a[1]])


def test_the_first_token_has_the_counts_of_documents():
    """Two of three documents begin with 3: more than (2 - 0.75) / 3, and one with 4."""
    text = np.array([3, 4, END, 3, 5, END, 4, 3, END])
    model = NGramModel(text, END, vocab_size=6, order=5)
    three, four = np.exp(model.log_likelihoods([[3], [4]]))
    assert three > (2 - 0.75) / 3 and three - four == pytest.approx(1 / 3, abs=0.05)


def test_an_unseen_history_is_left_out():
    """Before the trigrams, > is also after >: single tokens count a 1, b 1, > 3, sum 5."""
    model = NGramModel(TEXT, END, vocab_size=4, order=3)
    unseen = 3
    by_hand = (1 - 0.75 + 0.75 * 3 / 4) / 5
    assert probability(model, [unseen], A) == pytest.approx(by_hand)
    assert probability(model, [B, unseen, unseen], A) == pytest.approx(by_hand)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_probabilities_of_all_next_tokens_sum_to_one(order):
    text = np.random.default_rng(0).integers(0, 6, 300)
    model = NGramModel(text, END, vocab_size=7, order=order)
    for history in ([], [6, 1], *text[:20].reshape(5, 4).tolist()):
        total = sum(probability(model, history, token) for token in range(7))
        assert total == pytest.approx(1)


def test_a_sequence_does_not_depend_on_those_beside_it():
    text = np.random.default_rng(1).integers(0, 5, 200)
    model = NGramModel(text, END, vocab_size=5, order=4)
    sequences = [[0, 1, 2, 3], [4], [0, 1, 2, 3]]
    alone = [model.log_likelihoods([sequence])[0] for sequence in sequences]
    assert model.log_likelihoods(sequences).tolist() == pytest.approx(alone)


def test_a_document_that_the_text_repeats_is_likely():
    model = NGramModel(np.array([0, 1, 3, 4, END] * 50), END, vocab_size=5, order=5)
    assert model.log_likelihoods([[0, 1, 3, 4]])[0] > np.log(0.9)

"""Two evaluations agree exactly, the batch size does not matter, and the sums are those of a loop."""
import math

import numpy as np
import pytest
import torch
from helpers import Letters, Tokens
from torch.nn import functional as F

from minibert.batches import collate
from minibert.config import BertConfig
from minibert.evaluate import EVAL_SEED, bytes_per_token, copying_loss, eval_subset, evaluate, expected_losses, unigram_entropy
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.model import BertForMaskedLM

MASKER = Masker(32, 4, (0, 1, 2, 3, 4))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                                      max_position_embeddings=32, pad_token_id=1, initializer_range=0.3))


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(0)
    corpus = Tokens(*[["".join(rng.choice(list("aabcdefgh"), rng.integers(1, 30)))] for _ in range(60)])
    return make_examples("lines", corpus, Letters(), max_length=32)


def test_two_evaluations_agree_exactly_even_in_training_mode_with_dropout(model, lines):
    model.train()
    torch.manual_seed(1)
    one = evaluate(model, lines, MASKER, pad_token_id=1)
    torch.manual_seed(2)
    assert evaluate(model, lines, MASKER, pad_token_id=1) == one
    assert model.training


def test_the_batch_size_does_not_matter(model, lines):
    one, two = (evaluate(model, lines, MASKER, pad_token_id=1, batch_size=size) for size in (1, 17))
    assert one["masked"] == two["masked"] and one["accuracy"] == two["accuracy"]
    assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)


def test_the_loss_is_the_mean_over_masked_tokens(model, lines):
    """The slow twin: one example after another, dense logits, every masked token by itself."""
    losses, right = [], []
    model.eval()
    for n in range(len(lines)):
        batch = collate(lines, [n], MASKER, 1, EVAL_SEED, 0)
        with torch.no_grad():
            logits = model(batch.input_ids, attention_mask=batch.attention_mask).logits[0]  # (T, V)
        for t, label in enumerate(batch.labels[0].tolist()):
            if label != -100:
                losses.append(F.cross_entropy(logits[t], torch.tensor(label)).item())
                right.append(logits[t].argmax().item() == label)
    scores = evaluate(model, lines, MASKER, pad_token_id=1, bytes_per_token=4.0)
    assert scores["masked"] == len(losses) and scores["accuracy"] == pytest.approx(np.mean(right))
    assert scores["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    assert scores["bits_per_byte"] == pytest.approx(scores["loss"] / math.log(2) / 4)


def test_a_limit_takes_the_same_examples_each_time():
    assert eval_subset(range(100), 10).tolist() == eval_subset(range(100), 10).tolist()
    assert len(set(eval_subset(range(100), 10))) == 10 and eval_subset(range(3), 10).tolist() == [0, 1, 2]


def test_bytes_per_token_count_the_line_ends_where_they_are_tokens():
    tokens = Tokens(["abc", "de"], ["f"])  # 6 letters; a line end within the first document
    tokens.num_bytes, tokens.num_tokens, tokens.num_documents = 6 + 3, 6, 2
    assert bytes_per_token(tokens, Letters(), "lines") == 1.0
    assert bytes_per_token(tokens, Letters(), "blocks") == 9 / 7
    assert bytes_per_token(tokens, Letters(line_end=False), "documents") == 9 / 6


def test_the_unigram_entropy_counts_ordinary_tokens_only():
    corpus = make_examples("lines", Tokens(["aabb"], ["c"], ["c"], ["dd"]), Letters(), max_length=8)  # a b c d, twice each
    assert unigram_entropy(corpus, MASKER.is_special) == pytest.approx(math.log(4))


@pytest.mark.parametrize("counts", [[3, 1, 0, 0, 7], [2, 2, 0], [5, 1], list(range(1, 40))])
def test_copying_is_worth_what_an_optimal_reader_of_one_place_gains(counts):
    """Against the table of all pairs (token that is asked for, token that stands there), the optimal reader's loss summed over it."""
    p, n = np.array(counts) / sum(counts), len(counts)
    pairs = p[:, None] * (np.eye(n) + 1 / n) / 2  # (asked for, seen): itself, or any token
    believed = pairs / pairs.sum(axis=0)
    visible = -np.sum(pairs[pairs > 0] * np.log(believed[pairs > 0]))
    hidden = -np.sum(p[p > 0] * np.log(p[p > 0]))
    assert copying_loss(np.array(counts), n) == pytest.approx(0.8 * hidden + 0.2 * visible)


def test_a_reader_of_single_places_pays_that_for_the_maskers_own_masks():
    """A hundred thousand tokens as train.py masks them; the reader knows the frequencies, and how masks are made."""
    p = np.array([0, 0, 8, 4, 2, 1, 1]) / 16  # 0 and 1: special tokens
    masker = Masker(7, 1, (0, 1), probability=0.5)
    ids = np.random.default_rng(0).choice(7, (100, 1000), p=p)
    seen, labels = masker(ids, EVAL_SEED, 0, np.arange(100))
    asked, given = labels[labels != -100], seen[labels != -100]
    pairs = p[:, None] * (np.eye(7) + 1 / 5)  # (asked for, seen), but for a factor
    chances = np.where(given == 1, p[asked], (pairs / pairs.sum(axis=0))[asked, given])
    counts = np.bincount(ids.ravel(), minlength=7)
    assert -np.log(chances).mean() == pytest.approx(copying_loss(counts, 5), abs=0.01)
    assert copying_loss(counts, 5) < 1.29 < -np.sum(p[2:] * np.log(p[2:]))


def test_what_losses_mean_is_told_of_the_tokens_that_are_asked_for():
    corpus = make_examples("lines", Tokens(["aabb"], ["c"], ["c"], ["dd"]), Letters(), max_length=8)
    ordinary = int((~MASKER.is_special).sum())
    assert expected_losses(corpus, MASKER.is_special) == pytest.approx({
        "ln_vocab": math.log(len(MASKER.is_special)), "unigram_entropy": math.log(4), "copying_loss": copying_loss(np.array([2, 2, 2, 2]), ordinary)})


def test_a_held_out_part_without_a_masked_token_is_refused(model):
    with pytest.raises(ValueError, match="not one masked token"):
        evaluate(model, make_examples("lines", Tokens(), Letters(), 8), MASKER, pad_token_id=1)

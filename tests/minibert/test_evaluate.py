"""Evaluations agree exactly, do not depend on the batch size, and equal a loop over tokens."""
import math

import numpy as np
import pytest
import torch
from helpers import Letters, Tokens
from torch.nn import functional as F

from minibert.batches import collate
from minibert.config import BertConfig
from minibert.evaluate import (
    EVAL_SEED,
    copying_loss,
    eval_mode,
    eval_subset,
    evaluate,
    expected_losses,
    mean_bytes_per_token,
)
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.model import BertForMaskedLM

MASKER = Masker(32, 4, (0, 1, 2, 3, 4))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, pad_token_id=1, initializer_range=0.3))


@pytest.fixture(scope="module")
def lines():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("aabcdefgh"), rng.integers(1, 30))) for _ in range(60)]
    return make_examples("lines", Tokens(*[[text] for text in texts]), Letters(), max_length=32)


def test_two_evaluations_agree_even_in_training_mode_with_dropout(model, lines):
    model.train()
    torch.manual_seed(1)
    first = evaluate(model, lines, MASKER, pad_token_id=1)
    torch.manual_seed(2)
    assert evaluate(model, lines, MASKER, pad_token_id=1) == first
    assert model.training


def test_the_batch_size_does_not_matter(model, lines):
    one = evaluate(model, lines, MASKER, pad_token_id=1, batch_size=1)
    many = evaluate(model, lines, MASKER, pad_token_id=1, batch_size=17)
    assert (one["masked"], one["accuracy"]) == (many["masked"], many["accuracy"])
    assert one["loss"] == pytest.approx(many["loss"], abs=1e-6)


def test_the_loss_is_the_mean_over_masked_tokens(model, lines):
    """The slow twin: one example after another, dense logits, each masked token by itself."""
    losses, correct = [], []
    model.eval()
    for i in range(len(lines)):
        batch = collate(lines, [i], MASKER, 1, EVAL_SEED, 0)
        with torch.no_grad():
            logits = model(batch.input_ids, attention_mask=batch.attention_mask).logits[0]  # (T, V)
        for t, label in enumerate(batch.labels[0]):
            if label != -100:
                losses.append(F.cross_entropy(logits[t], label).item())
                correct.append((logits[t].argmax() == label).item())
    metrics = evaluate(model, lines, MASKER, pad_token_id=1, bytes_per_token=4.0)
    assert metrics["masked"] == len(losses)
    assert metrics["accuracy"] == pytest.approx(np.mean(correct))
    assert metrics["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    assert metrics["bits_per_byte"] == pytest.approx(metrics["loss"] / math.log(2) / 4)


def test_a_byte_that_the_tokenizer_does_not_know_costs_eight_bits(model, lines):
    known, unknown = (evaluate(model, lines, MASKER, 1, bytes_per_token=4.0, unknown_share=share)
                      for share in (0.0, 0.25))
    assert unknown["bits_per_byte"] == pytest.approx(known["bits_per_byte"] + 2)


def test_a_limit_chooses_the_same_examples_each_time():
    subset = eval_subset(range(100), 10).tolist()
    assert subset == eval_subset(range(100), 10).tolist() == sorted(set(subset))
    assert len(subset) == 10
    assert eval_subset(range(3), 10).tolist() == [0, 1, 2]


def test_bytes_per_token_counts_line_ends_that_are_tokens():
    tokens = Tokens(["abc", "de"], ["f"])  # 6 letters; a line end within the first document
    tokens.num_bytes, tokens.num_tokens, tokens.num_documents = 6 + 3, 6, 2
    assert mean_bytes_per_token(tokens, Letters(), "lines") == 6 / 6
    assert mean_bytes_per_token(tokens, Letters(), "blocks") == 9 / 7
    assert mean_bytes_per_token(tokens, Letters(line_end=False), "documents") == 9 / 6


@pytest.mark.parametrize("counts", [[3, 1, 0, 0, 7], [2, 2, 0], [5, 1], list(range(1, 40))])
def test_the_copying_loss_is_that_of_an_optimal_reader_of_one_position(counts):
    """The reader's loss summed over the table of all (true token, visible token)."""
    p = np.array(counts) / sum(counts)
    n = len(counts)
    joint = p[:, None] * (np.eye(n) + 1 / n) / 2  # the true token is visible, or any token
    posterior = joint / joint.sum(axis=0)
    visible_loss = -np.sum(joint[joint > 0] * np.log(posterior[joint > 0]))
    masked_loss = -np.sum(p[p > 0] * np.log(p[p > 0]))
    expected = 0.8 * masked_loss + 0.2 * visible_loss
    assert copying_loss(np.array(counts), n) == pytest.approx(expected)


def test_expected_losses_count_only_ordinary_tokens():
    tokens = Tokens(["aabb"], ["c"], ["c"], ["dd"])  # a b c d, twice each, and special tokens
    losses = expected_losses(make_examples("lines", tokens, Letters(), 8), MASKER.is_special)
    assert losses["ln_vocab"] == math.log(32)
    assert losses["unigram_entropy"] == pytest.approx(math.log(4))
    assert losses["copying_loss"] == copying_loss(np.array([2, 2, 2, 2]), 32 - 5)


def test_a_validation_split_without_a_masked_token_is_refused(model):
    with pytest.raises(ValueError, match="not one masked token"):
        evaluate(model, make_examples("lines", Tokens(), Letters(), 8), MASKER, pad_token_id=1)


def test_eval_mode_ends_with_its_block_however_it_ends():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    with pytest.raises(KeyError), eval_mode(model):
        assert not model.training and not model[1].training
        assert not model(torch.ones(1, 2)).requires_grad
        raise KeyError
    assert model.training and model[1].training
    assert model(torch.ones(1, 2)).requires_grad
    with eval_mode(model.eval()):
        pass
    assert not model.training

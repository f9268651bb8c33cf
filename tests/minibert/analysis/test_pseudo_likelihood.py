"""Pseudo-perplexity: worked by hand, against one row at a time, and as a command."""
import io
import json
import math

import numpy as np
import pytest
import torch
from reading_models import LINES, constant_model, model_for, saved

from minibert import pseudo_perplexity
from minibert.analysis.pseudo_likelihood import log_likelihoods, main, perplexity


def test_a_uniform_model_has_the_size_of_its_vocabulary(bpe):
    results = pseudo_perplexity(constant_model(bpe, {}), bpe, LINES[:3])
    values = [result["pseudo_perplexity"] for result in results]
    assert values == pytest.approx([bpe.vocab_size] * 3, rel=1e-4)


def test_two_tokens_worked_by_hand(bpe):
    """p(The) = 1/2 and p( cat) = 1/8: their geometric mean is 1/4."""
    model = constant_model(bpe, {"The": 0.5, "Ġcat": 0.125})
    result, = pseudo_perplexity(model, bpe, ["The cat"])
    assert [token["token"] for token in result["tokens"]] == ["The", "Ġcat"]
    assert result["pseudo_perplexity"] == pytest.approx(4, rel=1e-5)
    assert result["pseudo_log_likelihood"] == pytest.approx(math.log(1 / 16), rel=1e-5)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_batches_equal_one_masked_row_at_a_time(bpe, family):
    model = model_for(bpe, family).train()
    texts = LINES[:4]
    results = pseudo_perplexity(model, bpe, texts, batch_tokens=20)  # several batches a text
    assert model.training
    assert [result["text"] for result in results] == texts
    model.eval()
    for text, result in zip(texts, results):
        ids = bpe.encode(text).ids
        expected = []
        for position in range(1, len(ids) - 1):
            row = torch.tensor([ids])
            row[0, position] = bpe.mask_token_id
            with torch.no_grad():
                log_probs = model(row).logits[0, position].log_softmax(-1)  # (V,)
            expected.append(log_probs[ids[position]].item())
        values = [token["log_likelihood"] for token in result["tokens"]]
        assert values == pytest.approx(expected, abs=1e-4)
        assert [token["id"] for token in result["tokens"]] == ids[1:-1]


def test_word_l2r_masks_the_later_pieces_of_the_word(bpe):
    ids = bpe.encode("The recorder.").ids
    assert [bpe.id_to_token(i) for i in ids[1:-1]] == ["The", "Ġrecord", "e", "r", "."]
    model = model_for(bpe).eval()
    values, = log_likelihoods(model, bpe, [ids], "word-l2r")
    for position, masked in ((1, [1]), (2, [2, 3, 4]), (3, [3, 4]), (4, [4]), (5, [5])):
        row = torch.tensor([ids])
        row[0, masked] = bpe.mask_token_id
        with torch.no_grad():
            log_probs = model(row).logits[0, position].log_softmax(-1)  # (V,)
        assert values[position] == pytest.approx(log_probs[ids[position]].item(), abs=1e-4)


def test_word_l2r_equals_the_original_where_each_word_is_one_token(bpe):
    model = model_for(bpe)
    sequences = [bpe.encode(text).ids for text in ("The cat eats fish.", "The recorder.")]
    l2r = log_likelihoods(model, bpe, sequences, "word-l2r")
    original = log_likelihoods(model, bpe, sequences, "original")
    np.testing.assert_allclose(l2r[0], original[0], atol=1e-6)
    with pytest.raises(ValueError, match="pll is 'word': choose from word-l2r, original"):
        log_likelihoods(model, bpe, sequences, "word")
    differs = abs(l2r[1] - original[1]) > 0.01
    assert differs.nonzero()[0].tolist() == [2, 3]  # "Ġrecord" and "e", but not the last piece


def test_special_tokens_in_a_text_are_not_predicted(bpe):
    result, = pseudo_perplexity(model_for(bpe), bpe, ["The <mask>."])
    assert [token["token"] for token in result["tokens"]] == ["The", "."]


def test_a_text_without_a_token_to_predict_is_rejected(bpe):
    with pytest.raises(ValueError, match="has no token to predict"):
        pseudo_perplexity(model_for(bpe), bpe, ["The cat", "<mask>"])


def test_a_tiny_likelihood_does_not_overflow():
    assert math.isfinite(perplexity([-1e6]))


@pytest.fixture
def run(bpe, tmp_path):
    model = constant_model(bpe, {"The": 0.5, "Ġcat": 0.125, "Ġdog": 2e-7})
    return str(saved(tmp_path, model, bpe))


def test_the_command_prints_texts_and_tokens(run, capsys):
    main([run, "The cat", "The", "--tokens"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["perplexity", "text"],
        ["probability", "token"],
        ["4.00", "The cat"],
        ["50%", "The"],
        ["12.5%", "·cat"],
        ["2.00", "The"],
        ["50%", "The"],
        ["3.17", "all 2 texts, token by token"],  # (1/2 * 1/8 * 1/2)^(-1/3)
    ]


def test_the_command_reads_standard_input_and_prints_json(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("The cat\n\n"))
    main([run, "--json", "--device", "cpu"])
    result = json.loads(capsys.readouterr().out)
    assert result["pseudo_perplexity"] == pytest.approx(4, rel=1e-5)

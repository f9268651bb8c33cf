"""Pseudo-perplexity: worked out by hand, one row at a time, and from the command line."""
import io
import json
import math

import pytest
import torch
from reading_models import LINES, model_for, saved, tokenizer_of

from minibert import pseudo_perplexity
from minibert.analysis.pseudo_likelihood import main, perplexity
from minibert.model import BertModel


@pytest.fixture(scope="module")
def bpe():
    return tokenizer_of()


def constant(tokenizer, probabilities):
    """A model that answers each mask with these probabilities, whatever the text, the rest spread over the other tokens."""
    model = model_for(tokenizer)
    rest = (1 - sum(probabilities.values())) / (tokenizer.vocab_size - len(probabilities))
    with torch.no_grad():
        model.bert.embeddings.token.weight.zero_()  # tied to the head: the logits are its bias alone
        model.head.bias.fill_(math.log(rest))
        for token, probability in probabilities.items():
            model.head.bias[tokenizer.token_to_id(token)] = math.log(probability)
    return model


def test_a_model_that_knows_nothing_has_the_size_of_its_vocabulary(bpe):
    results = pseudo_perplexity(constant(bpe, {}), bpe, LINES[:3])
    assert [result["pseudo_perplexity"] for result in results] == pytest.approx([bpe.vocab_size] * 3, rel=1e-4)


def test_two_tokens_by_hand(bpe):
    """p(The) = 1/2 and p( cat) = 1/8: their geometric mean is 1/4."""
    result = pseudo_perplexity(constant(bpe, {"The": 0.5, "Ġcat": 0.125}), bpe, ["The cat"])[0]
    assert [token["token"] for token in result["tokens"]] == ["The", "Ġcat"]
    assert result["pseudo_perplexity"] == pytest.approx(4, rel=1e-5)
    assert result["pseudo_log_likelihood"] == pytest.approx(math.log(1 / 16), rel=1e-5)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_each_token_is_masked_alone_whatever_the_batch(bpe, family):
    """The twin: one token, one row, no padding, the dense logits."""
    model, texts = model_for(bpe, family).train(), LINES[:4]
    results = pseudo_perplexity(model, bpe, texts, batch_size=4)  # some batches hold two lengths
    assert model.training and [result["text"] for result in results] == texts
    model.eval()
    for text, result in zip(texts, results):
        ids, expected = bpe.encode(text).ids, []
        for place in range(1, len(ids) - 1):
            row = torch.tensor([ids])
            row[0, place] = bpe.mask_token_id
            with torch.no_grad():
                expected.append(model(row).logits[0, place].log_softmax(-1)[ids[place]].item())
        assert [token["log_likelihood"] for token in result["tokens"]] == pytest.approx(expected, abs=1e-4)
        assert [token["id"] for token in result["tokens"]] == ids[1:-1]
        assert result["pseudo_perplexity"] == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-4)


def test_special_tokens_in_a_text_are_not_guessed(bpe):
    assert [token["token"] for token in pseudo_perplexity(model_for(bpe), bpe, ["The <mask>."])[0]["tokens"]] == ["The", "."]


def test_what_has_no_pseudo_perplexity_is_refused(bpe):
    for text in ("", "<mask>"):
        with pytest.raises(ValueError, match="no token of the text .* can be guessed"):
            pseudo_perplexity(model_for(bpe), bpe, ["The cat", text])
    with pytest.raises(ValueError, match="the model takes max_length 40"):
        pseudo_perplexity(model_for(bpe), bpe, ["cat " * 90])
    with pytest.raises(ValueError, match="no head that fills masks"):
        pseudo_perplexity(BertModel(model_for(bpe).config), bpe, ["The cat"])


def test_a_probability_of_zero_is_a_number_all_the_same():
    assert math.isfinite(perplexity([-1e6]))


def test_the_command(bpe, tmp_path, capsys, monkeypatch):
    run = str(saved(tmp_path, constant(bpe, {"The": 0.5, "Ġcat": 0.125, "Ġdog": 2e-7}), bpe))
    main([run, "The cat", "The", "--tokens"])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == [["perplexity", "text"], ["probability", "token"]]
    assert lines[2:5] == [["4.00", "The cat"], ["0.5", "The"], ["0.12", "·cat"]] and lines[5:7] == [["2.00", "The"], ["0.5", "The"]]
    assert lines[7] == ["3.17", "all 2 texts, token by token"]  # (1/2 * 1/8 * 1/2)^(-1/3) = 32^(1/3)
    main([run, "The dog", "--tokens"])
    assert capsys.readouterr().out.splitlines()[-1].split() == ["2e-07", "·dog"]
    monkeypatch.setattr("sys.stdin", io.StringIO("The cat\n\n"))
    main([run, "--json"])
    assert json.loads(capsys.readouterr().out)["pseudo_perplexity"] == pytest.approx(4, rel=1e-5)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(ValueError, match="there is no text"):
        main([run])

"""Causal language models: who sees whom, what is asked, and the loss by hand."""
import math

import pytest
import torch
from small_models import config, make

from minibert.config import BertConfig
from minibert.generation import causal
from minibert.generation.causal import BertForCausalLM, NextToken

FAMILIES = ("bert", "roberta", "modernbert", "gpt2")


def causal_model(family, **changes):
    return make(family, BertForCausalLM, causal=True, **changes)


def texts(B=2, T=12):
    return torch.randint(5, 60, (B, T), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_no_token_sees_a_later_one_and_each_sees_all_earlier_ones(family):
    model, ids = causal_model(family, local_attention=100), texts()
    logits = model(ids).logits
    for position in range(12):
        changed = ids.clone()
        changed[:, position] = 5 + (ids[:, position] - 4) % 55
        differs = (model(changed).logits - logits).abs().amax(-1) > 1e-5  # (B, T)
        assert differs.tolist() == [[t >= position for t in range(12)]] * 2


@torch.no_grad()
def test_a_local_layer_sees_a_token_and_those_to_its_left_within_the_window():
    """local_attention 6: the token and the two before it, as in transformers' ModernBertDecoder."""
    model, ids = causal_model("modernbert", num_hidden_layers=2), texts(1)
    attention = model.bert.blocks[1].attention  # layer 0 is global
    global_bias, local_bias = model.bert.attention_biases(None, 12, torch.float32)
    weights = attention.attention_weights(model.bert.embeddings(ids), local_bias,
                                          model.bert.rope_cos_sin(12, torch.float32)[1])
    seen = [row.nonzero().flatten().tolist() for row in weights[0, 0]]
    assert seen[:5] == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert seen[11] == [9, 10, 11]
    assert (global_bias == 0).sum() == 12 * 13 / 2


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_padding_at_the_end_changes_no_logits(family):
    model, ids = causal_model(family), texts(1, 9)
    padded = torch.cat((ids, torch.full((1, 3), model.config.pad_token_id)), dim=1)
    mask = torch.tensor([[1] * 9 + [0] * 3])
    torch.testing.assert_close(model(padded, mask).logits[:, :9], model(ids).logits)


@torch.no_grad()
def test_the_loss_by_hand():
    """The vector before a token predicts it; the first token and labels of -100 do not count."""
    model, ids = causal_model("gpt2"), texts(1, 4)
    labels = ids.clone()
    labels[0, 2] = -100
    out = model(ids, labels=labels)
    log_probs = out.logits.log_softmax(-1)[0]
    expected = -(log_probs[0, ids[0, 1]] + log_probs[2, ids[0, 3]]) / 2
    assert out.loss.item() == pytest.approx(expected.item())


@torch.no_grad()
def test_a_model_of_equal_logits_pays_ln_of_the_vocabulary():
    model = causal_model("gpt2")
    model.bert.embeddings.token.weight.zero_()
    assert model(texts(), labels=texts()).loss.item() == pytest.approx(math.log(60))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_chunked_loss_and_its_gradients_equal_those_of_all_logits(family, monkeypatch):
    """23 scored tokens of 24 in chunks of 5; the first token of each row is never scored."""
    monkeypatch.setattr(causal, "CHUNK", 5)
    model, ids = causal_model(family), texts()
    whole = model(ids, labels=ids).loss
    whole.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.train()  # no dropout in these models
    out = model(ids, labels=ids, masked_positions=torch.arange(24))
    out.loss.backward()
    assert out.logits is None
    torch.testing.assert_close(out.loss, whole)
    for parameter, gradient in zip(model.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)
    assert out.labels.tolist()[::12] == [-100, -100]


@torch.no_grad()
def test_an_evaluation_has_the_logits_of_the_scored_tokens():
    model, ids = causal_model("bert"), texts()
    out = model(ids, labels=ids, masked_positions=torch.tensor([3, 14]))
    logits = model(ids).logits
    torch.testing.assert_close(out.logits, torch.stack((logits[0, 2], logits[1, 1])))


def test_a_tokens_label_is_the_token_and_special_tokens_have_none():
    ids = [[1, 7, 0, 8, 2, 0]]
    assert NextToken(10, special_ids=(0, 1, 2))(ids := torch.tensor(ids).numpy())[1].tolist() == [
        [-100, 7, -100, 8, -100, -100]]
    next_token = NextToken(10, special_ids=(0, 1, 2), predicted=(2,))
    unchanged, labels = next_token(ids)
    assert labels.tolist() == [[-100, 7, -100, 8, 2, -100]]
    assert unchanged is ids


def test_the_causal_model_and_the_causal_configuration_need_each_other():
    with pytest.raises(ValueError, match="needs a configuration with causal=True"):
        BertForCausalLM(config("bert"))
    with pytest.raises(ValueError, match="family gpt2 needs objective causal"):
        BertConfig("gpt2")


def test_gpt2_has_its_published_number_of_parameters():
    with torch.device("meta"):
        model = BertForCausalLM(BertConfig("gpt2", vocab_size=50257, max_position_embeddings=1024,
                                           causal=True, activation="gelu_tanh"))
    assert model.num_parameters() == 124_439_808

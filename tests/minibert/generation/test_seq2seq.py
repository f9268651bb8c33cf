"""Encoder-decoders: who sees what, the decoder's input, the loss, and greedy writing."""
import pytest
import torch
from small_models import make

from minibert.config import FAMILIES
from minibert.generation import causal
from minibert.generation.seq2seq import EncoderDecoder, shift_right, write
from minibert.generation.t5 import T5, T5Config

KINDS = (*FAMILIES, "t5")
NO_END = -1  # an id that no token has


def encoder_decoder(kind, cls=EncoderDecoder):
    if kind != "t5":
        return make(kind, cls)
    torch.manual_seed(0)
    return T5(T5Config(vocab_size=60, hidden_size=32, head_size=8, intermediate_size=48,
                       num_hidden_layers=2, num_decoder_layers=3, num_attention_heads=4,
                       initializer_range=0.2, hidden_dropout_prob=0.0)).eval()


def random_ids(B, T, seed=0):
    return torch.randint(5, 60, (B, T), generator=torch.Generator().manual_seed(seed))


def padded(ids, model, num_padding):
    B, T = ids.shape
    padding = torch.full((B, num_padding), model.config.pad_token_id)
    mask = torch.tensor([[1] * T + [0] * num_padding] * B)
    return torch.cat((ids, padding), dim=1), mask


def test_the_decoder_reads_the_labels_one_position_later():
    labels = torch.tensor([[7, 8, 9], [5, -100, -100]])
    assert shift_right(labels, pad_token_id=1).tolist() == [[1, 7, 8], [1, 5, 1]]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_without_its_own_input_the_decoder_reads_the_shifted_labels(kind):
    model, source, labels = encoder_decoder(kind), random_ids(2, 9), random_ids(2, 6, 1)
    shifted = shift_right(labels, model.config.pad_token_id)
    expected = model(source, decoder_input_ids=shifted).logits
    torch.testing.assert_close(model(source, labels=labels).logits, expected)
    with pytest.raises(ValueError, match="needs decoder_input_ids, or labels"):
        model(source)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_sees_earlier_tokens_and_all_of_the_source(kind):
    model, source, target = encoder_decoder(kind), random_ids(1, 9), random_ids(1, 6, 1)
    logits = model(source, decoder_input_ids=target).logits
    for position in range(6):
        changed = target.clone()
        changed[0, position] = 5 + (target[0, position] - 4) % 55
        differs = (model(source, decoder_input_ids=changed).logits - logits).abs().amax(-1) > 1e-5
        assert differs[0].tolist() == [t >= position for t in range(6)]
    for position in range(9):
        changed = source.clone()
        changed[0, position] = 5 + (source[0, position] - 4) % 55
        differs = (model(changed, decoder_input_ids=target).logits - logits).abs().amax(-1) > 1e-5
        assert differs.all()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_the_source_is_hidden(kind):
    model, source, target = encoder_decoder(kind), random_ids(2, 9), random_ids(2, 6, 1)
    expected = model(source, decoder_input_ids=target).logits
    longer, mask = padded(source, model, 4)
    logits = model(longer, mask, decoder_input_ids=target).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert (model(longer, decoder_input_ids=target).logits - expected).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_by_hand(kind):
    model, source = encoder_decoder(kind), random_ids(1, 9)
    labels = torch.tensor([[7, 8, -100]])
    out = model(source, labels=labels)
    log_probs = out.logits.log_softmax(-1)[0]
    assert out.loss.item() == pytest.approx(-(log_probs[0, 7] + log_probs[1, 8]).item() / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_chunked_loss_and_its_gradients_equal_those_of_all_logits(kind, monkeypatch):
    monkeypatch.setattr(causal, "CHUNK", 3)
    model, source, labels = encoder_decoder(kind), random_ids(2, 9), random_ids(2, 6, 1)
    labels[1, 4:] = -100
    whole = model(source, labels=labels).loss
    whole.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.train()
    positions = (labels.flatten() != -100).nonzero().flatten()
    out = model(source, labels=labels, masked_positions=positions)
    out.loss.backward()
    torch.testing.assert_close(out.loss, whole)
    for parameter, gradient in zip(model.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_writing_takes_the_argmax_of_the_logits_for_what_is_written(kind):
    model, source = encoder_decoder(kind), random_ids(2, 9)
    written = write(model, source, 8, NO_END)
    logits = model(source, labels=torch.tensor(written)).logits
    assert written == logits.argmax(-1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_writing_ends_with_the_end_token_and_avoids_excluded_ids(kind):
    model, source = encoder_decoder(kind), random_ids(2, 9)
    whole = write(model, source, 8, NO_END)
    end = whole[0][3]
    expected = [ids[:ids.index(end)] if end in ids else ids for ids in whole]
    assert write(model, source, 8, end) == expected
    excluded = set(range(60)) - {9, 11}
    for ids in write(model, source, 8, NO_END, excluded_ids=excluded):
        assert set(ids) <= {9, 11}


def test_writing_leaves_the_training_mode_alone():
    model = encoder_decoder("bert").train()
    write(model, random_ids(1, 5), 2, NO_END)
    assert model.training


def test_an_encoder_that_sees_only_earlier_tokens_is_refused():
    with pytest.raises(ValueError, match="the encoder of an encoder-decoder sees all tokens"):
        make("bert", EncoderDecoder, causal=True)

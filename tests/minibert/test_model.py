"""The model, by its behavior: padding, positions, losses, initialization, learning."""
import math
from dataclasses import replace

import pytest
import torch
from small_models import PAD, batch, config, make
from torch.nn import functional as F

from minibert.batches import find_masked_positions
from minibert.checks import check_tokenizer
from minibert.config import FAMILIES, BertConfig
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM, BertModel, roberta_positions
from minibert.presets import PRESETS


def gradients(loss, model):
    names = [name for name, _ in model.named_parameters()]
    grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    return dict(zip(names, grads))


def assert_same_gradients(model, loss, other_loss, atol):
    expected = gradients(other_loss, model)
    for name, grad in gradients(loss, model).items():
        torch.testing.assert_close(grad, expected[name], atol=atol, rtol=0, msg=name)



# Sizes


@pytest.mark.parametrize("preset, cls, count", [
    ("quickstart", BertForMaskedLM, 1_729_792), ("kant", BertForMaskedLM, 83_504_416),
    ("wikipedia", BertForMaskedLM, 12_254_136), ("wikipedia", BertForPreTraining, 12_320_442),
    ("amazon", BertForMaskedLM, 101_427_493), ("roberta-base", BertForMaskedLM, 124_697_433),
    ("bert-base", BertForMaskedLM, 109_514_298), ("bert-base", BertForPreTraining, 110_106_428)])
def test_a_preset_has_the_number_of_parameters_of_its_source(preset, cls, count):
    with torch.device("meta"):
        assert cls(PRESETS[preset][0]).num_parameters() == count


def test_kantaibert_has_the_published_count_with_a_pooler():
    with torch.device("meta"):
        kant, _ = PRESETS["kant"]
        with_pooler = BertModel(kant, pooler=True).num_parameters()
        pooler = with_pooler - BertModel(kant).num_parameters()
        assert BertForMaskedLM(kant).num_parameters() + pooler == 84_095_008


# Positions, segments, padding


def test_roberta_positions_skip_padding_inside_a_sequence():
    ids = torch.tensor([[0, 1, 8, 1, 2, 1]])  # 1 is padding
    assert roberta_positions(ids, 1).tolist() == [[2, 1, 3, 1, 4, 1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_word_order_matters(family):
    model = make(family, BertModel)
    one, other = model(torch.tensor([[7, 8, 9, 10], [7, 10, 9, 8]]))[:, 0]
    assert (one - other).abs().max() > 1e-3


def test_segments_matter_and_default_to_the_first():
    model, (ids, mask, _) = make("bert", BertModel), batch("bert")
    types = torch.zeros_like(ids)
    torch.testing.assert_close(model(ids, mask, types), model(ids, mask))
    types[:, 2:] = 1
    assert (model(ids, mask, types) - model(ids, mask)).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_no_token(family):
    model, (ids, mask, _) = make(family), batch(family)
    other = ids.clone()
    if family != "roberta":  # which recognizes padding by its id
        other[mask == 0] = torch.randint(5, 60, (int((mask == 0).sum()),))
    logits, other_logits = model(ids, mask).logits, model(other, mask).logits
    torch.testing.assert_close(logits[mask == 1], other_logits[mask == 1], atol=1e-5, rtol=1e-5)
    unpadded = model(ids[2:, :4]).logits
    torch.testing.assert_close(logits[2:, :4], unpadded, atol=1e-5, rtol=1e-5)
    without_mask = model(ids).logits
    assert (logits[mask == 1] - without_mask[mask == 1]).abs().max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_of_only_padding_gives_no_nan(family, dtype):
    model, (ids, mask, labels) = make(family), batch(family)
    mask[1] = 0
    ids[1] = PAD[family]
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = model(ids, mask, labels=labels)
    out.loss.backward()
    assert out.logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# Heads and losses


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_on_masked_tokens_equals_the_head_on_all_tokens(family):
    model, (ids, mask, labels) = make(family).double(), batch(family)
    out = model(ids, mask, labels=labels)
    all_logits = model(ids, mask).logits  # (B, T, V)
    loss = F.cross_entropy(all_logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    torch.testing.assert_close(out.logits, all_logits[labels != -100], atol=1e-10, rtol=0)
    assert out.labels.tolist() == [9, 16, 8, 10]  # in reading order
    assert abs(out.loss - loss) < 1e-6
    assert_same_gradients(model, out.loss, loss, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_precomputed_masked_positions_change_nothing(family):
    """They are filled up to eight, with labels of -100."""
    model, (ids, mask, labels) = make(family).double(), batch(family)
    found = model(ids, mask, labels=labels)
    given = model(ids, mask, labels=labels, masked_positions=find_masked_positions(labels))
    assert given.logits.shape == (8, 60)
    assert given.labels.tolist() == [*found.labels.tolist(), *[-100] * 4]
    torch.testing.assert_close(given.loss, found.loss, atol=1e-12, rtol=0)
    assert_same_gradients(model, given.loss, found.loss, atol=1e-12)


def test_without_labels_logits_are_those_at_the_positions():
    model, (ids, mask, _) = make("roberta").double(), batch("roberta")
    logits = model(ids, mask, masked_positions=torch.tensor([20, 3])).logits
    torch.testing.assert_close(logits, model(ids, mask).logits.flatten(0, 1)[[20, 3]])


def test_the_mlp_of_the_last_block_runs_only_on_masked_and_first_tokens():
    model, (ids, mask, labels) = make("bert", BertForPreTraining).double(), batch("bert")
    order, shapes = torch.tensor([0, 1, 1]), []
    handle = model.bert.blocks[-1].mlp.register_forward_hook(
        lambda module, inputs, output: shapes.append(tuple(output.shape)))
    out = model(ids, mask, labels=labels, next_sentence_label=order)
    handle.remove()
    assert shapes == [(4 + 3, 32)]  # four masked tokens, three sequences
    full = model(ids, mask)
    loss = F.cross_entropy(full.logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
    loss = loss + F.cross_entropy(full.nsp_logits, order)
    torch.testing.assert_close(out.nsp_logits, full.nsp_logits, atol=1e-10, rtol=0)
    assert_same_gradients(model, out.loss, loss, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_gives_the_same_gradients(family):
    dropout = dict(hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    model, (ids, mask, labels) = make(family, **dropout).train(), batch(family)
    grads, calls = [], []
    model.bert.blocks[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    for model.bert.gradient_checkpointing in (False, True):
        torch.manual_seed(3)
        loss = model(ids, mask, labels=labels).loss
        grads.append(torch.autograd.grad(loss, list(model.parameters())))
    assert len(calls) == 1 + 2
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_without_masked_tokens_has_zero_loss_and_gradients(family):
    model, (ids, mask, labels) = make(family), batch(family)
    out = model(ids, mask, labels=torch.full_like(labels, -100))
    out.loss.backward()
    assert out.loss.item() == 0 and out.logits.shape == (0, 60)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_the_decoder_is_the_token_embeddings():
    model, (ids, _, _) = make("bert"), batch("bert")
    ids = ids.clamp(max=50)
    before = model(ids).logits
    with torch.no_grad():
        model.bert.embeddings.token.weight[59] += torch.arange(32) / 32  # is not in the batch
        model.head.bias[58] += 1
    change = (model(ids).logits - before).abs().amax(dim=(0, 1))
    assert change[59] > 1e-2 and abs(change[58] - 1) < 1e-5 and not change[:58].any()


def test_the_loss_of_pre_training_is_the_sum_of_both():
    model, (ids, mask, labels) = make("bert", BertForPreTraining), batch("bert")
    order = torch.tensor([0, 1, 1])
    out = model(ids, mask, labels=labels, next_sentence_label=order)
    torch.testing.assert_close(out.nsp_loss, F.cross_entropy(out.nsp_logits, order))
    torch.testing.assert_close(out.loss, out.mlm_loss + out.nsp_loss)
    assert out.mlm_loss > 0
    assert model(ids, mask, next_sentence_label=order).loss == out.nsp_loss
    assert model(ids, mask).loss is None


# Initialization and learning


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_near_ln_v(family):
    torch.manual_seed(0)
    sizes = dict(vocab_size=2000, hidden_size=256, max_position_embeddings=66)
    model = BertForMaskedLM(config(family, **sizes))
    ids = torch.randint(5, 2000, (8, 64))
    with torch.no_grad():
        assert abs(model(ids, labels=ids).loss - math.log(2000)) < 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_initialized_as_in_the_sources(family):
    torch.manual_seed(0)
    model = BertForMaskedLM(config(family, vocab_size=500, hidden_size=128, num_hidden_layers=2))
    modern = family == "modernbert"
    residual = ("attention.out_proj.weight", "mlp.down_proj.weight", "head.dense.weight")
    for name, p in model.named_parameters():
        if p.dim() == 1:
            assert (p == (1 if "norm.weight" in name else 0)).all(), name
            continue
        # A normal that is cut off at two standard deviations has 0.88 of its spread.
        expected = 0.02 * (0.8796 if modern else 1)
        if modern and name.endswith(residual):
            expected /= math.sqrt(2 * 2)
        if p.numel() > 4000:
            assert p.std().item() == pytest.approx(expected, rel=0.05), name
        if modern:
            assert p.abs().max() <= 0.04
    padding = model.bert.embeddings.token.weight[PAD[family]]
    assert bool(padding.any()) == modern


@pytest.mark.parametrize("family", FAMILIES)
def test_two_layers_overfit_32_sentences(family):
    torch.manual_seed(0)
    sizes = dict(vocab_size=200, hidden_size=64, num_hidden_layers=2, max_position_embeddings=14)
    model = BertForMaskedLM(config(family, **sizes))
    ids = torch.randint(6, 200, (32, 12))
    mask = torch.ones_like(ids)
    mask[::2, 9:] = 0  # as in real batches, some are shorter
    ids[mask == 0] = PAD[family]
    labels = torch.where((torch.rand(ids.shape) < 0.2) & (mask == 1), ids, -100)
    masked_ids = torch.where(labels != -100, 5, ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(100):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1, (step + 1) / 10)
        out = model(masked_ids, mask, labels=labels)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        if out.loss < 0.1:
            return
    pytest.fail(f"after 100 steps the loss is still {out.loss.item():.2f}")


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_acts_only_in_training(family):
    dropout = dict(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
    model, (ids, mask, _) = make(family, **dropout), batch(family)
    assert torch.equal(model(ids, mask).logits, model(ids, mask).logits)
    model.train()
    assert not torch.equal(model(ids, mask).logits, model(ids, mask).logits)


@pytest.mark.parametrize("field, value", [
    ("local_attention", 2), ("global_attn_every_n_layers", 2), ("global_rope_theta", 100.0),
    ("local_rope_theta", 100.0), ("layer_norm_eps", 0.1)])
def test_each_config_field_changes_the_model(field, value):
    ids, _, _ = batch("modernbert")
    model = make("modernbert", BertModel)
    other = BertModel(replace(model.config, **{field: value})).eval()
    other.load_state_dict(model.state_dict())
    assert (other(ids) - model(ids)).abs().max() > 1e-4


# Errors


def test_a_sequence_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="25 tokens.*max_length 24.*max_position_embeddings 24"):
        make("modernbert")(torch.full((1, 25), 5))
    with pytest.raises(ValueError, match="23 tokens.*max_length 22 .*24 - pad_token_id 1 - 1"):
        make("roberta")(torch.full((1, 23), 5))
    assert make("roberta")(torch.full((1, 22), 5)).logits.shape == (1, 22, 60)


@pytest.mark.parametrize("arguments, message", [
    ({"input_ids": [[5, 60]]}, "id 60 is outside the vocabulary of 60"),
    ({"input_ids": [[5, -1]]}, "id -1 is outside"),
    ({"input_ids": [5, 6]}, r"shape \(2,\)"),
    ({"input_ids": [[5, 6]], "attention_mask": [[1, 1, 1]]}, r"attention_mask has the shape"),
    ({"input_ids": [[5, 6]], "token_type_ids": [[0, 2]]}, "token type 2"),
    ({"input_ids": [[5, 6]], "labels": [[5]]}, r"labels has the shape \(1, 1\)"),
    ({"input_ids": [[5, 6]], "labels": [[-100, 60]]}, "label 60"),
])
def test_bad_batches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make("bert")(**{name: torch.tensor(value) for name, value in arguments.items()})


def test_a_tokenizer_that_does_not_fit_is_refused():
    class Tokenizer:
        vocab_size, pad_token_id = 8192, 1

    with pytest.raises(ValueError, match="tokenizer has 8,192 ids, model was built for 8,000"):
        check_tokenizer(BertConfig(vocab_size=8000, pad_token_id=1), Tokenizer)
    with pytest.raises(ValueError, match="pads with id 1, model with 0"):
        check_tokenizer(BertConfig(vocab_size=8192, pad_token_id=0), Tokenizer)
    check_tokenizer(BertConfig(vocab_size=8192, pad_token_id=1), Tokenizer)


def test_pre_training_needs_two_segments():
    with pytest.raises(ValueError, match="this roberta has 1"):
        BertForPreTraining(config("roberta", type_vocab_size=1))

"""Attention, masks and rotary positions, against numbers worked by hand and slow twins."""
import math

import pytest
import torch
from small_models import batch, config, make
from torch import nn

from minibert import attention
from minibert.attention import (
    apply_rotary,
    attention_biases,
    attention_by_hand,
    attention_fused,
    rope_table,
)
from minibert.config import FAMILIES
from minibert.model import BertModel


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_hand_equals_the_fused_kernel_with_its_gradients(masked):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 4, requires_grad=True) for _ in range(3))
    mask, sees_something = None, torch.ones(2, 1, 7, 1)
    if masked:
        lowest = torch.finfo(torch.float32).min
        mask = torch.zeros(2, 1, 7, 7).masked_fill(torch.rand(2, 1, 7, 7) < 0.4, lowest)
        mask[0, 0, 2] = lowest  # this query sees no key, and its result is unused
        sees_something[0, 0, 2] = 0
    by_hand = attention_by_hand(q, k, v, mask)
    fused = attention_fused(q, k, v, mask)
    torch.testing.assert_close(by_hand * sees_something, fused * sees_something, atol=1e-5, rtol=0)
    weights = torch.arange(4) * sees_something
    grads = [torch.autograd.grad((y ** 2 * weights).sum(), (q, k, v)) for y in (by_hand, fused)]
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_attention_of_two_tokens_worked_by_hand():
    """Scores of 0 and ln 3 are weights of 1/4 and 3/4; the values 0 and 8 then give 6."""
    q, k, v = (torch.tensor(values).view(1, 1, -1, 1)
               for values in ([1.0], [0.0, math.log(3)], [0.0, 8.0]))
    assert attention_by_hand(q, k, v).item() == pytest.approx(6.0)


def test_attention_dropout_keeps_the_mean():
    torch.manual_seed(0)
    q = torch.randn(1, 1, 4, 2)
    k = torch.randn(1, 1, 64, 2)
    v = torch.ones(1, 1, 64, 1)
    dropped = torch.stack([attention_by_hand(q, k, v, dropout=0.5) for _ in range(300)])
    assert dropped.std() > 0.05 and abs(dropped.mean() - 1) < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_gives_the_same_logits_with_the_fused_kernel(family, monkeypatch):
    model, (ids, mask, labels) = make(family), batch(family)
    by_hand = model(ids, mask, labels=labels).logits
    monkeypatch.setattr(attention, "attention_by_hand", attention_fused)
    fused = model(ids, mask, labels=labels).logits
    torch.testing.assert_close(fused, by_hand, atol=1e-4, rtol=1e-4)


def test_there_is_no_mask_if_nothing_is_hidden():
    modern = config("modernbert", local_attention=6)  # three tokens to each side
    assert attention_biases(config("bert"), None, 24, torch.float32, "cpu") == (None, None)
    assert attention_biases(modern, None, 4, torch.float32, "cpu") == (None, None)
    global_bias, local_bias = attention_biases(modern, None, 5, torch.float32, "cpu")
    assert global_bias is None and (local_bias < 0).sum() == 2  # the two corners


def test_the_mask_of_a_local_layer_hides_far_tokens_and_padding():
    attention_mask = torch.tensor([[1, 1, 1, 1, 0]])
    modern = config("modernbert", local_attention=2)
    biases = attention_biases(modern, attention_mask, 5, torch.bfloat16, "cpu")
    global_bias, local_bias = biases
    assert (global_bias == 0).int().tolist() == [[[[1, 1, 1, 1, 0]]]]
    assert (local_bias[0, 0] == 0).int().tolist() == [
        [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]]
    assert local_bias.dtype == torch.bfloat16 and local_bias.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_masked_score_stays_finite(dtype):
    """In fp16 the smallest number plus a score of -100 would be -inf."""
    mask, _ = attention_biases(config("bert"), torch.tensor([[1, 0, 0]]), 3, dtype, "cpu")
    scores = mask + torch.tensor([-100.0, 0, 0], dtype=dtype)
    assert scores.softmax(dim=-1).flatten().tolist() == [1, 0, 0]
    mask, _ = attention_biases(config("bert"), torch.tensor([[0, 0, 0]]), 3, dtype, "cpu")
    assert (mask - 100).softmax(dim=-1).isfinite().all()


def test_a_local_layer_does_not_see_a_far_token():
    assert [attention.is_local(config("modernbert"), i) for i in range(5)] == [0, 1, 1, 0, 1]
    assert not any(attention.is_local(config("bert"), i) for i in range(5))
    model = make("modernbert", BertModel, local_attention=2, num_hidden_layers=2)
    model.blocks[0] = nn.Identity()  # only the local layer remains
    model.blocks[0].forward = lambda x, *_: x
    ids = torch.full((1, 10), 5)
    changed = ids.clone()
    changed[0, 9] = 6
    difference = (model(ids) - model(changed))[0].abs().amax(dim=1) > 1e-6
    assert difference.tolist() == [False] * 8 + [True] * 2


def test_rotation_keeps_lengths_and_scores_depend_only_on_the_distance():
    torch.manual_seed(0)
    cos, sin = rope_table(10_000.0, config("modernbert", max_position_embeddings=50))
    q, k = (torch.randn(1, 8).expand(50, 8) for _ in range(2))  # the same at every position
    rotated_q, rotated_k = apply_rotary(q, cos, sin), apply_rotary(k, cos, sin)
    torch.testing.assert_close(rotated_q.norm(dim=1), q.norm(dim=1))
    scores = rotated_q @ rotated_k.T  # (50, 50)
    for distance in (-7, 0, 3):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert (scores[0, 1:] - scores[0, 0]).abs().max() > 0.5


def test_rope_tables_are_not_saved_and_survive_the_meta_device():
    model = make("modernbert", BertModel)
    assert not any("rope" in name for name in model.state_dict())
    with torch.device("meta"):
        other = BertModel(model.config)
    other.load_state_dict(model.state_dict(), assign=True)
    ids, _, _ = batch("modernbert")
    assert torch.equal(other(ids), model(ids))

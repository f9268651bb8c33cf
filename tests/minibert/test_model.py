"""The model, by its behaviour: each piece against a number worked by hand or its slow twin, then the whole learns."""
import doctest
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minibert import attention
from minibert import model as module
from minibert.attention import apply_rotary, attention_by_hand, attention_fused, attention_masks, rope_table
from minibert.batches import masked_positions
from minibert.checks import check_tokenizer
from minibert.config import FAMILIES, BertConfig
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel, roberta_positions
from minibert.presets import PRESETS

PAD = {"bert": 0, "roberta": 1, "modernbert": 0}


def config(family, **changes):
    sizes = dict(vocab_size=60, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48, max_position_embeddings=24,
                 hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, local_attention=6, pad_token_id=PAD[family])
    return BertConfig(family=family, **{**sizes, **changes})


def make(family, cls=BertForMaskedLM, **changes):
    """A model whose weights are large enough for mistakes to show."""
    torch.manual_seed(0)
    return cls(config(family, initializer_range=0.2, **changes)).eval()


def batch(family, B=3, T=16):
    """Rows of T, T-6 and 4 tokens, the rest padding; the labels of four tokens."""
    torch.manual_seed(1)
    ids, mask = torch.randint(5, 60, (B, T)), torch.ones(B, T, dtype=torch.long)
    mask[1, T - 6:], mask[2, 4:] = 0, 0
    ids[mask == 0] = PAD[family]
    labels = torch.full((B, T), -100)
    for row, place in ((0, 2), (0, 9), (1, 1), (2, 3)):
        labels[row, place] = 7 + place
    return ids, mask, labels


def test_the_examples_in_the_docstrings_are_true():
    failed, attempted = doctest.testmod(module, extraglobs={"BertConfig": BertConfig})
    assert failed == 0 and attempted > 5


# Sizes


@pytest.mark.parametrize("preset, count", [("quickstart", 1_729_792), ("kant", 83_504_416), ("wikipedia", 12_254_136), ("amazon", 101_427_493),
                                           ("bert-base", 109_514_298), ("roberta-base", 124_697_433)])
def test_a_preset_has_the_parameters_its_source_has(preset, count):
    with torch.device("meta"):
        assert BertForMaskedLM(PRESETS[preset][0]).num_parameters() == count


@pytest.mark.parametrize("preset, count", [("wikipedia", 12_320_442), ("bert-base", 110_106_428)])
def test_pre_training_adds_the_pooler_and_two_rows(preset, count):
    with torch.device("meta"):
        assert BertForPreTraining(PRESETS[preset][0]).num_parameters() == count


def test_kant_with_the_pooler_of_older_versions_has_84_095_008_parameters():
    with torch.device("meta"):
        kant = PRESETS["kant"][0]
        pooler = BertModel(kant, pooler=True).num_parameters() - BertModel(kant).num_parameters()
        assert BertForMaskedLM(kant).num_parameters() + pooler == 84_095_008


# Attention and its masks


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_hand_equals_the_fused_call_with_its_gradients(masked):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 4, requires_grad=True) for _ in range(3))
    mask = None
    if masked:
        mask = torch.zeros(2, 1, 7, 7).masked_fill(torch.rand(2, 1, 7, 7) < 0.4, torch.finfo(torch.float32).min)
        mask[0, 0, 2] = torch.finfo(torch.float32).min  # a query that may see nothing at all: a mean of everything, used by nobody
    results = []
    for attend in (attention_by_hand, attention_fused):
        y = attend(q, k, v, mask)
        used = y * torch.arange(4) if not masked else torch.cat((y[0, :, :2].flatten(), y[0, :, 3:].flatten(), y[1].flatten())) ** 2
        results.append((y, *torch.autograd.grad(used.sum(), (q, k, v))))
    for by_hand, fused in zip(*results):
        torch.testing.assert_close(by_hand, fused, atol=1e-5, rtol=1e-5)


def test_attention_of_two_tokens_worked_by_hand():
    """One head of size 1: scores q*k are 0 and ln 3, so the weights are 1/4 and 3/4, and the values 0 and 8 give 6."""
    q, k, v = (torch.tensor(values).view(1, 1, -1, 1) for values in ([1.0], [0.0, math.log(3)], [0.0, 8.0]))
    torch.testing.assert_close(attention_by_hand(q, k, v).item(), 6.0)


def test_attention_dropout_keeps_the_mean_and_is_off_without_it():
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 1, 4, 2), torch.randn(1, 1, 64, 2), torch.ones(1, 1, 64, 1)
    assert attention_by_hand(q, k, v).allclose(torch.ones(1, 1, 4, 1))
    dropped = torch.stack([attention_by_hand(q, k, v, dropout=0.5) for _ in range(300)])
    assert dropped.std() > 0.05 and abs(dropped.mean() - 1) < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fused_path_gives_the_same_model(family, monkeypatch):
    model, (ids, mask, labels) = make(family), batch(family)
    by_hand = model(ids, mask, labels=labels)
    monkeypatch.setattr(attention, "attention_by_hand", attention_fused)
    fused = model(ids, mask, labels=labels)
    torch.testing.assert_close(fused.logits, by_hand.logits, atol=1e-4, rtol=1e-4)


def test_there_is_no_mask_where_there_is_nothing_to_hide():
    bert, modern = config("bert"), config("modernbert", local_attention=6)  # sees 3 to each side
    assert attention_masks(bert, None, 24, torch.float32, "cpu") == (None, None)
    assert attention_masks(modern, None, 4, torch.float32, "cpu") == (None, None)
    everywhere, local = attention_masks(modern, None, 5, torch.float32, "cpu")
    assert everywhere is None and (local < 0).sum() == 2  # the two corners


def test_the_local_window_by_hand():
    """local_attention 4 reaches two tokens to each side."""
    _, local = attention_masks(config("modernbert", local_attention=4), None, 5, torch.float32, "cpu")
    assert (local == 0).int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 1, 1, 1]]


def test_padding_and_window_hide_together():
    attention_mask = torch.tensor([[1, 1, 1, 1, 0]])
    everywhere, local = attention_masks(config("modernbert", local_attention=2), attention_mask, 5, torch.bfloat16, "cpu")
    assert (everywhere == 0).int().tolist() == [[[[1, 1, 1, 1, 0]]]]
    assert (local[0, 0] == 0).int().tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]]
    assert local.dtype == torch.bfloat16 and local.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_hidden_key_stays_finite_whatever_its_score(dtype):
    """In fp16 the smallest number and a score of -100 are together -inf, and a row of nothing else 0/0."""
    mask, _ = attention_masks(config("bert"), torch.zeros(1, 3, dtype=torch.long), 3, dtype, "cpu")
    assert (mask - 100).isfinite().all() and (mask[..., :1] - 100).softmax(dim=-1).isfinite().all()
    visible, _ = attention_masks(config("bert"), torch.tensor([[1, 0, 0]]), 3, dtype, "cpu")
    assert (visible - torch.tensor([100.0, 0, 0], dtype=dtype)).softmax(dim=-1).flatten().tolist() == [1, 0, 0]


def test_layers_alternate_and_a_far_token_is_seen_by_global_layers_alone():
    def change_at_0_by_token_9(**changes):
        model = make("modernbert", BertModel, num_hidden_layers=1, **changes)
        ids = torch.full((1, 10), 5)
        other = ids.clone()
        other[0, 9] = 6
        return (model(ids) - model(other))[0, 0].abs().max().item()

    assert change_at_0_by_token_9() > 1e-3  # layer 0 is global
    assert [attention.is_local(config("modernbert"), layer) for layer in range(5)] == [False, True, True, False, True]
    assert not any(attention.is_local(config("bert"), layer) for layer in range(5))
    model = make("modernbert", BertModel, local_attention=2, num_hidden_layers=2)
    model.blocks[0] = nn.Identity()  # leaves the local layer alone
    model.blocks[0].forward = lambda x, *_: x
    ids = torch.full((1, 10), 5)
    other = ids.clone()
    other[0, 9] = 6
    changed = (model(ids) - model(other))[0].abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [False] * 8 + [True] * 2


# Positions


def test_roberta_positions_by_hand():
    ids = torch.tensor([[0, 8, 9, 2, 1, 1], [0, 1, 8, 1, 2, 1]])  # 1 is padding, in the second row also inside
    assert roberta_positions(ids, 1).tolist() == [[2, 3, 4, 5, 1, 1], [2, 1, 3, 1, 4, 1]]


def test_rotation_by_hand():
    """A quarter turn takes (1, 0) to (0, 1); pairs are (x[i], x[i + half])."""
    quarter = torch.full((1, 2), math.pi / 2)
    turned = apply_rotary(torch.tensor([[1.0, 0.0, 0.0, 2.0]]), quarter.cos(), quarter.sin())
    torch.testing.assert_close(turned, torch.tensor([[0.0, -2.0, 1.0, 0.0]]), atol=1e-6, rtol=0)


def test_rotation_keeps_length_and_makes_scores_depend_on_distance_alone():
    torch.manual_seed(0)
    cos, sin = rope_table(10_000.0, config("modernbert", max_position_embeddings=50))
    q, k = (torch.randn(1, 8).expand(50, 8) for _ in range(2))  # the same vectors at every position
    turned_q, turned_k = apply_rotary(q, cos, sin), apply_rotary(k, cos, sin)
    torch.testing.assert_close(turned_q.norm(dim=1), q.norm(dim=1))
    scores = turned_q @ turned_k.T  # (50, 50)
    for distance in (-7, 0, 3):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert (scores[0, 1:] - scores[0, 0]).abs().max() > 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_word_order_matters(family):
    model = make(family, BertModel)
    a, b = model(torch.tensor([[7, 8, 9, 10]]))[0, 0], model(torch.tensor([[7, 10, 9, 8]]))[0, 0]
    assert (a - b).abs().max() > 1e-3


def test_segments_matter_and_none_means_all_first():
    model, (ids, mask, _) = make("bert", BertModel), batch("bert")
    types = torch.zeros_like(ids)
    torch.testing.assert_close(model(ids, mask, types), model(ids, mask))
    types[:, 2:] = 1
    assert (model(ids, mask, types) - model(ids, mask)).abs().max() > 1e-3


def test_tables_of_rotation_are_not_saved_and_survive_the_meta_device():
    model = make("modernbert", BertModel)
    assert not any("rope" in name for name in model.state_dict())
    with torch.device("meta"):
        other = BertModel(model.config)
    other.load_state_dict(model.state_dict(), assign=True)
    ids = batch("modernbert")[0]
    assert torch.equal(other(ids), model(ids))


# Padding


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lies_under_padding_does_not_change_a_real_position(family):
    model, (ids, mask, _) = make(family), batch(family)
    other = ids.clone()
    if family != "roberta":  # there, padding is known by its id, which counts the positions
        other[mask == 0] = torch.randint(5, 60, (int((mask == 0).sum()),))
    shorter = model(ids[2:, :4]).logits  # the last row without its padding
    a, b = model(ids, mask).logits, model(other, mask).logits
    torch.testing.assert_close(a[mask == 1], b[mask == 1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(a[2:, :4], shorter, atol=1e-5, rtol=1e-5)
    assert (a[mask == 1] - model(ids).logits[mask == 1]).abs().max() > 1e-4  # without the mask it would


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_that_is_all_padding_gives_no_nan(family, dtype):
    model, (ids, mask, labels) = make(family), batch(family)
    mask[1], ids[1] = 0, PAD[family]
    with torch.autocast("cpu", dtype if dtype != torch.float32 else torch.bfloat16, enabled=dtype != torch.float32):
        out = model(ids, mask, labels=labels)
    out.loss.backward()
    assert out.logits.isfinite().all() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# Heads and losses


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_on_masked_positions_equals_the_dense_path(family):
    model, (ids, mask, labels) = make(family).double(), batch(family)
    names, weights = zip(*model.named_parameters())
    out = model(ids, mask, labels=labels)
    dense = model(ids, mask).logits  # (B, T, V)
    loss = F.cross_entropy(dense.flatten(0, 1), labels.flatten(), ignore_index=-100)
    torch.testing.assert_close(out.logits, dense[labels != -100], atol=1e-10, rtol=0)
    assert out.labels.tolist() == [9, 16, 8, 10]  # reading order
    assert abs(out.loss - loss) < 1e-6
    for name, a, b in zip(names, torch.autograd.grad(out.loss, weights, retain_graph=True), torch.autograd.grad(loss, weights)):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_positions_that_are_given_change_nothing(family):
    """Found before, and filled up to eight: the same loss and gradients as found on the way."""
    model, (ids, mask, labels) = make(family).double(), batch(family)
    one, two = model(ids, mask, labels=labels), model(ids, mask, labels=labels, masked_positions=masked_positions(labels))
    assert two.logits.shape == (8, 60) and two.labels.tolist() == [*one.labels.tolist(), *[-100] * 4]
    torch.testing.assert_close(two.loss, one.loss, atol=1e-12, rtol=0)
    for a, b in zip(torch.autograd.grad(one.loss, model.parameters()), torch.autograd.grad(two.loss, model.parameters())):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_computed_twice_give_the_same_gradients_with_dropout_too(family):
    model, (ids, mask, labels) = make(family, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2).train(), batch(family)
    gradients, computed = [], []
    model.bert.blocks[0].mlp.register_forward_pre_hook(lambda *_: computed.append(1))
    for model.bert.gradient_checkpointing in (False, True):
        torch.manual_seed(3)
        gradients.append(torch.autograd.grad(model(ids, mask, labels=labels).loss, model.parameters()))
    assert len(computed) == 1 + 2
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_masked_is_a_loss_of_zero_with_zero_gradients(family):
    model, (ids, mask, labels) = make(family), batch(family)
    out = model(ids, mask, labels=torch.full_like(labels, -100))
    out.loss.backward()
    assert out.loss.item() == 0 and out.logits.shape == (0, 60)
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_the_decoder_is_the_word_embedding():
    model, (ids, _, _) = make("bert"), batch("bert")
    ids = ids.clamp(max=50)
    before = model(ids).logits
    with torch.no_grad():
        model.bert.embeddings.token.weight[59] += torch.arange(32) / 32  # a word that does not occur
        model.head.bias[58] += 1
    change = (model(ids).logits - before).abs().amax(dim=(0, 1))
    assert change[59] > 1e-2 and abs(change[58] - 1) < 1e-5 and not change[:58].any()


def test_next_sentence_loss_is_added_and_given_apart():
    model, (ids, mask, labels) = make("bert", BertForPreTraining), batch("bert")
    order = torch.tensor([0, 1, 1])
    out = model(ids, mask, labels=labels, next_sentence_label=order)
    assert out.nsp_logits.shape == (3, 2)
    torch.testing.assert_close(out.nsp_loss, F.cross_entropy(out.nsp_logits, order))
    torch.testing.assert_close(out.loss, out.mlm_loss + out.nsp_loss)
    assert out.mlm_loss > 0 and model(ids, mask, next_sentence_label=order).loss == out.nsp_loss
    plain = model(ids, mask)
    assert plain.loss is None and plain.logits.shape == (3, 16, 60)
    alone = model.bert(ids, mask)[0]
    assert torch.equal(model.mlm_output(alone).logits, plain.logits)


def test_with_next_sentences_the_last_block_makes_the_masked_and_the_first_tokens_alone():
    """Their vectors, and the gradients of both losses, are those of the whole sequences."""
    model, (ids, mask, labels) = make("bert", BertForPreTraining).double(), batch("bert")
    order, names = torch.tensor([0, 1, 1]), [name for name, _ in model.named_parameters()]
    made = []
    handle = model.bert.blocks[-1].mlp.register_forward_hook(lambda module, inputs, output: made.append(tuple(output.shape)))
    out = model(ids, mask, labels=labels, next_sentence_label=order)
    handle.remove()
    assert made == [(4 + 3, 32)]  # masked tokens and sequences
    whole = model(ids, mask)
    loss = F.cross_entropy(whole.logits.flatten(0, 1), labels.flatten(), ignore_index=-100) + F.cross_entropy(whole.nsp_logits, order)
    torch.testing.assert_close(out.nsp_logits, whole.nsp_logits, atol=1e-10, rtol=0)
    for name, a, b in zip(names, *(torch.autograd.grad(one, list(model.parameters())) for one in (out.loss, loss))):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=name)  # the losses are float32


def test_without_labels_masked_positions_are_the_logits_that_are_made():
    model, (ids, mask, _) = make("roberta").double(), batch("roberta")
    torch.testing.assert_close(model(ids, mask, masked_positions=torch.tensor([20, 3])).logits, model(ids, mask).logits.flatten(0, 1)[[20, 3]])


def test_next_sentence_prediction_learns_a_separable_toy():
    """Sentence B continues A when it has A's words: 95 % and more on pairs never seen."""
    torch.manual_seed(0)
    model = BertForPreTraining(config("bert", num_hidden_layers=2, vocab_size=24, initializer_range=0.05))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def pairs(n):
        first, follows = torch.randint(5, 9, (n,)), torch.randint(0, 2, (n,))
        second = torch.where(follows == 0, first, 5 + (first - 5 + torch.randint(1, 4, (n,))) % 4)
        ids = torch.stack([torch.full((n,), 2), first, first, torch.full((n,), 3), second, second, torch.full((n,), 3)], dim=1)
        return ids, torch.tensor([[0, 0, 0, 0, 1, 1, 1]]).expand_as(ids), follows

    for _ in range(150):
        ids, types, order = pairs(48)
        optimizer.zero_grad()
        model(ids, token_type_ids=types, next_sentence_label=order).loss.backward()
        optimizer.step()
    ids, types, order = pairs(400)
    with torch.no_grad():
        right = model(ids, token_type_ids=types).nsp_logits.argmax(dim=1) == order
    assert right.float().mean() >= 0.95


# Fresh weights, and learning


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_lies_within_half_a_nat_of_ln_v(family):
    torch.manual_seed(0)
    model = BertForMaskedLM(config(family, vocab_size=2000, hidden_size=256, max_position_embeddings=66))
    ids = torch.randint(5, 2000, (8, 64))
    with torch.no_grad():
        assert abs(model(ids, labels=ids).loss - math.log(2000)) < 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_weights_are_as_the_sources_say(family):
    torch.manual_seed(0)
    model = BertForMaskedLM(config(family, vocab_size=500, hidden_size=128, num_hidden_layers=2))
    for name, p in model.named_parameters():
        if p.dim() == 1:
            assert (p == (1 if "norm.weight" in name else 0)).all(), name
            continue
        written = family == "modernbert" and name.endswith(("attention.out_proj.weight", "mlp.down_proj.weight", "head.dense.weight"))
        cut = 0.8796 if family == "modernbert" else 1  # a normal that is cut at two standard deviations keeps 0.88 of them
        expected = 0.02 * cut / (math.sqrt(2 * 2) if written else 1)
        if p.numel() > 4000:
            assert abs(p.std().item() / expected - 1) < 0.05, name
        if family == "modernbert":
            assert p.abs().max() <= 0.04
    word = model.bert.embeddings.token.weight
    assert bool(word[PAD[family]].any()) == (family == "modernbert")


@pytest.mark.parametrize("family", FAMILIES)
def test_two_layers_overfit_32_fixed_sentences(family):
    torch.manual_seed(0)
    model = BertForMaskedLM(config(family, vocab_size=200, hidden_size=64, num_hidden_layers=2, max_position_embeddings=14))
    ids = torch.randint(6, 200, (32, 12))
    mask = torch.ones_like(ids)
    mask[::2, 9:] = 0  # as in real batches, some are shorter
    ids[mask == 0] = PAD[family]
    labels = torch.where((torch.rand(ids.shape) < 0.2) & (mask == 1), ids, -100)
    corrupted = torch.where(labels != -100, 5, ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20)
        out = model(corrupted, mask, labels=labels)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        if out.loss < 0.1:
            return
    raise AssertionError(f"after 200 steps the loss is still {out.loss.item():.2f}")


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_acts_in_training_alone(family):
    model, (ids, mask, _) = make(family, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3), batch(family)
    assert torch.equal(model(ids, mask).logits, model(ids, mask).logits)
    model.train()
    assert not torch.equal(model(ids, mask).logits, model(ids, mask).logits)


# Errors that say both values and the remedy


def test_a_sequence_past_the_positions_is_refused_with_all_numbers():
    with pytest.raises(ValueError, match="25 tokens.*max_length 24.*max_position_embeddings 24"):
        make("modernbert")(torch.full((1, 25), 5))
    with pytest.raises(ValueError, match="23 tokens.*max_length 22 .max_position_embeddings 24 - pad_token_id 1 - 1"):
        make("roberta")(torch.full((1, 23), 5))
    assert make("roberta")(torch.full((1, 22), 5)).logits.shape == (1, 22, 60)


@pytest.mark.parametrize("arguments, message", [
    (dict(input_ids=torch.tensor([[5, 60]])), "id 60 is outside the vocabulary of 60"),
    (dict(input_ids=torch.tensor([[5, -1]])), "id -1 is outside"),
    (dict(input_ids=torch.tensor([5, 6])), r"shape \(2,\)"),
    (dict(input_ids=torch.zeros(0, 4, dtype=torch.long)), r"shape \(0, 4\)"),
    (dict(input_ids=torch.tensor([[5, 6]]), attention_mask=torch.ones(1, 3)), r"attention_mask has the shape \(1, 3\), input_ids \(1, 2\)"),
    (dict(input_ids=torch.tensor([[5, 6]]), token_type_ids=torch.tensor([[0, 2]])), "token type 2"),
    (dict(input_ids=torch.tensor([[5, 6]]), labels=torch.tensor([[5]])), r"labels has the shape \(1, 1\)"),
    (dict(input_ids=torch.tensor([[5, 6]]), labels=torch.tensor([[-100, 60]])), "label 60"),
])
def test_bad_batches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make("bert")(**arguments)


def test_a_tokenizer_that_does_not_fit_is_refused_with_both_sizes():
    class Tokenizer:
        vocab_size, pad_token_id = 8192, 1

    with pytest.raises(ValueError, match="tokenizer has 8,192 ids, model was built for 8,000: use the tokenizer"):
        check_tokenizer(BertConfig(vocab_size=8000, pad_token_id=1), Tokenizer)
    with pytest.raises(ValueError, match="pads with id 1, model with 0"):
        check_tokenizer(BertConfig(vocab_size=8192, pad_token_id=0), Tokenizer)
    check_tokenizer(BertConfig(vocab_size=8192, pad_token_id=1), Tokenizer)


def test_next_sentence_prediction_needs_two_segments():
    with pytest.raises(ValueError, match="this roberta has 1"):
        BertForPreTraining(config("roberta", type_vocab_size=1))


def test_modernbert_has_no_segments_whatever_the_config_says():
    model = make("modernbert", type_vocab_size=2)
    assert model.num_parameters() == make("modernbert", type_vocab_size=0).num_parameters()
    with pytest.raises(ValueError, match="token type 1"):
        model(torch.tensor([[5, 6]]), token_type_ids=torch.tensor([[0, 1]]))


def test_config_fields_that_change_nothing_else_change_the_model():
    """Each switch of attention and rotation is read: another value gives other numbers."""
    ids = batch("modernbert")[0]
    base = make("modernbert", BertModel)
    for field, value in (("local_attention", 2), ("global_attn_every_n_layers", 2), ("global_rope_theta", 100.0), ("local_rope_theta", 100.0),
                         ("layer_norm_eps", 0.1)):
        other = BertModel(replace(base.config, **{field: value})).eval()
        other.load_state_dict(base.state_dict())
        assert (other(ids) - base(ids)).abs().max() > 1e-4, field

"""Fine-tuning a little of a model: what learns and how much it is, what LoRA and prefixes compute, worked by hand and beside slow twins."""
import parity_cases as cases
import pytest
import torch
from torch import nn

from minibert import attention
from minibert.attention import Attention
from minibert.config import FAMILIES, BertConfig
from minibert.finetuning.adapters import (
    DEFAULT_LR,
    LoRALinear,
    Prefix,
    Tuning,
    attach,
    count_parameters,
    is_head_parameter,
    lora_targets,
    merge,
    merged_copy,
    unmerge,
)
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification

LABELS = ("bad", "good")
MODES = [mode for mode in DEFAULT_LR if mode != "all"]
EVERYWHERE = "query,key,value,out,mlp"


def classifier(family):
    return cases.fill(BertForSequenceClassification(cases.config(family), LABELS, dropout=0.0))


def inputs(family):
    return {name: value for name, value in cases.batch(family).items() if name != "labels" and value is not None}


def tuned(family, mode, **options):
    """A classifier with an adapter whose numbers are no longer those of its start."""
    torch.manual_seed(1)
    model = attach(classifier(family), Tuning(tune=mode, **options))
    for p in model.parameters():
        if p.requires_grad:
            p.data += 0.05 * torch.randn(p.shape)
    return model


@torch.no_grad()
def logits(model, family):
    return model(**inputs(family)).logits


# ------------------------------------------------------------------------------------------------ what learns


@pytest.mark.parametrize("family", FAMILIES)
def test_so_many_numbers_learn_as_the_formulas_say(family):
    """H = 24, I = 40, four layers, two labels."""
    H, inner, layers = 24, 40, 4
    head = H * H + 2 * H + 2 + (0 if family == "modernbert" else H) + (H if family == "modernbert" else 0)  # dense, classifier; a bias, or a norm
    full = classifier(family).num_parameters()

    def learning(mode, **options):
        found = count_parameters(attach(classifier(family), Tuning(tune=mode, **options)))
        assert found["head"] == (head if mode != "all" else found["head"]) and found["parameters"] == full
        assert found["share"] == pytest.approx(found["trained"] / full, abs=1e-6)
        return found["trained"] - (head if mode != "all" else 0)

    assert learning("all") == full and learning("head") == 0
    assert learning("lora", lora_rank=3) == layers * 2 * 3 * (H + H)  # queries and values
    mlp = 3 * (2 * (H + inner) if family == "modernbert" else H + inner) + 3 * (inner + H)  # gated: two maps stand above each other
    assert learning("lora", lora_rank=3, lora_on=EVERYWHERE) == layers * (4 * 3 * (H + H) + mlp)
    assert learning("prefix", prefix_length=5) == layers * 2 * 5 * H
    if family == "modernbert":  # scales: of the embeddings' norm, of the norm at the end, of two in each layer but for the first one's
        assert learning("bias") == H + H + (2 * layers - 1) * H
    else:  # embeddings' norm; queries, keys, values, out, two norms, the MLP's two layers
        assert learning("bias") == H + layers * (3 * H + H + 2 * H + inner + H)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_learns_changes_in_training(family, mode):
    model, b = attach(classifier(family).train(), Tuning(tune=mode, lora_rank=2, prefix_length=3)), inputs(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    for _ in range(2):  # in the first one LoRA's B is 0, and its A has no gradient
        model(**b, labels=torch.tensor([0, 1, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in model.named_parameters() if p.requires_grad} > {"classifier.weight", "classifier.bias"}
    inside = {name for name in changed if not is_head_parameter(name)}
    kinds = {"lora": (".lora_a", ".lora_b"), "prefix": (".prefix.keys_and_values",), "bias": (".bias", "norm.weight"), "head": ()}
    assert all(name.endswith(kinds[mode]) for name in inside) and bool(inside) == (mode != "head")


def test_the_matrices_that_were_asked_for_are_the_ones():
    block = classifier("modernbert").bert.blocks[0]
    assert lora_targets(block, ("query", "value", "mlp")) == {"attention.qkv": [0, 2], "mlp.up_proj": [0, 1], "mlp.down_proj": [0]}
    assert lora_targets(classifier("bert").bert.blocks[0], ("mlp", "key", "out")) == {
        "attention.qkv": [1], "attention.out_proj": [0], "mlp.up_proj": [0], "mlp.down_proj": [0]}


@pytest.mark.parametrize("options, message", [
    ({"tune": "lorra"}, "tune is 'lorra'.*did you mean lora"), ({"lora_rank": 0}, "lora_rank is 0: it must be at least 1"),
    ({"prefix_length": 0}, "prefix_length is 0"), ({"lora_alpha": 0.0}, "lora_alpha is 0.0"), ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
    ({"lora_on": "query,vallue"}, "lora_on names 'vallue'.*did you mean value"), ({"lora_on": ""}, "lora_on names ''"),
    ({"lora_on": "key,key"}, "a name stands there twice"), ({"lora_rank": 1.5}, "lora_rank is 1.5: it must be a whole number"),
    ({"lora_rank": True}, "lora_rank is True: it must be a whole number"), ({"prefix_length": 2.5}, "prefix_length is 2.5: it must be a whole"),
    ({"lora_on": 5}, "lora_on is 5: it must be text"), ({"lora_on": None}, "lora_on is None"), ({"lora_on": ["key"]}, "lora_on is \\['key'\\]"),
    ({"lora_alpha": "8"}, "lora_alpha is '8': it must be a number"), ({"lora_alpha": 10**400}, "and finite"), ({"tune": ["lora"]}, "tune is ")])
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Tuning(**options)


def test_what_the_model_has_no_room_for_is_refused():
    with pytest.raises(ValueError, match="lora_rank 25 is more than a matrix of 24 x 24 can have"):
        attach(classifier("bert"), Tuning(tune="lora", lora_rank=25))
    with pytest.raises(ValueError, match="prefix_length 23 is more than the 22 tokens"):
        attach(classifier("bert"), Tuning(tune="prefix", prefix_length=23))


@pytest.mark.parametrize("mode", MODES)
def test_a_second_adapter_is_refused_and_a_first_one_that_had_no_room_leaves_the_model_as_it_was(mode):
    model = attach(classifier("bert"), Tuning(tune=mode, prefix_length=2))
    for second in ("lora", "all"):
        with pytest.raises(ValueError, match=f"tune {mode} is attached to this model already"):
            attach(model, Tuning(tune=second))
    wide = classifier("modernbert")
    with pytest.raises(ValueError, match="lora_rank 25"):
        attach(wide, Tuning(tune="lora", lora_on="mlp,out", lora_rank=25))
    assert not any(isinstance(module, LoRALinear) for module in wide.modules()) and attach(wide, Tuning(tune=mode, prefix_length=2)) is wide


# ------------------------------------------------------------------------------------------------ LoRA


def test_a_product_worked_by_hand():
    """Two maps of 1 x 2 above each other, the second adapted: W = (1 0; 0 1), A = (1 1), B = (3), alpha / rank = 2: 2 * 3 * (x1 + x2) is added."""
    linear = nn.Linear(2, 2)
    linear.weight.data, linear.bias.data = torch.eye(2), torch.tensor([0.5, 0.0])
    layer, x = LoRALinear(linear, [1], rank=1, alpha=2.0, num_stacked=2).eval(), torch.tensor([[10.0, 20.0]])
    assert layer(x).tolist() == [[10.5, 20.0]]  # B is 0
    layer.lora_a.data, layer.lora_b.data = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[3.0]]])
    assert layer(x).tolist() == [[10.5, 200.0]] and layer.delta_weight().tolist() == [[0, 0], [6, 6]]
    layer.merge()
    assert layer.weight.tolist() == [[1, 0], [6, 7]] and layer(x).tolist() == [[10.5, 200.0]]
    layer.unmerge()
    assert layer.weight.tolist() == [[1, 0], [0, 1]] and layer(x).tolist() == [[10.5, 200.0]]


@pytest.mark.parametrize("mode", ["lora", "bias", "head"])
@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_start_nothing_has_changed(family, mode):
    assert torch.equal(logits(attach(classifier(family), Tuning(tune=mode, lora_on=EVERYWHERE)), family), logits(classifier(family), family))


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_give_the_same_logits_and_come_apart_again(family):
    model = tuned(family, "lora", lora_rank=3, lora_on=EVERYWHERE)
    apart, weights = logits(model, family), {name: p.detach().clone() for name, p in model.named_parameters()}
    assert (apart - logits(classifier(family), family)).abs().max() > 1e-2  # the adapter does something
    merge(model)
    merge(model)  # twice is once
    assert (logits(model, family) - apart).abs().max() < 1e-6
    unmerge(model)
    assert torch.equal(logits(model, family), apart)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_checkpoint_holds_the_merged_weights_and_no_random_number_is_drawn(family, tmp_path):
    model = tuned(family, "lora", lora_on="query,mlp")
    state = torch.get_rng_state()
    save_pretrained(merged_copy(model), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    loaded = from_pretrained(tmp_path)
    assert type(loaded) is BertForSequenceClassification and loaded.labels == LABELS
    assert (logits(loaded, family) - logits(model, family)).abs().max() < 1e-6
    assert model.bert.blocks[0].attention.qkv.before is None  # training goes on with the products beside the weights


def test_what_is_merged_is_saved_apart_stays_merged_and_does_not_learn():
    model, fresh = tuned("bert", "lora", lora_on=EVERYWHERE), attach(classifier("bert"), Tuning(tune="lora", lora_on=EVERYWHERE))
    apart, state = logits(model, "bert"), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        merge(model)
        copy = merged_copy(model)
    assert (logits(model, "bert") - apart).abs().max() < 1e-6 and (logits(copy, "bert") - apart).abs().max() < 1e-6
    assert all(layer.before is not None for layer in model.modules() if isinstance(layer, LoRALinear))
    saved = model.state_dict()
    assert saved.keys() == state.keys() and all(torch.equal(saved[name], state[name]) for name in state)
    fresh.load_state_dict(saved)
    assert torch.equal(logits(fresh, "bert"), apart)
    with pytest.raises(ValueError, match="LoRA is merged into the weights, where it cannot learn: unmerge"):
        model.train()(**inputs("bert"))
    model.eval().load_state_dict(state)  # comes apart
    assert torch.equal(logits(model, "bert"), apart) and model.bert.blocks[0].attention.qkv.before is None


def test_prefixes_have_no_place_in_a_whole_checkpoint():
    with pytest.raises(ValueError, match="prefixes cannot be merged"):
        merged_copy(tuned("bert", "prefix"))


# ------------------------------------------------------------------------------------------------ prefixes


def test_a_prefix_worked_by_hand():
    """Queries of zero look at all keys alike: values 1 and 3 of two tokens and 8 of the prefix have the mean 4; the second token hidden, 4.5."""
    q, k, v = torch.zeros(1, 1, 2, 1), torch.ones(1, 1, 2, 1), torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
    prefix = Prefix(torch.tensor([5.0, 8.0]).view(2, 1, 1))  # one key, one value, H = 1
    k, v, mask = prefix(k, v, None)
    assert k.flatten().tolist() == [5, 1, 1] and v.flatten().tolist() == [8, 1, 3] and mask is None
    assert attention.attention_by_hand(q, k, v).flatten().tolist() == pytest.approx([4, 4])
    *_, mask = prefix(k[:, :, 1:], v[:, :, 1:], torch.tensor([0.0, -1e30]).view(1, 1, 1, 2))
    assert mask.flatten().tolist() == pytest.approx([0, 0, -1e30])
    assert attention.attention_by_hand(q, k, v, mask).flatten().tolist() == pytest.approx([4.5, 4.5])


def test_heads_split_a_prefix_as_they_split_tokens():
    """Numbers 0 to 3 of a key go to the first of two heads, 4 to 7 to the second."""
    prefix = Prefix(torch.arange(8.0).repeat(2, 3, 1))  # p = 3
    k, v, _ = prefix(torch.zeros(5, 2, 1, 4), torch.zeros(5, 2, 1, 4), None)
    assert k.shape == v.shape == (5, 2, 4, 4) and k[4, 1, 2].tolist() == [4, 5, 6, 7] and k[0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_ways_of_attention_agree_with_prefixes(family, monkeypatch):
    model = tuned(family, "prefix", prefix_length=5)
    by_hand = logits(model, family)
    assert (by_hand - logits(classifier(family), family)).abs().max() > 1e-3
    monkeypatch.setattr(attention, "attention_by_hand", attention.attention_fused)
    torch.testing.assert_close(logits(model, family), by_hand, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_sees_every_prefix(family):
    """Each prefix of a layer moves each token, also past modernbert's windows: its second layer sees three tokens to each side."""
    encoder, ids = tuned(family, "prefix", prefix_length=2).bert, inputs(family)["input_ids"][:1]
    encoder.pooler = None
    with torch.no_grad():
        before = encoder(ids)
        for layer in (0, 1):
            numbers = encoder.blocks[layer].attention.prefix.keys_and_values
            for place in (0, 1):
                kept = numbers.clone()
                numbers[1, place] += 1
                assert ((encoder(ids) - before).abs().amax(-1) > 1e-6).all()
                numbers.copy_(kept)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing_with_prefixes(family):
    model, b = tuned(family, "prefix", prefix_length=3), inputs(family)
    lengths = b["attention_mask"].sum(1)
    with torch.no_grad():
        alone = [model(**{name: value[row : row + 1, : lengths[row]] for name, value in b.items() if name != "attention_mask"}).logits
                 for row in range(3)]
    torch.testing.assert_close(logits(model, family), torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_fresh_prefix_is_that_of_a_text_that_was_read(family):
    """Of the first layer: the keys and values that the drawn tokens have there, without dropout."""
    model, plain = classifier(family).train(), classifier(family).bert
    torch.manual_seed(3)
    attach(model, Tuning(tune="prefix", prefix_length=4))
    torch.manual_seed(3)
    drawn = torch.randint(model.config.vocab_size, (1, 4))
    with torch.no_grad():
        x = plain.embeddings(drawn)
        _, keys, values = plain.blocks[0].attention.qkv(x)[0].chunk(3, dim=-1)
    torch.testing.assert_close(model.bert.blocks[0].attention.prefix.keys_and_values, torch.stack((keys, values)))
    assert not model.bert.blocks[0].attention.qkv._forward_hooks and all(module.training for module in model.modules())


def test_attention_without_a_prefix_has_no_numbers_for_one():
    layer = Attention(BertConfig(hidden_size=8, num_attention_heads=2))
    assert layer.prefix is None and len(list(layer.parameters())) == 4

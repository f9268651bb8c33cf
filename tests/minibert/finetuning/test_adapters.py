"""Adapters: what is trained, and LoRA and prefixes checked by hand and against plain models."""
import parity_cases as cases
import pytest
import torch
from torch import nn

from minibert import attention
from minibert.config import FAMILIES, BertConfig
from minibert.finetuning.adapters import (
    RATE_FACTORS,
    LoRALinear,
    Prefix,
    Tuning,
    attach,
    count_parameters,
    finetuning_scales,
    is_head_parameter,
    merged_copy,
)
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification
from minibert.model import BertForMaskedLM

LABELS = ("bad", "good")
MODES = [mode for mode in RATE_FACTORS if mode != "all"]

all_families = pytest.mark.parametrize("family", FAMILIES)


def classifier(family):
    config = cases.config(family)
    model = BertForSequenceClassification(config, LABELS, dropout=0.0)
    return cases.fill(model.load_encoder_from(BertForMaskedLM(config)))


def inputs(family):
    batch = cases.batch(family)
    return {name: t for name, t in batch.items() if name != "labels" and t is not None}


def tuned(family, mode, **options):
    """Return a classifier whose adapter is no longer in its initial state."""
    model = classifier(family)
    torch.manual_seed(1)
    attach(model, Tuning(tune=mode, **options))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape)
    return model


@torch.no_grad()
def logits(model, family):
    return model(**inputs(family)).logits


# what is trained


@all_families
def test_the_number_of_trained_parameters_follows_the_formulas(family):
    """H = 24, I = 40, four layers, two labels."""
    H, inner, layers = 24, 40, 4
    is_modernbert = family == "modernbert"
    linear = 2 * H + 2  # of the classifier
    full_head = linear + H * H + H  # its dense layer, with a bias or modernbert's norm
    full = classifier(family).num_parameters()

    def trained_in_encoder(mode, **options):
        counts = count_parameters(attach(classifier(family), Tuning(tune=mode, **options)))
        # modernbert's dense layer and norm are pre-trained: LoRA updates one, freezes the other.
        is_updated = is_modernbert and mode == "lora"
        head = linear + 3 * (H + H) if is_updated else full_head
        assert counts["parameters"] == full and counts["head"] == head
        assert counts["share"] == pytest.approx(counts["trained"] / full, abs=1e-6)
        return counts["trained"] - head

    assert trained_in_encoder("head") == 0
    two_matrices = trained_in_encoder("lora", lora_rank=3, lora_on="query,value")
    assert two_matrices == layers * 2 * 3 * (H + H)
    up_proj = 2 * 3 * (H + inner) if is_modernbert else 3 * (H + inner)  # gated: two projections
    each_layer = 4 * 3 * (H + H) + up_proj + 3 * (inner + H)
    assert trained_in_encoder("lora", lora_rank=3) == layers * each_layer
    assert trained_in_encoder("prefix", prefix_length=5) == layers * 2 * 5 * H
    if is_modernbert:  # scales of the first and last norm and of two per layer, but layer 0 has one
        assert trained_in_encoder("bias") == H + H + (2 * layers - 1) * H
    else:  # embedding norm; per layer query, key, value, out, two norms and the MLP's two layers
        assert trained_in_encoder("bias") == H + layers * (3 * H + H + 2 * H + inner + H)


@pytest.mark.parametrize("mode", MODES)
@all_families
def test_training_changes_only_what_the_mode_trains(family, mode):
    tuning = Tuning(tune=mode, lora_rank=2, prefix_length=3)
    model = attach(classifier(family).train(), tuning)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(2):  # in the first step B is 0, so A has no gradient
        model(**inputs(family), labels=torch.tensor([0, 1, 1])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in model.named_parameters() if p.requires_grad}
    assert changed > {"classifier.weight", "classifier.bias"}
    in_encoder = {name for name in changed if not is_head_parameter(name)}
    suffixes = {"lora": (".lora_a", ".lora_b"), "prefix": (".prefix.keys_and_values",),
                "bias": (".bias", "norm.weight"), "head": ()}
    assert all(name.endswith(suffixes[mode]) for name in in_encoder)
    assert bool(in_encoder) == (mode != "head")


@pytest.mark.parametrize("options, message", [
    ({"tune": "lorra"}, "tune is 'lorra'.*did you mean lora"),
    ({"lora_rank": 0}, "lora_rank is 0: it must be at least 1"),
    ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
    ({"lora_on": "query,vallue"}, "lora_on names 'vallue'.*did you mean value"),
])
def test_impossible_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Tuning(**options)


def test_adapters_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="lora_rank 25 is more than the rank of a matrix of 24 x"):
        attach(classifier("bert"), Tuning(tune="lora", lora_on="out", lora_rank=25))
    with pytest.raises(ValueError, match="prefix_length 23 is more than the 22 tokens"):
        attach(classifier("bert"), Tuning(tune="prefix", prefix_length=23))


@pytest.mark.parametrize("second", ["lora", "all"])
def test_a_second_adapter_raises(second):
    model = attach(classifier("bert"), Tuning(tune="head"))
    with pytest.raises(ValueError, match="the model has an adapter already"):
        attach(model, Tuning(tune=second))


# LoRA


def test_lora_worked_by_hand():
    """Two stacked projections of 1 x 2, the second with an update.

    W = (1 0; 0 1), A = (1 1), B = (3), alpha / rank = 2: the update adds 2 * 3 * (x1 + x2).
    """
    linear = nn.Linear(2, 2)
    linear.weight.data = torch.eye(2)
    linear.bias.data = torch.tensor([0.5, 0.0])
    layer = LoRALinear(linear, parts=[1], rank=1, alpha=2.0, num_stacked=2)
    x = torch.tensor([[10.0, 20.0]])
    assert layer(x).tolist() == [[10.5, 20.0]]  # B is 0
    layer.lora_a.data = torch.tensor([[[1.0, 1.0]]])
    layer.lora_b.data = torch.tensor([[[3.0]]])
    assert layer(x).tolist() == [[10.5, 200.0]]
    assert layer.delta_weight().tolist() == [[0, 0], [6, 6]]
    assert layer.merged_weight().tolist() == [[1, 0], [6, 7]]
    assert layer.weight.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("mode", ["lora", "bias", "head"])
@all_families
def test_a_new_adapter_changes_nothing(family, mode):
    model = attach(classifier(family), Tuning(tune=mode))
    assert torch.equal(logits(model, family), logits(classifier(family), family))


@all_families
def test_a_merged_copy_computes_the_same_after_saving_and_loading(family, tmp_path):
    model = tuned(family, "lora", lora_rank=3)
    expected = logits(model, family)
    assert (expected - logits(classifier(family), family)).abs().max() > 1e-2
    rng_state = torch.get_rng_state()
    with torch.autocast("cpu", dtype=torch.bfloat16):  # merging ignores autocast
        copy = merged_copy(model)
    assert torch.equal(torch.get_rng_state(), rng_state)
    save_pretrained(copy, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert type(loaded) is BertForSequenceClassification and loaded.labels == LABELS
    assert not any(isinstance(module, LoRALinear) for module in loaded.modules())
    assert (logits(loaded, family) - expected).abs().max() < 1e-6
    assert torch.equal(logits(model, family), expected)


def test_prefixes_cannot_be_merged():
    with pytest.raises(ValueError, match="prefixes cannot be merged"):
        merged_copy(tuned("bert", "prefix"))


# prefix tuning


def test_a_prefix_worked_by_hand():
    """Zero queries weigh all keys equally.

    The values 1 and 3 of two tokens and 8 of the prefix average to 4, or to 4.5 if the second token
    is masked.
    """
    q = torch.zeros(1, 1, 2, 1)
    token_k = torch.ones(1, 1, 2, 1)
    token_v = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
    prefix = Prefix(torch.tensor([5.0, 8.0]).view(2, 1, 1))  # one key, one value, H = 1
    k, v, mask = prefix(token_k, token_v, None)
    assert k.flatten().tolist() == [5, 1, 1] and v.flatten().tolist() == [8, 1, 3]
    assert mask is None
    assert attention.attention_by_hand(q, k, v).flatten().tolist() == pytest.approx([4, 4])
    *_, mask = prefix(token_k, token_v, torch.tensor([0.0, -1e30]).view(1, 1, 1, 2))
    assert mask.flatten().tolist() == pytest.approx([0, 0, -1e30])
    masked = attention.attention_by_hand(q, k, v, mask)
    assert masked.flatten().tolist() == pytest.approx([4.5, 4.5])


def test_attention_heads_split_a_prefix_as_they_split_tokens():
    """Entries 0 to 3 of a key go to the first of two heads, 4 to 7 to the second."""
    prefix = Prefix(torch.arange(8.0).repeat(2, 3, 1))  # p = 3
    tokens = torch.zeros(5, 2, 1, 4)
    k, v, _ = prefix(tokens, tokens, None)
    assert k.shape == v.shape == (5, 2, 4, 4)
    assert k[0, 0, 0].tolist() == [0, 1, 2, 3] and k[4, 1, 2].tolist() == [4, 5, 6, 7]


@all_families
def test_both_attention_implementations_agree_with_prefixes(family, monkeypatch):
    model = tuned(family, "prefix", prefix_length=5)
    by_hand = logits(model, family)
    assert (by_hand - logits(classifier(family), family)).abs().max() > 1e-3
    monkeypatch.setattr(attention, "attention_by_hand", attention.attention_fused)
    torch.testing.assert_close(logits(model, family), by_hand, atol=1e-5, rtol=0)


@all_families
def test_every_token_attends_to_every_prefix(family):
    """Also outside modernbert's windows: its second layer sees three tokens on each side."""
    encoder = tuned(family, "prefix", prefix_length=2).bert
    encoder.pooler = None
    ids = inputs(family)["input_ids"][:1]
    with torch.no_grad():
        before = encoder(ids)
        for layer in (0, 1):
            keys_and_values = encoder.blocks[layer].attention.prefix.keys_and_values
            for i in (0, 1):
                original = keys_and_values.clone()
                keys_and_values[1, i] += 1
                assert ((encoder(ids) - before).abs().amax(-1) > 1e-6).all()
                keys_and_values.copy_(original)


@all_families
def test_padding_changes_nothing_with_prefixes(family):
    model = tuned(family, "prefix", prefix_length=3)
    batch = inputs(family)
    lengths = batch.pop("attention_mask").sum(1)
    with torch.no_grad():
        one_by_one = [model(**{name: t[b : b + 1, :length] for name, t in batch.items()}).logits
                      for b, length in enumerate(lengths)]
    torch.testing.assert_close(logits(model, family), torch.cat(one_by_one), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_new_prefix_holds_the_keys_and_values_of_random_tokens(family):
    """In the first layer: those that the tokens have there without dropout."""
    model = classifier(family).train()
    torch.manual_seed(3)
    attach(model, Tuning(tune="prefix", prefix_length=4))
    torch.manual_seed(3)
    ids = torch.randint(model.config.vocab_size, (1, 4))
    plain = classifier(family).bert
    with torch.no_grad():
        qkv = plain.blocks[0].attention.qkv(plain.embeddings(ids))
    _, keys, values = qkv[0].chunk(3, dim=-1)
    first_block = model.bert.blocks[0].attention
    torch.testing.assert_close(first_block.prefix.keys_and_values, torch.stack((keys, values)))
    assert not first_block.qkv._forward_hooks
    assert all(module.training for module in model.modules())


def test_the_scale_of_a_rate_is_the_size_of_the_weights_or_a_typical_one():
    model = BertForSequenceClassification(BertConfig(
        family="modernbert", vocab_size=30, hidden_size=4, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=4, type_vocab_size=0), ("bad", "good"))
    attention, mlp = model.bert.blocks[0].attention, model.bert.blocks[0].mlp
    sizes = {model.bert.embeddings.token: 0.5, attention.qkv: 0.1, attention.out_proj: 0.1,
             mlp.up_proj: 0.2, mlp.down_proj: 0.0, model.dense: 0.4, model.classifier: 0.02}
    for module, size in sizes.items():
        torch.nn.init.constant_(module.weight, size)
    attach(model, Tuning(tune="lora", lora_rank=1, lora_on="query"))
    lora = model.bert.blocks[0].attention.qkv
    torch.nn.init.constant_(lora.lora_a, 0.7)
    scales = finetuning_scales(model)
    assert scales[model.bert.embeddings.token.weight] == pytest.approx(0.5)
    assert scales[lora.lora_b] == scales[lora.weight] == pytest.approx(0.1)
    assert scales[lora.lora_a] == pytest.approx(0.7)
    # The median of 0.02, 0.1, 0.1, 0.2, 0.4, 0.5; a matrix of zeros has no size
    for typical in (model.classifier.weight, model.norm.weight, mlp.down_proj.weight):
        assert scales[typical] == pytest.approx(0.15)


def test_a_prefix_moves_in_proportion_to_its_own_size():
    model = attach(classifier("bert"), Tuning(tune="prefix", prefix_length=2))
    prefix = model.bert.blocks[0].attention.prefix.keys_and_values
    typical = finetuning_scales(model)[model.classifier.weight]
    torch.nn.init.constant_(prefix, 9.0)
    scales = finetuning_scales(model)
    assert scales[prefix] == pytest.approx(9.0)
    assert scales[model.classifier.weight] == typical  # the median counts the weights of layers

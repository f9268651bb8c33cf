"""Parameter groups and schedules, with numbers worked by hand."""
import copy

import pytest
import torch

from minibert.config import BertConfig, TrainConfig
from minibert.model import BertForMaskedLM
from minibert.optim import lr_multiplier, make_optimizer, orthogonalize, parameter_groups


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_decay_holds_for_matrices_and_embeddings_and_for_nothing_else(family):
    config = BertConfig(family=family, vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                        max_position_embeddings=20)
    model = BertForMaskedLM(config)
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, plain = ({names[p] for p in group["params"]} for group in parameter_groups(model, 0.01))
    assert decayed | plain == set(names.values()) and not decayed & plain
    assert all(("norm" in name) or name.endswith("bias") for name in plain)
    assert not any(("norm" in name) or name.endswith("bias") for name in decayed)


def test_frozen_parameters_are_in_no_group():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(layer, 0.1)] == [1, 0]


def test_adamw_takes_its_numbers_from_the_configuration():
    """One step by hand: with fresh moments Adam moves by the rate (times the gradient's sign), after decay by rate x weight_decay."""
    layer = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    optimizer = make_optimizer(layer, TrainConfig(learning_rate=0.1, weight_decay=0.5, adam_epsilon=1e-12))
    layer.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1, abs=1e-6)
    assert optimizer.defaults["betas"] == (0.9, 0.98)


@pytest.mark.parametrize("progress, factor", [(0.0, 0.0), (0.03, 0.5), (0.06, 1.0), (0.53, 0.5), (1.0, 0.0), (1.2, 0.0)])
def test_linear_rises_over_the_warm_up_and_falls_to_zero(progress, factor):
    assert lr_multiplier(progress, "linear", warmup=0.06, decay=0.3) == pytest.approx(factor)


@pytest.mark.parametrize("progress, factor", [(0.03, 0.5), (0.06, 1.0), (0.7, 1.0), (0.85, 0.5), (1.0, 0.0)])
def test_stable_holds_the_peak_and_falls_in_the_end(progress, factor):
    assert lr_multiplier(progress, "stable", warmup=0.06, decay=0.3) == pytest.approx(factor)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert lr_multiplier(0.0, "linear", warmup=0.0, decay=0.0) == 1.0


def test_stable_without_decay_stays_at_the_peak():
    assert lr_multiplier(0.99, "stable", warmup=0.1, decay=0.0) == 1.0


# Muon


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_orthogonalize_makes_all_directions_nearly_equal_and_keeps_them(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * 7
    result = orthogonalize(matrices)
    for matrix, made in zip(matrices, result):
        u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
        inside = u.T @ made @ vt.T  # diagonal, if the directions are kept
        assert torch.allclose(inside, torch.diag(inside.diagonal()), atol=1e-4)
        assert 0.6 < inside.diagonal()[values > 0.05 * values[0]].min() and inside.diagonal().max() < 1.25
    assert orthogonalize(torch.zeros(1, 4, 4)).abs().max() == 0


@pytest.mark.parametrize("scale", [1.0, 1e-9])
@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_products_in_sixteen_bits_are_near_those_in_float32_for_small_gradients_too(dtype, error, scale):
    """In fp16 all below 6e-8 is 0: a gradient is made long before it is cast."""
    torch.manual_seed(0)
    matrices = scale * torch.randn(2, 64, 48)
    exact, made = orthogonalize(matrices), orthogonalize(matrices, dtype=dtype)
    assert made.dtype == dtype and (made.float() - exact).norm() < error * exact.norm()
    model, optimizer = small_model()
    fp16 = make_optimizer(model, TrainConfig(optimizer="muon", precision="fp16"))
    assert (optimizer.dtype, fp16.dtype) == (torch.float32, torch.float16)


def small_model(**options):
    config = BertConfig(family="modernbert", vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
                        max_position_embeddings=20, type_vocab_size=0)
    torch.manual_seed(1)
    model = BertForMaskedLM(config)
    return model, make_optimizer(model, TrainConfig(optimizer="muon", precision="fp32", **options))


def test_muon_takes_the_matrices_of_blocks_and_head_and_adamw_the_rest():
    model, optimizer = small_model(learning_rate=1e-3, muon_learning_rate=0.03)
    names = {p: name for name, p in model.named_parameters()}
    groups = [{names[p] for p in group["params"]} for group in optimizer.param_groups]
    assert groups[0] == {"bert.embeddings.token.weight"}
    assert all("norm" in name or name.endswith("bias") for name in groups[1])
    assert groups[2] == {f"bert.blocks.{layer}.{matrix}.weight" for layer in (0, 1)
                         for matrix in ("attention.qkv", "attention.out_proj", "mlp.up_proj", "mlp.down_proj")} | {"head.dense.weight"}
    assert sum(map(len, groups)) == len(names)
    parts = {names[p]: n for p, n in zip(optimizer.param_groups[2]["params"], optimizer.param_groups[2]["num_stacked"])}
    assert parts["bert.blocks.0.attention.qkv.weight"] == 3 and parts["bert.blocks.1.mlp.up_proj.weight"] == 2
    assert set(parts.values()) == {1, 2, 3}
    assert [group["peak_lr"] for group in optimizer.param_groups] == [1e-3, 1e-3, 0.03]


def test_two_steps_of_muon_worked_one_matrix_at_a_time():
    """The twin: no stacking, each map of a stacked parameter by itself."""
    model, optimizer = small_model(muon_learning_rate=0.05, muon_momentum=0.9, weight_decay=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    means = {}
    for seed in (1, 2):
        torch.manual_seed(seed)
        gradients = {name: torch.randn_like(p) for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            p.grad = gradients[name].clone()
        optimizer.step()
        for name, parts in (("bert.blocks.0.attention.qkv.weight", 3), ("bert.blocks.1.mlp.up_proj.weight", 2), ("bert.blocks.0.mlp.down_proj.weight", 1)):
            mean = means[name] = 0.9 * means.get(name, 0) + 0.1 * gradients[name]
            ahead = 0.9 * mean + 0.1 * gradients[name]
            moved = torch.cat([orthogonalize(part[None])[0] * max(1, part.shape[0] / part.shape[1]) ** 0.5 for part in ahead.chunk(parts)])
            before[name] = before[name] * (1 - 0.05 * 0.1) - 0.05 * moved
            assert torch.allclose(dict(model.named_parameters())[name], before[name], atol=1e-5), name


def test_muon_leaves_the_rest_to_adamw_and_passes_over_what_has_no_gradient():
    model, optimizer = small_model(learning_rate=0.01)
    twin, adamw = BertForMaskedLM(model.config), None
    twin.load_state_dict(model.state_dict())
    adamw = make_optimizer(twin, TrainConfig(learning_rate=0.01, precision="fp32"))
    for some in (model, twin):
        some.head.bias.grad = torch.ones_like(some.head.bias)
        some.bert.embeddings.token.weight.grad = torch.ones_like(some.bert.embeddings.token.weight)
    optimizer.step(), adamw.step()
    for (name, p), other in zip(model.named_parameters(), twin.parameters()):
        assert torch.equal(p, other), name


def test_muon_agrees_with_pytorch_s_own():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    model, optimizer = small_model(muon_learning_rate=0.05, muon_momentum=0.95, weight_decay=0.1)
    weight = model.bert.blocks[0].attention.out_proj.weight
    other = torch.nn.Parameter(weight.detach().clone())
    theirs = torch.optim.Muon([other], lr=0.05, momentum=0.95, weight_decay=0.1, nesterov=True, adjust_lr_fn="original")
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        weight.grad = torch.randn_like(weight)
        other.grad = weight.grad.clone()
        optimizer.step(), theirs.step()
    assert torch.allclose(weight, other, atol=2e-3)  # theirs computes in bf16


def test_the_state_of_muon_is_saved_and_loaded():
    model, optimizer = small_model()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    again, fresh = small_model()
    again.load_state_dict(model.state_dict())
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # else both would update the same tensors
    for some, its in ((model, optimizer), (again, fresh)):
        torch.manual_seed(5)
        for p in some.parameters():
            p.grad = torch.randn_like(p)
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


@torch.no_grad()
def test_a_step_of_muon_that_may_not_be_asked_about_changes_nothing_or_all():
    """As on a GPU: whether the gradient is broken is a tensor that nobody reads."""
    for taken in (1.0, 0.0):
        (model, optimizer), (twin, plain) = small_model(), small_model()
        for step in range(2):
            for p, other in zip(model.parameters(), twin.parameters()):
                torch.manual_seed(step)
                other.grad = torch.randn_like(other)
                p.grad = other.grad * (1.0 if taken or step == 0 else float("nan"))
            if step == 1 and not taken:
                optimizer._step_matrices(optimizer.param_groups[2], torch.zeros(()))
            else:
                optimizer._step_matrices(optimizer.param_groups[2], torch.ones(()))
                plain._step_matrices(plain.param_groups[2], None)
        for p, other in zip(optimizer.param_groups[2]["params"], plain.param_groups[2]["params"]):
            assert torch.equal(p, other) and torch.equal(optimizer.state[p]["mean"], plain.state[other]["mean"])


def test_an_overflow_in_fp16_changes_no_weight_under_muon():
    model, optimizer = small_model()
    scaler = torch.amp.GradScaler("cpu")
    before = [p.detach().clone() for p in model.parameters()]
    loss = sum((p * p).sum() for p in model.parameters())
    scaler.scale(loss).backward()
    model.head.bias.grad[0] = float("inf")
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))

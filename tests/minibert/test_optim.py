"""Parameter groups, schedules and Muon, with numbers worked by hand and a slow twin."""
import copy
import math

import pytest
import torch

from minibert.config import FAMILIES, BertConfig, TrainConfig
from minibert.model import BertForMaskedLM
from minibert.optim import (
    lr_multiplier,
    make_optimizer,
    orthogonalize,
    parameter_groups,
    relative_rates,
    weight_scales,
)


def small_model(family="modernbert"):
    torch.manual_seed(1)
    return BertForMaskedLM(BertConfig(
        family=family, vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=20, type_vocab_size=0))


def with_muon(**options):
    model = small_model()
    config = TrainConfig(optimizer="muon", precision="fp32", **options)
    return model, make_optimizer(model, config)


def set_random_gradients(model, seed):
    torch.manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn_like(p)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_matrices_and_embeddings_are_decayed(family):
    model = small_model(family)
    names = {p: name for name, p in model.named_parameters()}
    decayed, plain = ({names[p] for p in group["params"]}
                      for group in parameter_groups(model, 0.01))
    assert decayed | plain == set(names.values())
    assert plain == {name for name in names.values() if "norm" in name or name.endswith("bias")}


def test_frozen_parameters_are_in_no_group():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(layer, 0.1)] == [1, 0]


def test_a_step_of_adamw_worked_by_hand():
    """The first step moves by the learning rate, after a decay of learning rate x weight_decay."""
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5, adam_epsilon=1e-12)
    optimizer = make_optimizer(layer, config)
    layer.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1, abs=1e-6)
    assert optimizer.defaults["betas"] == (0.9, 0.98)


def test_the_scale_of_a_weight_is_its_root_mean_square_and_of_a_vector_the_median():
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 1) for _ in range(3)))
    for layer, size in zip(model, (3.0, 4.0, 0.0)):
        torch.nn.init.constant_(layer.weight, size)
        torch.nn.init.constant_(layer.bias, 9.0)
    model[0].weight.data[0, 0] = -1.0  # (1 + 9) / 2 = 5
    scales = weight_scales(model)
    assert scales[model[0].weight] == pytest.approx(math.sqrt(5))
    assert scales[model[1].weight] == pytest.approx(4)
    # The median of sqrt(5) and 4; a matrix of zeros has no size
    for typical in (model[0].bias, model[2].bias, model[2].weight):
        assert scales[typical] == pytest.approx((math.sqrt(5) + 4) / 2)


def test_relative_rates_follow_the_scales_and_the_same_share_decays():
    """0.08 is four times a fresh weight: four times the rate."""
    layer = torch.nn.Linear(2, 1)
    optimizer = make_optimizer(layer, TrainConfig(learning_rate=1e-3, weight_decay=0.4))
    relative_rates(optimizer, {layer.weight: 0.5, layer.bias: 0.5})  # the second call replaces it
    relative_rates(optimizer, {layer.weight: 0.08, layer.bias: 0.02})
    matrix, vector = optimizer.param_groups
    assert matrix["peak_lr"] == pytest.approx(4e-3)
    assert matrix["peak_lr"] * matrix["weight_decay"] == pytest.approx(1e-3 * 0.4)
    assert vector["peak_lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("schedule, progress, factor", [
    ("linear", 0.0, 0.0), ("linear", 0.03, 0.5), ("linear", 0.06, 1.0), ("linear", 0.53, 0.5),
    ("linear", 1.0, 0.0), ("linear", 1.2, 0.0), ("stable", 0.03, 0.5), ("stable", 0.06, 1.0),
    ("stable", 0.7, 1.0), ("stable", 0.85, 0.5), ("stable", 1.0, 0.0)])
def test_the_learning_rate_rises_and_decays(schedule, progress, factor):
    assert lr_multiplier(progress, schedule, warmup=0.06, decay=0.3) == pytest.approx(factor)


def test_an_unknown_schedule_is_an_error():
    with pytest.raises(ValueError, match="unknown schedule 'staircase'"):
        lr_multiplier(0.5, "staircase", warmup=0.06, decay=0.3)


def test_the_learning_rate_without_warm_up_or_decay():
    assert lr_multiplier(0.0, "linear", warmup=0.0, decay=0.0) == 1.0
    assert lr_multiplier(0.99, "stable", warmup=0.1, decay=0.0) == 1.0


# Muon


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_orthogonalize_keeps_directions_and_makes_them_nearly_equal(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * 7
    for matrix, result in zip(matrices, orthogonalize(matrices)):
        u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
        singular = u.T @ result @ vt.T  # diagonal, if the directions are kept
        diagonal = singular.diagonal()
        assert torch.allclose(singular, torch.diag(diagonal), atol=1e-4)
        assert 0.6 < diagonal[values > 0.05 * values[0]].min() and diagonal.max() < 1.25
    assert orthogonalize(torch.zeros(1, 4, 4)).abs().max() == 0


@pytest.mark.parametrize("scale", [1.0, 1e-9])  # fp16 has nothing below 6e-8
@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_orthogonalize_in_sixteen_bits_is_close_to_float32(dtype, error, scale):
    torch.manual_seed(0)
    matrices = scale * torch.randn(2, 64, 48)
    exact, result = orthogonalize(matrices), orthogonalize(matrices, dtype=dtype)
    assert result.dtype == dtype and (result.float() - exact).norm() < error * exact.norm()


def test_muon_trains_the_matrices_of_blocks_and_head():
    model, optimizer = with_muon(learning_rate=1e-3, muon_learning_rate=0.03)
    names = {p: name for name, p in model.named_parameters()}
    groups = [[names[p] for p in group["params"]] for group in optimizer.param_groups]
    assert groups[0] == ["bert.embeddings.token.weight"]
    assert all("norm" in name or name.endswith("bias") for name in groups[1])
    stacked = dict(zip(groups[2], optimizer.param_groups[2]["num_stacked"]))
    expected = {"head.dense.weight": 1}
    for layer in (0, 1):
        for matrix, count in (("attention.qkv", 3), ("attention.out_proj", 1),
                              ("mlp.up_proj", 2), ("mlp.down_proj", 1)):
            expected[f"bert.blocks.{layer}.{matrix}.weight"] = count
    assert stacked == expected
    assert sum(map(len, groups)) == len(names)
    assert [group["peak_lr"] for group in optimizer.param_groups] == [1e-3, 1e-3, 0.03]


def test_two_steps_of_muon_one_matrix_at_a_time():
    """The twin: each of the stacked matrices by itself."""
    model, optimizer = with_muon(muon_learning_rate=0.05, muon_momentum=0.9, weight_decay=0.1)
    parameters = dict(model.named_parameters())
    stacked = {"bert.blocks.0.attention.qkv.weight": 3, "bert.blocks.1.mlp.up_proj.weight": 2,
               "bert.blocks.0.mlp.down_proj.weight": 1}
    expected = {name: parameters[name].detach().clone() for name in stacked}
    means = dict.fromkeys(stacked, 0.0)
    for seed in (1, 2):
        set_random_gradients(model, seed)
        grads = {name: parameters[name].grad.clone() for name in stacked}
        optimizer.step()
        for name, count in stacked.items():
            means[name] = 0.9 * means[name] + 0.1 * grads[name]
            update = 0.9 * means[name] + 0.1 * grads[name]  # Nesterov
            updates = []
            for matrix in update.chunk(count):
                factor = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
                updates.append(factor * orthogonalize(matrix[None])[0])
            expected[name] = expected[name] * (1 - 0.05 * 0.1) - 0.05 * torch.cat(updates)
            assert torch.allclose(parameters[name], expected[name], atol=1e-5), name


def test_muon_leaves_other_parameters_to_adamw():
    model, muon = with_muon(learning_rate=0.01)
    twin = small_model()
    adamw = make_optimizer(twin, TrainConfig(learning_rate=0.01, precision="fp32"))
    for one in (model, twin):  # all other parameters have no gradient, and are skipped
        one.head.bias.grad = torch.ones_like(one.head.bias)
        token = one.bert.embeddings.token.weight
        token.grad = torch.ones_like(token)
    muon.step()
    adamw.step()
    for (name, p), other in zip(model.named_parameters(), twin.parameters()):
        assert torch.equal(p, other), name


def test_the_state_of_muon_is_saved_and_loaded():
    model, optimizer = with_muon()
    set_random_gradients(model, 4)
    optimizer.step()
    other, other_optimizer = with_muon()
    other.load_state_dict(model.state_dict())
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, its_optimizer in ((model, optimizer), (other, other_optimizer)):
        set_random_gradients(one, 5)
        its_optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


@torch.no_grad()
@pytest.mark.parametrize("keep", [1.0, 0.0])
def test_on_a_gpu_a_step_with_a_nonfinite_gradient_changes_nothing(keep):
    """There the decision is a tensor whose value is never read."""
    (model, optimizer), (twin, twin_optimizer) = with_muon(), with_muon()
    for step in range(2):
        set_random_gradients(model, step)
        set_random_gradients(twin, step)
        if step == 0 or keep:
            twin_optimizer._step_matrices(twin_optimizer.param_groups[2])
            optimizer._step_matrices(optimizer.param_groups[2], torch.ones(()))
        else:
            for p in model.parameters():
                p.grad.fill_(float("nan"))
            optimizer._step_matrices(optimizer.param_groups[2], torch.zeros(()))
    for p, other in zip(optimizer.param_groups[2]["params"],
                        twin_optimizer.param_groups[2]["params"]):
        assert torch.equal(p, other)
        assert torch.equal(optimizer.state[p]["mean"], twin_optimizer.state[other]["mean"])


def test_an_overflow_in_fp16_changes_no_weight_under_muon():
    model, optimizer = with_muon()
    scaler = torch.amp.GradScaler("cpu")
    before = [p.detach().clone() for p in model.parameters()]
    loss = sum((p * p).sum() for p in model.parameters())
    scaler.scale(loss).backward()
    model.head.bias.grad[0] = float("inf")
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))

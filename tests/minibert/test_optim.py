"""Parameter groups and schedules, with numbers worked by hand."""
import pytest
import torch

from minibert.config import BertConfig, TrainConfig
from minibert.model import BertForMaskedLM
from minibert.optim import make_optimizer, parameter_groups, rate_factor


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
    assert rate_factor(progress, "linear", warmup=0.06, decay=0.3) == pytest.approx(factor)


@pytest.mark.parametrize("progress, factor", [(0.03, 0.5), (0.06, 1.0), (0.7, 1.0), (0.85, 0.5), (1.0, 0.0)])
def test_stable_holds_the_peak_and_falls_in_the_end(progress, factor):
    assert rate_factor(progress, "stable", warmup=0.06, decay=0.3) == pytest.approx(factor)


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert rate_factor(0.0, "linear", warmup=0.0, decay=0.0) == 1.0


def test_stable_without_decay_stays_at_the_peak():
    assert rate_factor(0.99, "stable", warmup=0.1, decay=0.0) == 1.0

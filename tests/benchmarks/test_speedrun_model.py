"""The speedrun's convolutions: what they compute, and training, saving and loading with them."""
import doctest
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import speedrun_model  # noqa: E402
from speedrun_model import SpeedrunModel, instead_of_bert  # noqa: E402

from minibert.config import BertConfig, TrainConfig  # noqa: E402
from minibert.formats.huggingface import from_pretrained, save_pretrained  # noqa: E402
from minibert.model import BertForMaskedLM  # noqa: E402
from minibert.optim import muon_matrices  # noqa: E402
from minibert.training.objective import make_model  # noqa: E402

CONFIG = BertConfig("modernbert", vocab_size=40, hidden_size=16, num_hidden_layers=3,
                    num_attention_heads=2, intermediate_size=16, max_position_embeddings=12,
                    local_attention=4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                    initializer_range=0.3)
IDS = torch.arange(4, 28).reshape(2, 12)
LABELS = torch.where(IDS % 3 == 0, IDS, -100)


@pytest.fixture
def model():
    """A model whose convolutions have random weights."""
    torch.manual_seed(0)
    model = SpeedrunModel(CONFIG).eval()
    for name, parameter in model.named_parameters():
        if "_conv." in name:
            parameter.data.normal_()
    return model


def test_with_weights_of_zero_the_model_is_a_modernbert(model):
    usual = BertForMaskedLM(CONFIG).eval()
    usual.load_state_dict(model.state_dict(), strict=False)
    assert not torch.allclose(model(IDS).logits, usual(IDS).logits, atol=0.1)
    fresh = SpeedrunModel(CONFIG).eval()
    usual.load_state_dict(fresh.state_dict(), strict=False)
    assert_close(fresh(IDS).logits, usual(IDS).logits)
    assert_close(fresh(IDS, labels=LABELS).loss, usual(IDS, labels=LABELS).loss)


def test_a_block_convolves_the_input_of_attention_and_of_the_mlp(model):
    block = model.bert.blocks[1]
    x = torch.randn(2, 5, 16)
    after_attention = x + block.attention(block.attention_conv(block.attention_norm(x)))
    after_mlp = after_attention + block.mlp(block.mlp_conv(block.mlp_norm(after_attention)))
    assert_close(block(x), after_mlp)


def test_the_logits_of_masked_tokens_are_those_of_all_tokens(model):
    # The last block computes only the masked tokens; its convolution reads their neighbors, too.
    masked = LABELS != -100
    assert_close(model(IDS, labels=LABELS).logits[:masked.sum()], model(IDS).logits[masked])


def test_adamw_trains_the_convolutions(model):
    # Muon is for matrices, and a convolution's two rows are no matrix that maps vectors.
    matrices = set(muon_matrices(model))
    assert len(matrices) == 3 * 4 + 1  # the linear layers of the blocks, and the head's
    assert not any(parameter in matrices for name, parameter in model.named_parameters()
                   if "_conv." in name)


def test_a_saved_model_is_loaded_with_its_convolutions(model, tmp_path):
    with instead_of_bert():
        save_pretrained(model, tmp_path)
        assert_close(from_pretrained(tmp_path)(IDS).logits, model(IDS).logits)
    with pytest.raises(ValueError, match="'SpeedrunModel' is not supported"):
        from_pretrained(tmp_path)


def test_make_model_returns_it_only_inside_of_the_context():
    with instead_of_bert():
        assert type(make_model(CONFIG, TrainConfig())) is SpeedrunModel
    assert type(make_model(CONFIG, TrainConfig())) is BertForMaskedLM


def test_the_example_in_the_docstring():
    num_failed, num_tried = doctest.testmod(speedrun_model)
    assert num_tried and not num_failed

"""The model of the record in the speedrun: a ModernBERT with two small convolutions in each block.

    x -> norm -> convolution -> attention -> + x -> norm -> convolution -> MLP -> + -> x

A convolution adds the vectors of a token's two neighbors to its own, weighted separately in each
dimension. Attention must first learn where the neighbors are; a convolution finds them from the
first step. (So et al. 2021, Primer, have one after the projections to queries, keys and values.)

It is for packed sequences: a convolution would also read padding. It is not a part of minibert,
because transformers could not load such a folder as a ModernBERT.
"""
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import torch
from torch import nn
from torch.nn import functional as F

from minibert.formats.huggingface import ARCHITECTURES
from minibert.formats.huggingface_names import MODULES
from minibert.model import BertForMaskedLM, Block, gather_positions
from minibert.training.objective import OBJECTIVES


class Convolution(nn.Module):
    """x (B, T, H) -> (B, T, H): a depthwise convolution over three tokens, at first the identity.

    >>> convolution = Convolution(1)
    >>> convolution.weight.data = torch.tensor([[0.1], [0.01]])  # left, right
    >>> convolution(torch.tensor([[[1.0], [2.0], [3.0]]])).detach().flatten()
    tensor([1.0200, 2.1300, 3.2000])
    """

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, size))  # (2, H)

    def forward(self, x):
        left = F.pad(x[:, :-1], (0, 0, 1, 0))  # (B, T, H): the vector of token t - 1
        right = F.pad(x[:, 1:], (0, 0, 0, 1))  # of token t + 1
        return x + left * self.weight[0] + right * self.weight[1]


class ConvolutionBlock(Block):
    """A pre-norm block with a convolution before attention and before the MLP."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.attention_conv = Convolution(config.hidden_size)
        self.mlp_conv = Convolution(config.hidden_size)

    def forward(self, x, attention_bias=None, rope=None, output_positions=None):
        y = self.attention_conv(self.attention_norm(x))  # (B, T, H)
        x = x + self.attention(y, attention_bias, rope)
        y = self.mlp_conv(self.mlp_norm(x))  # needs the neighbors of the masked tokens
        x, y = (gather_positions(z, output_positions) for z in (x, y))
        return x + self.mlp(y)


class SpeedrunModel(BertForMaskedLM):
    """BertForMaskedLM with these blocks."""

    def __init__(self, config):
        super().__init__(config)
        self.bert.blocks = nn.ModuleList(ConvolutionBlock(config, layer)
                                         for layer in range(config.num_hidden_layers))
        self.init_weights()


@contextmanager
def instead_of_bert():
    """Let train.py train, save and load a SpeedrunModel instead of a BertForMaskedLM."""
    objective = replace(OBJECTIVES["masked"], model=SpeedrunModel)
    tensors = {f"bert.blocks.#.{name}": f"model.layers.#.{name}"
               for name in ("attention_conv", "mlp_conv")}
    with (patch.dict(OBJECTIVES, masked=objective),
          patch.dict(ARCHITECTURES, SpeedrunModel=("modernbert", SpeedrunModel)),
          patch.dict(MODULES["modernbert"], tensors)):
        yield

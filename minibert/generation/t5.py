"""T5's variations of the encoder-decoder (Raffel et al. 2020, section 2.1), to load its models.

    RMSNorm           a norm without mean and bias (Zhang and Sennrich 2019)
    no biases         and no 1 / sqrt(hs): it is part of the initial weights
    positions         a learned number for each head and distance, added to the scores of every
                      layer; distances share 32 buckets, and there are none in cross-attention
    head              v1.0: the token embeddings, of hidden / sqrt(H); v1.1: a matrix of its own
    MLP               v1.0: ReLU; v1.1: gated GELU
"""
import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from minibert.config_fields import check_at_least, check_fraction, check_pad_token, check_positive
from minibert.generation.seq2seq import Decoder, EncoderDecoder
from minibert.model import BertModel


@dataclass(frozen=True)
class T5Config:
    """The shape of a T5; the defaults are those of t5-small (60,506,624 parameters).

    Raises ValueError for impossible sizes.
    """

    vocab_size: int = 32128
    hidden_size: int = 512
    head_size: int = 64  # not hidden_size / num_attention_heads: v1.1-small has 6 heads of 64
    intermediate_size: int = 2048
    num_hidden_layers: int = 6
    num_decoder_layers: int = 6
    num_attention_heads: int = 8
    num_buckets: int = 32
    max_distance: int = 128
    activation: str = "relu"
    gated: bool = False
    tied_head: bool = True
    scaled_head: bool = True
    hidden_dropout_prob: float = 0.1
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    pad_token_id: int = 0
    causal: bool = False

    def __post_init__(self):
        check_at_least(self, 1, "vocab_size", "hidden_size", "head_size", "intermediate_size",
                       "num_hidden_layers", "num_decoder_layers", "num_attention_heads")
        check_at_least(self, 4, "num_buckets")  # half for each side, and half of these for one each
        check_at_least(self, self.num_buckets // 2 + 1, "max_distance")
        check_fraction(self, "hidden_dropout_prob")
        check_positive(self, "layer_norm_eps", "initializer_range")
        check_pad_token(self)

    # Read by the modules of model.py and attention.py
    family = "t5"
    pre_norm = rms_norm = True
    rotary = learned_positions = embedding_norm = use_bias = scaled_scores = False
    segments = 0
    max_length = 2**31  # no limit: all far distances share a bucket

    @property
    def attention_probs_dropout_prob(self):
        return self.hidden_dropout_prob


class RelativeBias(nn.Module):
    """The number that each head adds to a score, by the distance of key and query."""

    def __init__(self, config, bidirectional):
        super().__init__()
        self.config, self.bidirectional = config, bidirectional
        self.table = nn.Embedding(config.num_buckets, config.num_attention_heads)

    def forward(self, T):
        """Return (1, nh, T, T)."""
        position = torch.arange(T, device=self.table.weight.device)
        offset = position[None, :] - position[:, None]  # key - query
        buckets = relative_buckets(offset, self.bidirectional, self.config.num_buckets,
                                   self.config.max_distance)
        return self.table(buckets).permute(2, 0, 1)[None]


def relative_buckets(offset, bidirectional, num_buckets=32, max_distance=128):
    """Return the bucket of each offset = position of the key - position of the query.

    Half of the buckets have one distance each, the others ever longer ranges, up to max_distance.
    An encoder has half of all buckets for keys to the right; a decoder sees none there.

    >>> relative_buckets(torch.tensor([0, -1, -7, -8, -127, -500, 1, 500]), True).tolist()
    [0, 1, 7, 8, 15, 15, 17, 31]
    """
    first = 0
    if bidirectional:
        num_buckets //= 2
        first = (offset > 0) * num_buckets
        distance = offset.abs()
    else:
        distance = (-offset).clamp(min=0)
    num_exact = num_buckets // 2
    # Logarithmic: bucket num_exact starts at distance num_exact, num_buckets at max_distance.
    ratio = torch.log(distance.clamp(min=1) / num_exact) / math.log(max_distance / num_exact)
    far = (num_exact + ratio * (num_buckets - num_exact)).long().clamp(max=num_buckets - 1)
    return first + torch.where(distance < num_exact, distance, far)


class T5Encoder(BertModel):
    """The encoder, with relative positions."""

    def __init__(self, config):
        super().__init__(config)
        self.relative_bias = RelativeBias(config, bidirectional=True)

    def attention_biases(self, attention_mask, T, dtype):
        hidden, _ = super().attention_biases(attention_mask, T, dtype)
        bias = self.relative_bias(T).to(dtype)
        return (bias if hidden is None else bias + hidden), None


class T5Decoder(Decoder):
    """The decoder, with relative positions in its self-attention."""

    def __init__(self, config):
        super().__init__(config, config.num_decoder_layers)
        self.relative_bias = RelativeBias(config, bidirectional=False)

    def attention_biases(self, T, dtype, device):
        hidden, _ = super().attention_biases(T, dtype, device)
        return self.relative_bias(T).to(dtype) + hidden, None


class T5Head(nn.Module):
    """The output layer: tied and scaled (v1.0), or a matrix of its own (v1.1)."""

    def __init__(self, config):
        super().__init__()
        self.scale = config.hidden_size**-0.5 if config.scaled_head else 1.0
        self.decoder = None
        if not config.tied_head:
            self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, hidden, token_embeddings):
        weight = token_embeddings if self.decoder is None else self.decoder.weight
        return F.linear(hidden * self.scale, weight)


class T5(EncoderDecoder):
    """T5 as published: an encoder-decoder with the variations above."""

    def __init__(self, config):
        super().__init__(config, T5Encoder(config), T5Decoder(config), T5Head(config))

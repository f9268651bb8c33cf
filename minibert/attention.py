"""Attention: every token takes a weighted mean of what all others say. And rotary positions, which let it see distances.

    x (B, T, H) -> queries, keys, values (B, nh, T, hs) -> weights (B, nh, T, T) -> weighted means of the values -> (B, T, H)

Sources: Vaswani et al. 2017, section 3.2; Su et al. 2021 (rotary positions); Beltagy et al. 2020, section 3.1 (the sliding window);
Warner et al. 2024, section 2.1 (which layers have one). B, T, H, nh, hs as in ``model.py``.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


def attention_by_hand(q, k, v, mask=None, dropout=0.0):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): every token takes a weighted mean of all values.

    q, k, v (B, nh, T, hs); mask added to the scores, broadcast to (B, nh, T, T), or None -> (B, nh, T, hs). With prefixes k and v are longer.
    """
    return F.dropout(attention_weights(q, k, mask), dropout, training=dropout > 0) @ v


def attention_weights(q, k, mask=None):
    """How much token i takes of token j: (B, nh, T, T), rows sum to 1. The arguments as in ``attention_by_hand``."""
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)  # (B, nh, T, T): how much query i wants key j
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1)


def attention_fused(q, k, v, mask=None, dropout=0.0):
    """The same in one call, which never holds the (T, T) weights of all heads at once where the device has a kernel for it."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


class Attention(nn.Module):
    """(B, T, H) -> (B, T, H): nh heads, each of which looks at the sequence through its own queries, keys and values."""

    def __init__(self, config):
        super().__init__()
        self.num_heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.use_bias)  # one large product is faster than three
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.out_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.prefix = None  # trained keys and values before those of the tokens (adapters.py)

    def forward(self, x, mask=None, rotation=None, rows=None):
        """x (B, T, H); mask as ``attention_masks`` makes it; rotation: cos and sin (T, hs/2) of rotary positions; rows as ``gather_positions`` takes them
        -> (B, T, H), or (M, H) of these rows alone"""
        attend = attention_by_hand if x.device.type == "cpu" else attention_fused  # by hand is the faster one on a CPU
        y = attend(*self.project_qkv(x, mask, rotation), self.dropout if self.training else 0.0)  # (B, nh, T, hs)
        y = gather_positions(y.transpose(1, 2).reshape(x.shape), rows)  # heads side by side again
        return self.out_dropout(self.out_proj(y))

    def project_qkv(self, x, mask=None, rotation=None):
        """As in ``forward`` -> queries, keys, values, each (B, nh, T, hs), and the mask; with a prefix, keys and values are p longer."""
        B, T, H = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.num_heads, H // self.num_heads).permute(2, 0, 3, 1, 4)  # (3, B, nh, T, hs)
        qk, v = qkv.split((2, 1))  # queries and keys together, since both are turned
        if rotation is not None:
            qk = apply_rotary(qk, *rotation)
        (q, k), v = qk, v.squeeze(0)
        if self.prefix is not None:
            k, v, mask = self.prefix(k, v, mask)
        return q, k, v, mask

    def weights(self, x, mask=None, rotation=None):
        """What ``forward`` weighs the values with, for those who want to look: x, mask, rotation -> (B, nh, T, T)"""
        queries, keys, _, mask = self.project_qkv(x, mask, rotation)
        return attention_weights(queries, keys, mask)


def gather_positions(x, rows):
    """x (B, T, H) -> (M, H), the tokens with these numbers, all B*T counted through; rows None: all of x, as it is.

    >>> gather_positions(torch.tensor([[[1.], [2.]], [[3.], [4.]]]), torch.tensor([1, 2]))
    tensor([[2.],
            [3.]])
    """
    return x if rows is None else x.flatten(0, 1).index_select(0, rows)


def attention_masks(config, attention_mask, T, dtype, device):
    """What is added to the scores: 0 where a query may look, a huge negative number where not. Made once a forward pass.

    attention_mask (B, T), 1 = token, 0 = padding, or None -> masks for the global and for the local layers, each
    broadcastable to (B, nh, T, T), or None where there is nothing to hide. Local layers (the sliding window of
    Beltagy et al. 2020, section 3.1) see local_attention // 2 tokens to each side.

    The number is half the smallest finite one: -inf would make a row without any visible key 0/0 = NaN, and so would the
    smallest one where a score of -16 in fp16 is added to it.
    """
    def additive(visible):
        if visible is None:
            return None
        return torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, torch.finfo(dtype).min / 2)

    visible = None if attention_mask is None else attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
    reach = config.local_attention // 2
    if not any_local(config) or T <= reach + 1:
        mask = additive(visible)
        return mask, mask
    position = torch.arange(T, device=device)
    near = (position[:, None] - position).abs() <= reach  # (T, T)
    return additive(visible), additive(near if visible is None else visible & near)


def is_local(config, layer):
    """ModernBERT's rhythm: layer 0 sees the whole sequence, the next ones a window, every n-th all again."""
    return config.rotary and layer % config.global_attn_every_n_layers != 0


def any_local(config):
    return any(is_local(config, layer) for layer in range(config.num_hidden_layers))


def rope_table(base, config):
    """cos and sin of every position's angles, (2, max_position_embeddings, hs/2): with each token, pair i turns by base^(-2i/hs)."""
    # Computed at construction and not saved. Real even where the model is built on the meta device, so that
    # load_state_dict(assign=True) leaves nothing without values.
    device = "cpu" if torch.empty(0).device.type == "meta" else None
    speed = 1.0 / base ** (torch.arange(0, config.head_size, 2, device=device).float() / config.head_size)  # (hs/2,)
    angle = torch.arange(config.max_position_embeddings, device=device).float()[:, None] * speed  # (positions, hs/2)
    return torch.stack((angle.cos(), angle.sin()))


def apply_rotary(x, cos, sin):
    """Turn each pair (x[i], x[i + hs/2]) by its position's angle (Su et al. 2021, section 3.2.2). x (..., T, hs); cos, sin (T, hs/2)

    The product of a query turned by m steps and a key turned by n depends on m - n alone: that is how attention
    comes to see distances.

    >>> quarter = math.pi / 2 * torch.ones(1, 1)
    >>> apply_rotary(torch.tensor([[1.0, 0.0]]), quarter.cos(), quarter.sin()).round()
    tensor([[-0., 1.]])
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

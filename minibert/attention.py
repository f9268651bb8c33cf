"""Attention: each token's output is a weighted average of all tokens' values.

    x (B, T, H) -> q, k, v (B, nh, T, hs) -> weights (B, nh, T, T) -> weights @ v -> (B, T, H)

Also here: the biases that hide padding and distant tokens, and rotary position embeddings.
In the comments: B sequences of T tokens; H = hidden_size = nh heads x hs.

Sources: Vaswani et al. 2017, section 3.2 (attention); Su et al. 2021 (rotary positions);
Beltagy et al. 2020, section 3.1 (sliding window); Warner et al. 2024, section 2.1 (ModernBERT).
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


def attention_by_hand(q, k, v, attention_bias=None, dropout=0.0):
    """Return scaled dot-product attention (B, nh, T, hs) (Vaswani et al. 2017, section 3.2.1).

    q, k, v (B, nh, T, hs); attention_bias, broadcast to (B, nh, T, T), hides keys from queries.
    """
    weights = attention_weights(q, k, attention_bias)  # (B, nh, T, T)
    weights = F.dropout(weights, dropout, training=dropout > 0)
    return weights @ v  # (B, nh, T, T) @ (B, nh, T, hs) -> (B, nh, T, hs)


def attention_weights(q, k, attention_bias=None):
    """Return how much of value j goes into output i: (B, nh, T, T), where each row sums to 1."""
    # The standard deviation of the dot product of two random vectors grows with sqrt(hs). Without
    # the division the softmax would put nearly all weight on one key, and its gradient vanish.
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)  # (B, nh, T, T)
    if attention_bias is not None:
        scores = scores + attention_bias
    return scores.softmax(dim=-1)


def attention_fused(q, k, v, attention_bias=None, dropout=0.0):
    """Return the same as ``attention_by_hand``, without holding all (T, T) weights in memory."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=attention_bias, dropout_p=dropout)


class Attention(nn.Module):
    """Multi-head self-attention: (B, T, H) -> (B, T, H)."""

    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.scaled_scores = config.scaled_scores
        inner_size = self.num_heads * config.head_size  # H in all families but T5
        # queries, keys and values in one layer: one large product is faster than three
        self.qkv = nn.Linear(config.hidden_size, 3 * inner_size, bias=config.use_bias)
        self.out_proj = nn.Linear(inner_size, config.hidden_size, bias=config.use_bias)
        self.out_dropout = nn.Dropout(config.hidden_dropout_prob)
        # Keys and values from elsewhere: set by prefix tuning (finetuning/adapters.py) and by
        # the KV cache (generation/decoding.py)
        self.prefix = None

    def forward(self, x, attention_bias=None, rope=None):
        """x (B, T, H); the bias of ``attention_biases``; rope (2, T, hs/2), see ``rope_table``."""
        return self.attend(*self.project_qkv(x, attention_bias, rope))

    def attend(self, q, k, v, attention_bias=None):
        """Return the attention's output (B, T, H) for q, k, v (B, nh, T, hs)."""
        # The two are equal up to rounding; on a CPU you can step through the first.
        attention_fn = attention_by_hand if q.device.type == "cpu" else attention_fused
        dropout = self.dropout if self.training else 0.0
        y = attention_fn(q, k, v, attention_bias, dropout)  # (B, nh, T, hs)
        y = y.transpose(1, 2).flatten(2)  # concatenate the heads: (B, T, H)
        return self.out_dropout(self.out_proj(y))

    def project_qkv(self, x, attention_bias, rope):
        """Return q, k, v (B, nh, T, hs) and the bias; a prefix makes k and v longer than q."""
        q, k, v = self.split_heads(self.qkv(x), 3)  # each (B, nh, T, hs)
        q = self.scale_queries(q)
        if rope is not None:
            # Only the scores depend on positions, so the values are not rotated.
            cos, sin = rope
            q = apply_rotary(q, cos, sin)
            k = apply_rotary(k, cos, sin)
        if self.prefix is not None:
            k, v, attention_bias = self.prefix(k, v, attention_bias)
        return q, k, v, attention_bias

    def split_heads(self, x, parts):
        """Cut x (B, T, parts x H) into parts, and these into heads, each (B, nh, T, hs)."""
        B, T, _ = x.shape
        return x.view(B, T, parts, self.num_heads, -1).permute(2, 0, 3, 1, 4)

    def scale_queries(self, q):
        """Undo the division in ``attention_weights``, in T5."""
        return q if self.scaled_scores else q * math.sqrt(q.shape[-1])

    def attention_weights(self, x, attention_bias=None, rope=None):
        """Return the attention weights that ``forward`` uses: (B, nh, T, T)."""
        q, k, _, attention_bias = self.project_qkv(x, attention_bias, rope)
        return attention_weights(q, k, attention_bias)


def attention_biases(config, attention_mask, T, dtype, device):
    """Return (bias of the global layers, bias of the local layers), made once per forward pass.

    Without local layers the second is None.

    A bias is added to the scores and broadcasts to (B, nh, T, T): 0 where a query may look, a huge
    negative number elsewhere; None if nothing is hidden. It combines the user's attention_mask
    (B, T), which is 1 for a token and 0 for padding (None: no padding), the local window, and in a
    causal model the order of the tokens.
    """
    visible = None
    global_bias = None
    position = torch.arange(T, device=device)
    distance = position[:, None] - position[None, :]  # (T, T): of query i to the left to key j
    if attention_mask is not None:
        visible = attention_mask.bool()[:, None, None, :]  # (B, 1, 1, T)
    if config.causal:
        visible = distance >= 0 if visible is None else visible & (distance >= 0)
    if visible is not None:
        global_bias = additive_bias(visible, dtype)

    if not any(is_local(config, layer) for layer in range(config.num_hidden_layers)):
        return global_bias, None
    # Local layers see local_attention // 2 tokens to each side. In a causal model, as in
    # transformers' ModernBertDecoder, the token itself is one of those to the left.
    reach = config.local_attention // 2 - config.causal
    # While a model is exported for any length, T is symbolic: keep the window in the graph.
    if isinstance(T, int) and T <= reach + 1:
        return global_bias, global_bias  # every token is within reach
    visible_local = distance.abs() <= reach  # (T, T)
    if visible is not None:
        visible_local = visible_local & visible  # (B, 1, T, T)
    return global_bias, additive_bias(visible_local, dtype)


def additive_bias(visible, dtype):
    """Turn booleans into numbers to add to the scores: True -> 0, False -> hugely negative."""
    # Not -inf: the softmax of a row without any visible key would be NaN. And half of the
    # minimum, since minimum + score can overflow in fp16: -65504 - 16 = -inf.
    blocked = torch.finfo(dtype).min / 2
    return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, blocked)


def is_local(config, layer):
    """Return whether a layer sees only a window (in ModernBERT).

    Layers 0, n, 2n, ... are global, with n = global_attn_every_n_layers; the others are local.
    """
    return config.rotary and layer % config.global_attn_every_n_layers != 0


def for_layer(pair, config, layer):
    """Return the entry of a pair (for global layers, for local layers) that a layer uses."""
    for_global, for_local = pair
    return for_local if is_local(config, layer) else for_global


def rope_table(theta, config):
    """Return cos and sin of the angle of each pair at each position, (2, positions, hs/2)."""
    # The tables are not in a checkpoint, so on the meta device nothing would fill them.
    device = "cpu" if torch.empty(0).device.type == "meta" else None
    # Pair i rotates by theta^(-2i/hs) radians per position. The first pairs rotate fast and tell
    # neighbors apart; the last ones rotate slowly and tell distant tokens apart.
    hs = config.head_size
    inv_freq = 1.0 / theta ** (torch.arange(0, hs, 2, device=device).float() / hs)  # (hs/2,)
    position = torch.arange(config.max_position_embeddings, device=device).float()
    angle = position[:, None] * inv_freq  # (max_position_embeddings, hs/2)
    return torch.stack((angle.cos(), angle.sin()))


def apply_rotary(x, cos, sin):
    """Rotate each pair (x[i], x[i + hs/2]) by the angle of its position (Su et al. 2021).

    x (..., T, hs); cos, sin (T, hs/2). The dot product of a query rotated by m steps and a key
    rotated by n steps depends only on m - n: this is how attention sees distances.

    >>> quarter_turn = torch.full((1, 1), math.pi / 2)
    >>> apply_rotary(torch.tensor([[1.0, 0.0]]), quarter_turn.cos(), quarter_turn.sin()).round()
    tensor([[-0., 1.]])
    """
    # This is the layout of LLaMA and Hugging Face (split halves). Su et al. pair neighbors, x[2i]
    # and x[2i + 1]; the two are equivalent up to a permutation.
    x1, x2 = x.chunk(2, dim=-1)  # each (..., T, hs/2)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)  # (..., T, hs)

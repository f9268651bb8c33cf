"""Count the floating-point operations of a training step from its shapes.

A matrix product (n, k) x (k, m) takes 2 n k m operations. Only matrix products are counted: norms,
activations and softmax are small next to them. The backward pass takes two products for each one of
the forward pass, so training takes three times as many (Kaplan et al. 2020, section 2.1). The share
of the machine's peak that this reaches is the model FLOPs utilization (Chowdhery et al. 2022).
"""
from minibert.attention import is_local


def forward_flops(config, lengths, num_masked):
    """Return the operations of one forward pass: {"attention", "mlp", "head"}.

    lengths: tokens of each example without padding. The MLP of the last block and the head are
    needed only for the masked tokens.

    >>> from minibert.config import BertConfig
    >>> tiny = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1,
    ...                   num_attention_heads=2, intermediate_size=16)
    >>> forward_flops(tiny, [3, 5], num_masked=2)  # 2*8*8 * 4*8 + 2*2*8 * (9 + 25), ...
    {'attention': 5184, 'mlp': 1024, 'head': 3456}
    """
    H = config.hidden_size
    num_layers = config.num_hidden_layers
    num_tokens = sum(lengths)
    num_pairs = 0  # (query, key) pairs that see each other, over all layers
    for layer in range(num_layers):
        for length in lengths:
            reach = config.local_attention // 2 if is_local(config, layer) else length
            num_pairs += num_visible_pairs(length, reach)
    # queries, keys, values and the output projection; then the scores and the weighted means
    attention = 2 * H * H * 4 * num_layers * num_tokens + 2 * 2 * H * num_pairs
    matrices = 3 if config.gated else 2  # of H x I
    mlp_tokens = (num_layers - 1) * num_tokens + num_masked
    mlp = 2 * H * config.intermediate_size * matrices * mlp_tokens
    head = 2 * num_masked * H * (H + config.vocab_size)
    return {"attention": attention, "mlp": mlp, "head": head}


def num_visible_pairs(length, reach):
    """Return how many (query, key) pairs are at most ``reach`` tokens apart.

    >>> num_visible_pairs(4, 1), num_visible_pairs(4, 9)
    (10, 16)
    """
    reach = min(reach, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def training_flops(config, lengths, num_masked):
    """Return the operations of a forward and a backward pass together."""
    return 3 * sum(forward_flops(config, lengths, num_masked).values())

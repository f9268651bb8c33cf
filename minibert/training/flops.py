"""How many operations a step needs: counted from the shapes, so that a measured time can be judged.

A matrix product (n, k) x (k, m) takes 2 n k m operations, a multiplication and an addition for each of its n k m products. Only products count:
norms, GELU and softmax are small beside them. The backward pass takes two products for each one of the forward pass (the gradient of either
factor), so training takes three times as many (Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B, call the share of the
machine's rate that these reach the model FLOPs utilisation).
"""
from minibert.attention import is_local


def forward_flops(config, lengths, masked):
    """Operations of one forward pass, by part: {"attention", "mlp", "head"}.

    lengths: tokens of each example, padding left out, since nothing need be computed there.  masked: positions that the head predicts; what the
    last block does after its attention is needed for these alone (its queries are counted for all, as they are made in one product with keys and
    values; the pooler's first tokens are not counted).

    >>> from minibert.config import BertConfig
    >>> tiny = BertConfig(vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    >>> forward_flops(tiny, [3, 5], masked=2)     # 2 x 8 x 8 x (3 x 8 + 2) and 2 x 2 x 8 x (9 + 25), ...
    {'attention': 4416, 'mlp': 1024, 'head': 3456}
    """
    H, tokens = config.hidden_size, sum(lengths)
    pairs = sum(num_visible_pairs(length, config.local_attention // 2 if is_local(config, layer) else length)
                for layer in range(config.num_hidden_layers) for length in lengths)
    products = 3 if config.gated else 2  # of (H, I) matrices in the MLP
    after_attention = (config.num_hidden_layers - 1) * tokens + masked  # tokens, over all blocks
    return {"attention": 2 * H * H * (3 * config.num_hidden_layers * tokens + after_attention) + 2 * 2 * H * pairs,  # four maps; scores, means
            "mlp": 2 * after_attention * products * H * config.intermediate_size,
            "head": 2 * masked * H * (H + config.vocab_size)}


def num_visible_pairs(length, reach):
    """How many (query, key) pairs are no further apart than ``reach``.

    >>> num_visible_pairs(4, 1), num_visible_pairs(4, 9)
    (10, 16)
    """
    reach = min(reach, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def training_flops(config, lengths, masked):
    """Operations of a forward and a backward pass, all parts together."""
    return 3 * sum(forward_flops(config, lengths, masked).values())

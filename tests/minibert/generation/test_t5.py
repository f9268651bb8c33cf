"""T5: relative positions by hand and against a slow twin, and the published sizes."""
import math

import pytest
import torch

from minibert.generation.t5 import T5, RelativeBias, T5Config, relative_buckets

DISTANCES = [0, 1, 7, 8, 11, 12, 15, 16, 127, 128, 1000]


@pytest.mark.parametrize("bidirectional, offsets, expected", [
    # Half of the 32 buckets for each side: distances 0 to 7 alone, then ever longer ranges.
    (True, [-d for d in DISTANCES], [0, 1, 7, 8, 8, 9, 9, 10, 15, 15, 15]),
    (True, DISTANCES[1:], [17, 23, 24, 24, 25, 25, 26, 31, 31, 31]),
    # All 32 for the left: distances 0 to 15 alone.
    (False, [-d for d in DISTANCES], [0, 1, 7, 8, 11, 12, 15, 16, 31, 31, 31]),
    (False, DISTANCES, [0] * 11),
])
def test_buckets_by_hand(bidirectional, offsets, expected):
    assert relative_buckets(torch.tensor(offsets), bidirectional).tolist() == expected


def slow_bucket(offset, bidirectional, num_buckets, max_distance):
    """Count the ranges: n exact buckets, and n that end at n (max / n)^(1/n), (2/n), ..., (n/n)."""
    first = 0
    if bidirectional:
        num_buckets //= 2
        first = num_buckets if offset > 0 else 0
        distance = abs(offset)
    else:
        distance = max(-offset, 0)
    n = num_buckets // 2
    if distance < n:
        return first + distance
    num_far = num_buckets - n
    passed = sum(distance >= n * (max_distance / n) ** (k / num_far) * (1 - 1e-9)
                 for k in range(1, num_far))
    return first + n + passed


@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (8, 20), (32, 100)])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_equal_those_of_a_slow_twin(bidirectional, num_buckets, max_distance):
    offsets = torch.arange(-300, 301)
    expected = [slow_bucket(i, bidirectional, num_buckets, max_distance) for i in offsets.tolist()]
    buckets = relative_buckets(offsets, bidirectional, num_buckets, max_distance).tolist()
    # A float32 logarithm may round a boundary itself to either side, here and in transformers.
    wrong = [i for i, a, b in zip(offsets.tolist(), buckets, expected) if a != b]
    n = num_buckets // (4 if bidirectional else 2)
    boundaries = {round(n * (max_distance / n) ** (k / n), 6) for k in range(n)}
    assert all(abs(i) in boundaries for i in wrong)


def test_a_bias_depends_on_the_distance_alone_and_on_the_head():
    config = T5Config(num_attention_heads=2, num_buckets=8, max_distance=20)
    bias = RelativeBias(config, bidirectional=False)(5)[0]  # (2, 5, 5)
    for i in range(5):
        for j in range(i + 1):
            assert (bias[:, i, j] == bias[:, 4, 4 - (i - j)]).all()
    assert (bias[0] != bias[1]).all()


@torch.no_grad()
def test_scores_are_not_divided_and_the_tied_head_is_scaled():
    config = T5Config(vocab_size=60, hidden_size=16, head_size=9, num_attention_heads=2)
    model = T5(config).eval()
    attention = model.bert.blocks[0].attention
    x = torch.randn(1, 3, 16)
    q, k, _ = attention.split_heads(attention.qkv(x), 3)
    expected = (q @ k.mT).softmax(-1)
    torch.testing.assert_close(attention.attention_weights(x), expected)
    expected = x @ model.bert.embeddings.token.weight.T / math.sqrt(16)
    torch.testing.assert_close(model.logits(x), expected)


@pytest.mark.parametrize("sizes, expected", [
    ({}, 60_506_624),  # t5-small
    ({"intermediate_size": 1024, "num_hidden_layers": 8, "num_decoder_layers": 8,
      "num_attention_heads": 6, "activation": "gelu_tanh", "gated": True, "tied_head": False,
      "scaled_head": False}, 76_961_152),  # t5-v1_1-small
])
def test_published_models_have_their_published_number_of_parameters(sizes, expected):
    with torch.device("meta"):
        assert T5(T5Config(**sizes)).num_parameters() == expected

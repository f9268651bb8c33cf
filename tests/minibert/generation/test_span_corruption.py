"""Span corruption: input and target together give back the text; shares, lengths and draws."""
import numpy as np
import pytest

from minibert.generation.span_corruption import SpanCorruption, noise_sizes, random_lengths

PAD, START, END = 0, 1, 2
SENTINEL_IDS = tuple(range(900, 1000))


def corruption(sentinel_ids=SENTINEL_IDS):
    return SpanCorruption(1000, (PAD, START, END, *sentinel_ids), sentinel_ids, PAD)


def row(length, seed=0):
    """Return <s>, a text of random tokens, </s>: (1, length + 2)."""
    ids = np.random.default_rng(seed).integers(3, 900, length)
    return np.array([[START, *ids, END]])


def restored(inputs, labels):
    """Put the spans of the target where their sentinels are in the input."""
    spans, span = {}, None
    for i in labels:
        if i in SENTINEL_IDS:
            span = spans[i] = []
        elif i not in (END, -100):
            span.append(i)
    text = []
    for i in inputs:
        text += spans.get(i, [i])
    return text


@pytest.mark.parametrize("length", [*range(20), *range(20, 201, 9)])
def test_input_and_target_together_give_back_the_text(length):
    for seed in range(5):
        ids = row(length, seed)
        (inputs,), (labels,) = corruption()(ids, seed, 0, [seed])
        assert restored(inputs.tolist(), labels.tolist()) == ids[0].tolist()
        sentinels = [i for i in inputs.tolist() if i in SENTINEL_IDS]
        assert sentinels == [i for i in labels.tolist() if i in SENTINEL_IDS]
        assert sentinels == list(SENTINEL_IDS[:len(sentinels)])  # ascending, from the first on
        assert labels[-1] == END


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_of_no_or_one_token_loses_nothing(length):
    inputs, labels = corruption()(row(length), 0, 0, [0])
    assert (inputs == row(length)).all()
    assert labels.tolist() == [[END]]


@pytest.mark.parametrize("length, expected", [
    (2, (1, 1)), (10, (2, 1)), (20, (3, 1)), (100, (15, 5)), (512, (77, 26))])
def test_fifteen_percent_of_the_tokens_in_spans_of_three_on_average(length, expected):
    assert noise_sizes(length) == expected
    inputs, labels = corruption()(row(length), 3, 0, [0])
    num_noise, num_spans = expected
    assert inputs.shape[1] == 2 + length - num_noise + num_spans
    assert labels.shape[1] == num_noise + num_spans + 1


def test_all_ways_to_cut_are_equally_likely():
    """Five tokens in three parts of at least one: six ways."""
    draws = np.random.default_rng(0).random((6000, 4))
    ways = [tuple(random_lengths(5, 3, draw).tolist()) for draw in draws]
    counts = {way: ways.count(way) for way in set(ways)}
    assert set(counts) == {(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}
    assert min(counts.values()) > 900


def test_the_draw_depends_only_on_seed_epoch_and_example():
    ids = row(50)
    first = corruption()(ids, 1, 2, [7])[0].tolist()
    assert corruption()(ids, 1, 2, [7])[0].tolist() == first
    for seed, epoch, example in ((2, 2, 7), (1, 3, 7), (1, 2, 8)):
        assert corruption()(ids, seed, epoch, [example])[0].tolist() != first


def test_the_batch_and_its_padding_do_not_matter():
    long, short = row(50), row(20, seed=1)
    batch = np.full((2, 60), PAD)
    batch[0, :52], batch[1, :22] = long[0], short[0]
    inputs, labels = corruption()(batch, 0, 0, [3, 4])
    for i, text in enumerate((long, short)):
        (alone,), (target,) = corruption()(text, 0, 0, [3 + i])
        assert inputs[i][inputs[i] != PAD].tolist() == alone.tolist()
        assert labels[i][labels[i] != -100].tolist() == target.tolist()
        assert (inputs[i, len(alone):] == PAD).all() and (labels[i, len(target):] == -100).all()


def test_a_text_with_more_spans_than_sentinels_is_an_error():
    with pytest.raises(ValueError, match="a text of 100 tokens has 5 spans, but there are 4 "
                                         "sentinels: lower --max-length"):
        corruption(SENTINEL_IDS[:4])(row(100), 0, 0, [0])


def first_lengths(example, epoch=0):
    """Return the length of the first kept run and of the first span of a text of 40 tokens."""
    (inputs,), (labels,) = corruption()(row(40), 0, epoch, [example])
    kept = inputs.tolist().index(SENTINEL_IDS[0]) - 1  # without <s>
    noise = labels.tolist().index(SENTINEL_IDS[1]) - 1  # without the first sentinel
    return kept, noise


def test_each_epoch_draws_both_kinds_of_lengths_again():
    now, next_time = ([first_lengths(i, epoch) for i in range(20)] for epoch in (0, 1))
    for lengths, other_lengths in zip(zip(*now), zip(*next_time)):
        assert lengths != other_lengths


def test_the_lengths_of_spans_say_nothing_about_what_is_kept():
    # The 6 tokens of 2 spans have 5 cuts, each equally likely. With one draw for both kinds, a cut
    # that the kept tokens share would always be the same.
    lengths = [first_lengths(i) for i in range(800)]
    equal = [kept == noise for kept, noise in lengths if kept <= 5]
    assert len(equal) > 50 and sum(equal) / len(equal) < 0.5

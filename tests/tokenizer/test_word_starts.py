"""Whole-word and span masking: where words begin, and what is masked together."""
import base64

import numpy as np
import pytest

from minibert.masking import (
    ACTION,
    IGNORE_INDEX,
    MAX_SPAN_WORDS,
    REPLACEMENT,
    SELECT,
    SPAN_LENGTH,
    Masker,
    span_length_survival,
    span_start_probability,
    uniform,
)
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.pretokenize import byte_characters, gpt2_words
from tokenizer.word_starts import WordStarts

TEXT = (
    "The naïve reader asks: what is a token? In 1905, three students (of 17) found 3,000 words -- "
    "and none of them was whole. Don't they know? Élan, größe and so on; see page 12b for more.\n\n"
    "A second paragraph   with spaces.\n"
) * 3
MASK, SPECIAL = 4, (0, 1, 2, 3, 4)


@pytest.mark.parametrize("vocab_size", [270, 300, 400])
def test_words_of_byte_level_bpe_are_those_of_gpt2s_pattern(vocab_size):
    tok = ByteLevelBPE.train_from_iterator([TEXT], vocab_size, show_progress=False)
    encoding = tok.encode(TEXT)
    expected = [True]
    for word in gpt2_words(TEXT):
        # For the pattern white space is one word; here each of its tokens is one.
        continuation = [word.isspace()] * (len(tok.encode_ids(word)) - 1)
        expected += [True, *continuation]
    expected.append(True)
    for i, token in enumerate(encoding.tokens):
        # 't of "don't" in two tokens, ' and t, counts as two words: the ids do not say more.
        if token == "t" and encoding.tokens[i - 1] == "'":
            expected[i] = True
    assert WordStarts(tok)(encoding.ids).tolist() == expected


def test_words_of_wordpiece():
    tok = WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "em", "##bed", "##ding", "a"])
    starts = WordStarts(tok)([[2, 5, 6, 7, 8, 3, 6, 0]])
    assert starts.tolist() == [[True, True, False, False, True, True, True, True]]


@pytest.mark.parametrize("text, expected", [
    ("abcdefgh", [0]),  # a word of eight tokens is not too long
    ("abcdefghi", range(9)),
    ("ab\u0e01\u0e02\u0e03cd", [0, 1, 2, 5, 8, 11, 12]),  # three bytes a character
    ("abcd.efgh.ij", [0, 4, 5, 9, 10]),  # twelve tokens without a space are not too many
    ("abcd.efgh.ijk", range(13)),
    ("abcd.efgh ij.k", [0, 4, 5, 9, 12, 13]),
])
def test_text_without_spaces_is_cut_at_characters(text, expected):
    tok = ByteLevelBPE(byte_characters(), [], [])
    ids = tok.encode_ids(text)
    others = tok.encode_ids(" xyz" * len(text))[: len(ids)]
    starts = WordStarts(tok)(np.array([ids, others]), cut_long=True)
    assert np.flatnonzero(starts[0]).tolist() == list(expected)
    assert starts[1].tolist() == WordStarts(tok)(others).tolist()


def test_a_token_with_the_end_of_one_character_and_the_start_of_another_begins_a_piece():
    tok = ByteLevelBPE.train_from_iterator(["\u0e01" * 99], 400, show_progress=False)
    texts = [tok.token_text(token, errors="surrogateescape") for token in tok.get_vocab()]
    across = next(i for i, text in enumerate(texts) if text[0] > "\udc7f" and "\udce0" in text)
    assert WordStarts(tok)([[across] * 9], cut_long=True).all()


def test_words_of_text_with_spaces_are_not_cut():
    tok = ByteLevelBPE.train_from_iterator([TEXT], 400, show_progress=False)
    ids = tok.encode_ids(TEXT)
    assert WordStarts(tok)(ids, cut_long=True)[1:].tolist() == WordStarts(tok)(ids)[1:].tolist()


def thai(rng):
    return " ".join("".join(map(chr, rng.integers(0x0E01, 0x0E2E, 40))) for _ in range(300))


def chinese(rng):
    """Phrases of 4 to 8 characters, some characters much more frequent than others."""
    characters = 0x4E00 + rng.zipf(1.3, 20_000) % 2000
    for i in np.cumsum(rng.integers(5, 10, 2000)):
        characters[i] = ord("\u3002")
    return "".join(map(chr, characters))


def base64_lines(rng):
    return base64.encodebytes(rng.bytes(20_000)).decode()


@pytest.mark.parametrize("masking", ["words", "spans"])
@pytest.mark.parametrize("text", [thai, chinese, base64_lines])
def test_text_without_spaces_has_no_more_sequences_without_a_target_than_text_with_spaces(
        text, masking):
    text = text(np.random.default_rng(0))
    tok = ByteLevelBPE.train_from_iterator([text], 1000, show_progress=False)
    ids = np.array(tok.encode_ids(text))[:10_240]

    def shares(starts, length):
        """Return the share of packed sequences without a target, and the share of masked tokens."""
        mask = Masker(1000, MASK, SPECIAL, 0.15, masking, starts)
        sequences = ids[: len(ids) // length * length].reshape(-1, length)
        labels = [mask(sequences, 0, epoch, np.arange(len(sequences)))[1] for epoch in range(10)]
        is_masked = np.array(labels) != IGNORE_INDEX
        return (~is_masked.any(2)).mean(), is_masked.mean()

    for length in (16, 32, 64, 128):
        without_target, masked = shares(WordStarts(tok), length)
        expected, _ = shares(spaced, length)
        assert without_target < expected + 0.01
        assert masked == pytest.approx(0.15, abs=0.01)


def spaced(ids, cut_long):
    """Words of 1.5 tokens on average, as in English."""
    return np.broadcast_to(np.arange(ids.shape[1]) % 3 != 1, ids.shape).copy()


def every_third(ids, cut_long):
    """A word of three tokens each, for tests."""
    return np.broadcast_to(np.arange(ids.shape[1]) % 3 == 0, ids.shape).copy()


def uneven(ids, cut_long):
    """A word at two of three ids, at each special token and at the start of a row."""
    starts = (ids % 3 != 0) | np.isin(ids, SPECIAL)
    starts[:, 0] = True
    return starts


def masker(masking, probability=0.15, starts=every_third):
    return Masker(1000, MASK, SPECIAL, probability, masking, starts)


def test_the_tokens_of_a_word_are_masked_together():
    ids = np.random.default_rng(0).integers(5, 1000, (500, 300))
    corrupted, labels = masker("words")(ids, 0, 0, np.arange(500))

    def of_words(flags):
        """Return which words all of whose tokens are True; no word may have only some."""
        flags = flags.reshape(500, 100, 3)
        assert (flags.all(-1) == flags.any(-1)).all()
        return flags.all(-1)

    chosen = of_words(labels != IGNORE_INDEX)
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    assert of_words(corrupted == MASK)[chosen].mean() == pytest.approx(0.8, abs=0.02)
    same = (corrupted == ids).reshape(500, 100, 3).all(-1)
    assert same[chosen].mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("masking", ["words", "spans"])
def test_special_tokens_and_padding_are_never_masked(masking):
    ids = np.random.default_rng(1).integers(0, 20, (50, 60))
    corrupted, labels = masker(masking, 0.5, uneven)(ids, 0, 0, np.arange(50))
    special = np.isin(ids, SPECIAL)
    assert (labels[special] == IGNORE_INDEX).all()
    assert (corrupted[special] == ids[special]).all()
    assert (labels[~special] != IGNORE_INDEX).any()


@pytest.mark.parametrize("masking", ["words", "spans"])
def test_a_mask_does_not_depend_on_padding_or_the_rest_of_the_batch(masking):
    ids = np.random.default_rng(2).integers(5, 1000, (3, 60))
    mask = masker(masking, 0.3, uneven)
    together, _ = mask(ids, 0, 2, [10, 11, 12])
    alone, _ = mask(np.pad(ids[1:2], ((0, 0), (0, 24)), constant_values=1), 0, 2, [11])
    assert (together[1] == alone[0, :60]).all()


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_spans_cover_the_requested_share_in_runs_of_words(probability):
    ids = np.random.default_rng(3).integers(5, 1000, (300, 900))
    _, labels = masker("spans", probability)(ids, 0, 0, np.arange(300))
    words = (labels != IGNORE_INDEX).reshape(300, 300, 3)
    assert (words.all(-1) == words.any(-1)).all()
    words = words.all(-1)
    assert words.mean() == pytest.approx(probability, rel=0.05)
    # A run of masked words begins where one is masked and the word before it is not.
    num_runs = (words & ~np.pad(words, ((0, 0), (1, 0)))[:, :-1]).sum()
    assert words.sum() / num_runs > 3.7  # a span has 3.8 words, and some touch


@pytest.mark.parametrize("length", range(3, 9))
def test_spans_fit_into_rows_shorter_than_the_longest_span(length):
    """One to six words are fewer than a span may have. At probability 1 all are selected."""
    _, labels = masker("spans", 1, uneven)(np.array([[0, *range(10, 8 + length), 2]]), 0, 0, [0])
    assert (labels != IGNORE_INDEX).tolist() == [[False, *[True] * (length - 2), False]]


@pytest.mark.parametrize("probability", [0.15, 0.3])
def test_spans_cover_each_word_of_a_short_row_equally_often(probability):
    """The first word of a row and the first after [SEP] are no exceptions."""
    ids = np.full((20_000, 18), 10)
    ids[:, [0, 11, 17]] = 2
    mask = masker("spans", probability, lambda ids, cut_long: np.ones(ids.shape, bool))
    _, labels = mask(ids, 0, 0, np.arange(20_000))
    share = (labels != IGNORE_INDEX)[:, ids[0] == 10].mean(0)  # (15,): of each word
    # Four standard deviations at 0.3.
    assert share == pytest.approx(np.full(15, probability), abs=0.013)
    assert share.mean() == pytest.approx(probability, abs=0.005)


def test_spans_agree_with_a_walk_from_word_to_word():
    """A slow version: walk over nine words before the row, then those of the row.

    At each word draw whether a span starts. A span covers the words up to its length or the end.
    """
    ids = np.random.default_rng(4).integers(0, 60, (20, 80))
    mask = masker("spans", 0.4, uneven)
    corrupted, labels = mask(ids, 7, 8, np.arange(20) + 5)
    start_probability = span_start_probability(0.4)
    survival = span_length_survival()

    def draws(row, purpose):
        """Return {position: uniform number}, from nine positions before the row on."""
        return dict(zip(range(-9, 80), uniform(7, 8, [row + 5], 80, purpose, before=9)[0]))

    for b in range(20):
        select = draws(b, SELECT)
        action = draws(b, ACTION)
        replacement = draws(b, REPLACEMENT)
        length_draws = draws(b, SPAN_LENGTH)
        special = np.isin(ids[b], SPECIAL)
        starts = np.flatnonzero(uneven(ids, cut_long=True)[b]).tolist()
        words = [range(t, t + 1) for t in range(-9, 0)]
        words += [range(start, end) for start, end in zip(starts, [*starts[1:], 80])]
        action_of = {}  # position -> what happens to the span that covers it
        for w, word in enumerate(words):
            if select[word[0]] < start_probability:
                draw = length_draws[word[0]]
                length = 1 + sum(draw < survival[k] for k in range(1, MAX_SPAN_WORDS))
                for covered in words[w : w + length]:
                    action_of.update(dict.fromkeys(covered, action[word[0]]))
        for t in range(80):
            token = ids[b, t]
            label = IGNORE_INDEX
            if t in action_of and not special[t]:
                label = token
                if action_of[t] < 0.8:
                    token = MASK
                elif action_of[t] < 0.9:
                    token = mask.ordinary_ids[int(replacement[t] * len(mask.ordinary_ids))]
            assert (corrupted[b, t], labels[b, t]) == (token, label)

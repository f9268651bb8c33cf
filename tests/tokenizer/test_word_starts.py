"""Whole-word and span masking: where words begin, and what is masked together."""
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


@pytest.mark.parametrize("word, expected", [
    ("abcdefgh", [0]),  # not too long
    ("abcdefghi", [0, 3, 6]),
    ("abcdefghij", [0, 3, 6, 9]),
    ("ab\u0e01\u0e02\u0e03cd", [0, 5, 8, 11, 12]),  # of 2 + 9 + 2 bytes: between characters
])
def test_a_long_word_is_cut_into_pieces_at_characters(word, expected):
    tok = ByteLevelBPE(byte_characters(), [], [])
    ids = tok.encode_ids(word)
    others = tok.encode_ids(" xyz" * len(word))[: len(ids)]
    starts = WordStarts(tok)(np.array([ids, others]), max_tokens=8)
    assert np.flatnonzero(starts[0]).tolist() == expected
    assert starts[1].tolist() == WordStarts(tok)(others).tolist()


@pytest.mark.parametrize("masking", ["words", "spans"])
def test_text_without_spaces_has_masked_tokens_in_nearly_every_block(masking):
    rng = np.random.default_rng(0)
    text = " ".join("".join(map(chr, rng.integers(0x0E01, 0x0E2E, 40))) for _ in range(300))
    tok = ByteLevelBPE.train_from_iterator([text], 1000, show_progress=False)
    ids = np.array(tok.encode_ids(text))
    blocks = ids[: len(ids) // 128 * 128].reshape(-1, 128)
    mask = Masker(1000, MASK, SPECIAL, 0.15, masking, WordStarts(tok))
    shares = []
    for epoch in range(10):
        _, labels = mask(blocks, 0, epoch, np.arange(len(blocks)))
        shares.append((labels != IGNORE_INDEX).mean(1))
    # Without cutting: a third. A span of 3.8 words covers more, so there are fewer of them.
    assert np.mean(np.array(shares) == 0) < (0.01 if masking == "words" else 0.2)
    assert abs(np.mean(shares) - 0.15) < 0.02


def every_third(ids, max_tokens):
    """A word of three tokens each, for tests."""
    return np.broadcast_to(np.arange(ids.shape[1]) % 3 == 0, ids.shape).copy()


def uneven(ids, max_tokens):
    return ids % 3 != 0


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
    mask = masker("spans", probability, lambda ids, max_tokens: np.ones(ids.shape, bool))
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
        starts = [t for t in range(80) if t == 0 or special[t] or ids[b, t] % 3]
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

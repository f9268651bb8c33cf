"""Word boundaries of byte arrays: by hand, and against the patterns on difficult texts."""
import random

import numpy as np
import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer.fast.unit_table import UnitTable, join_texts
from tokenizer.fast.word_boundaries import (
    bert_boundaries,
    bert_boundaries_without_cjk,
    gpt2_boundaries,
)
from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import GPT2_PATTERN, bert_words, gpt2_words
from tokenizer.wordpiece import normalized_words

HARD = ["a", "b,", "é", "“", "\n", "\n", "\r", "\t", "\x0b", "\x1c", "\x7f", "\x00", "\x85", "\xa0",
        "\u3000", "\u200b", "'s", "'", "''", "'re", "'ve", "'ll", "'d", "l", "e", "1", "²", "İ",
        "漢", "x" * 9, "y" * 20, *[" "] * 12]


def hard_texts(count, seed=5):
    rng = random.Random(seed)
    return ["".join(rng.choices(HARD, k=rng.randint(0, 14))) for _ in range(count)]


def around(codes):
    """Return a text for each character, with other characters on both sides of it."""
    return [f"a{char}b {char}{char} {char}'s.{char}1{char} “{char}é  {char}中{char}"
            for char in map(chr, codes)]


ALL = [code for code in range(0x20, 0x110000) if not 0xD800 <= code < 0xE000]
SAMPLE = [*range(0x20, 0x3100), *random.Random(4).sample(ALL, 6000)]


@pytest.mark.slow
def test_every_character():
    texts = around(ALL)
    for text, units in zip(texts, units_of(texts, gpt2_boundaries)):
        assert [word for unit in units for word in gpt2_words(unit)] == GPT2_PATTERN.findall(text)
    for normalizer in (BertNormalizer(), BertNormalizer(lowercase=False)):
        assert_same_bert_words(normalizer, texts, bert_boundaries)


def assert_same_bert_words(normalizer, texts, boundaries):
    for text, units in zip(texts, units_of(texts, boundaries)):
        normal, _ = normalizer.normalize(text)
        words = [word for unit in units for word in normalized_words(normalizer, unit)]
        assert words == [normal[start:end] for start, end in bert_words(normal)]


def units_of(texts, boundaries):
    """Split all texts at once; return a list of units for each text."""
    data, text_starts = join_texts(texts)
    begins = np.zeros(len(data), bool)
    begins[text_starts] = True
    starts = np.flatnonzero(boundaries(data, begins))
    raw = data.tobytes()
    result = []
    for first, last in zip(text_starts, text_starts[1:]):
        edges = [*starts[(starts >= first) & (starts < last)].tolist(), last]
        result.append([raw[a:b].decode() for a, b in zip(edges, edges[1:])])
    return result


@pytest.mark.parametrize("text, units", [
    ("It is,\nit", ["It", " is", ",", "\n", "it"]),
    ("a  b", ["a", " ", " b"]),
    ("a \n\nb  ", ["a", " \n", "\n", "b", "  "]),
    ("it's IT'S we'll", ["it", "'s", " IT", "'", "S", " we", "'ll"]),
    ("'real 'tis x''s 5'd", ["'re", "al", " '", "tis", " x", "''", "s", " 5", "'d"]),
    ("3rd 1,000", ["3", "rd", " 1", ",", "000"]),
    ("he said “né”, no", ["he", " said", " “", "né", "”,", " no"]),
    ("a ×b, 漢字b c", ["a", " ×", "b", ",", " 漢字b", " c"]),
    ("жук 🙂🙂!½", ["жук", " 🙂🙂!", "½"]),
    ("a\u3000b_c d", ["a\u3000b_c", " d"]),  # multi-byte white space does not split
    ("", []),
])
def test_gpt2_boundaries_by_hand(text, units):
    # The texts before and after do not matter.
    assert units_of(["x", text, "'s"], gpt2_boundaries) == [["x"], units, ["'s"]]


def test_no_contraction_spans_two_texts():
    texts = ["x'r", "ex", "x'", "sx", "x'l", "lx", "'", "re"]
    assert units_of(texts, gpt2_boundaries) == [
        ["x", "'", "r"], ["ex"], ["x", "'"], ["sx"], ["x", "'", "l"], ["lx"], ["'"], ["re"]]


def test_bert_boundaries_by_hand():
    assert units_of(["It's  3rd\n($5.50)", "a\x00b, é—‘c d"], bert_boundaries) == [
        ["It", "'", "s", "  3rd", "\n(", "$", "5", ".", "50", ")"],
        ["a\x00b", ",", " é", "—", "‘", "c", " d"]]
    # U+1FEF becomes `, a punctuation mark, when accents are stripped.
    assert units_of(["жук漢字b\u3000c", "a\u1fefb, c"], bert_boundaries) == [
        ["жук", "漢", "字", "b", "\u3000c"], ["a\u1fefb,", " c"]]
    assert units_of(["жук漢字b\u3000c"], bert_boundaries_without_cjk) == [
        ["жук漢字b", "\u3000c"]]


def test_the_words_of_units_are_the_words_of_the_text():
    texts = random_texts(500) + hard_texts(2000) + STORY.splitlines() + around(SAMPLE[::9])
    for text, units in zip(texts, units_of(texts, gpt2_boundaries)):
        assert "".join(units) == text
        assert [word for unit in units for word in gpt2_words(unit)] == GPT2_PATTERN.findall(text)


@pytest.mark.parametrize("settings", [(True,), (False,), (True, False), (False, True, False)])
def test_units_do_not_change_the_words_of_bert(settings):
    normalizer = BertNormalizer(*settings)
    seed = len(settings)
    texts = random_texts(200, seed=seed) + hard_texts(500) + around(SAMPLE[seed::27])
    boundaries = bert_boundaries
    if not normalizer.tokenize_chinese_chars:
        boundaries = bert_boundaries_without_cjk
    assert_same_bert_words(normalizer, texts, boundaries)


def test_each_unit_has_one_index_despite_hash_collisions(monkeypatch):
    rng = random.Random(6)
    texts = [" ".join("".join(rng.choices("ab", k=rng.randint(1, 20))) for _ in range(50))
             for _ in range(40)]
    for bits in (1, 3, 20):  # with one bit nearly everything collides
        monkeypatch.setattr("tokenizer.fast.unit_table.HASH_BITS", bits)
        units = UnitTable(gpt2_boundaries)
        for _ in range(2):
            for text in texts:
                indices, _ = units.find(*join_texts([text]))
                found = [units.since(i)[0].decode() for i in indices[:60]]
                assert found == units_of([text], gpt2_boundaries)[0][:60]
    assert len(set(units.since(1))) == len(units)


def test_units_of_one_to_eighteen_bytes_differ():
    texts = ["a" * length for length in range(1, 19)]
    texts += ["a" * 8 + "\x00", "a" * 15 + "b", "b" + "a" * 15]
    # The ninth of 17 bytes is neither among the first eight nor among the last eight.
    texts.append("a" * 8 + "b" + "a" * 8)
    units = UnitTable(gpt2_boundaries)
    for _ in range(2):
        indices = [units.find(*join_texts([text]))[0].tolist() for text in texts]
        assert len(set(map(tuple, indices))) == len(texts)

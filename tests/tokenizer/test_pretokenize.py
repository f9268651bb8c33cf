"""Cutting text into words, with cases worked by hand."""
import pytest
from tokenizer_samples import random_texts

from tokenizer.pretokenize import GPT2_PATTERN, bert_words, byte_characters, gpt2_words, utf8


@pytest.mark.parametrize("text, words", [
    ("a \n\nb  ", ["a", " \n", "\n", "b", "  "]),
    ("3rd 1,000", ["3", "rd", " 1", ",", "000"]),
    # Contractions are found in lower case only.
    ("it's IT'S we'll", ["it", "'s", " IT", "'", "S", " we", "'ll"]),
    ("I'd I'm don't", ["I", "'d", " I", "'m", " don", "'t"]),
    ("you've they're", ["you", "'ve", " they", "'re"]),
    # Of two white spaces before a letter, the last is a word.
    ("x\r\ny", ["x", "\r", "\n", "y"]),
    ("a\tb", ["a", "\t", "b"]),
    ("a\u2028b", ["a", "\u2028", "b"]),
    ("\x00", ["\x00"]),
    ("a   b", ["a", "  ", " b"]),
    ("", []),
])
def test_gpt2_words_by_hand(text, words):
    assert gpt2_words(text) == words


@pytest.mark.parametrize("later, known", [
    ("\u088f", "\u0640"), ("\U000323b0", "\U000313b0"), ("\U00011de0", "5"),
])
def test_letters_and_numbers_newer_than_unicode_16_are_neither(later, known):
    same, other = ("1", "a") if known == "5" else ("a", "1")
    assert gpt2_words(f"{same}{known} {known}{other}") == [f"{same}{known}", f" {known}", other]
    assert gpt2_words(f"{same}{later} {later}!{other}") == [same, later, f" {later}!", other]


def test_gpt2_words_lose_nothing_and_the_ascii_pattern_agrees():
    for text in random_texts(3000):
        assert "".join(gpt2_words(text)) == text
        assert gpt2_words(text) == GPT2_PATTERN.findall(text)


def test_the_256_byte_characters():
    table = byte_characters()
    assert len(set(table)) == 256 and not any(char.isspace() for char in table)
    # U+0100, U+010A, U+0120 and U+0143
    assert [table[byte] for byte in (0, 10, 32, 173)] == ["Ā", "Ċ", "Ġ", "Ń"]
    assert table[33:127] == "".join(map(chr, range(33, 127))) and table[255] == "ÿ"


@pytest.mark.parametrize("text, words", [
    ("isn't it, $5.50?", ["isn", "'", "t", "it", ",", "$", "5", ".", "50", "?"]),
    ("5€ 20° №1 2×3", ["5€", "20°", "№1", "2×3"]),  # symbols outside ASCII are not punctuation
    ("«a»—b…", ["«", "a", "»", "—", "b", "…"]),
    ("  ", []),
    # DASH WITH LEFT UPTURN is punctuation since Unicode 9; the library knows Unicode 8.
    ("a\u2e43b", ["a\u2e43b"]),
    ("a\u166db", ["a", "\u166d", "b"]),  # a symbol now, punctuation then
])
def test_bert_words_by_hand(text, words):
    assert [text[start:end] for start, end in bert_words(text)] == words


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800.* in 'ab.ud800'"):
        utf8("ab\ud800")

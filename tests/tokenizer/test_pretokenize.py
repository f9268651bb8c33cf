"""Cutting text into words, with cases worked by hand."""

import pytest
from tokenizer_samples import random_texts

from tokenizer.pretokenize import GPT2_PATTERN, bert_words, byte_characters, gpt2_words, utf8


def written(word):
    return "".join(byte_characters()[byte] for byte in utf8(word))


@pytest.mark.parametrize(
    "text, words",
    [
        ("a \n\nb  ", ["a", "ĠĊ", "Ċ", "b", "ĠĠ"]),
        ("3rd 1,000", ["3", "rd", "Ġ1", ",", "000"]),
        # Contractions are found in lower case only.
        ("it's IT'S we'll", ["it", "'s", "ĠIT", "'", "S", "Ġwe", "'ll"]),
        (
            "I'd I'm don't you've they're",
            ["I", "'d", "ĠI", "'m", "Ġdon", "'t", "Ġyou", "'ve", "Ġthey", "'re"],
        ),
        # Of two white spaces before a letter, the last is a word.
        ("x\r\ny", ["x", "č", "Ċ", "y"]),
        ("a\tb", ["a", "ĉ", "b"]),
        ("é", ["Ã©"]),
        ("a\u2028b", ["a", "âĢ¨", "b"]),
        ("\x00", ["Ā"]),
        ("a   b", ["a", "ĠĠ", "Ġb"]),
        ("", []),
    ],
)
def test_gpt2_words_by_hand(text, words):
    assert [written(word) for word in gpt2_words(text)] == words


@pytest.mark.parametrize(
    "later, known", [("\u088f", "\u0640"), ("\U000323b0", "\U000313b0"), ("\U00011de0", "5")]
)
def test_letters_and_numbers_newer_than_unicode_16_are_neither(later, known):
    same, other = ("1", "a") if known == "5" else ("a", "1")
    assert gpt2_words(f"{same}{known} {known}{other}") == [f"{same}{known}", f" {known}", other]
    assert gpt2_words(f"{same}{later} {later}!{other}") == [same, later, f" {later}!", other]


def test_gpt2_words_lose_nothing_and_the_ascii_pattern_agrees():
    for text in random_texts(3000):
        assert "".join(gpt2_words(text)) == text and gpt2_words(text) == GPT2_PATTERN.findall(text)


def test_the_256_byte_characters():
    table = byte_characters()
    assert len(set(table)) == 256 and not any(char.isspace() for char in table)
    assert (
        table[0] == "Ā" and table[10] == "Ċ" and table[32] == "Ġ" and table[173] == "Ń"
    )  # U+0100, 10A, 120, 143
    assert table[33:127] == "".join(map(chr, range(33, 127))) and table[255] == "ÿ"


def test_bert_words_by_hand():
    def cut(text):
        return [text[start:end] for start, end in bert_words(text)]

    assert cut("isn't it, $5.50?") == ["isn", "'", "t", "it", ",", "$", "5", ".", "50", "?"]
    assert cut("5€ 20° №1 2×3") == [
        "5€",
        "20°",
        "№1",
        "2×3",
    ]  # symbols outside ASCII are not punctuation
    assert cut("«a»—b…") == ["«", "a", "»", "—", "b", "…"]
    assert cut("  ") == cut("") == []


def test_punctuation_newer_than_unicode_8_is_treated_as_in_the_library():
    assert bert_words("a\u2e43b") == [(0, 3)]  # DASH WITH LEFT UPTURN, punctuation since Unicode 9
    assert bert_words("a\u166db") == [(0, 1), (1, 2), (2, 3)]  # a symbol now, punctuation then


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800.* in 'ab.ud800'"):
        utf8("ab\ud800")

"""BERT's normalization, step by step."""

import random
import unicodedata

import pytest
from tokenizer_samples import random_texts

from tokenizer.normalize import BertNormalizer, decompose
from tokenizer.utils.unicode_tables import COMPOSED_LATER, ORDERED_LATER


def normalized(text, **options):
    return BertNormalizer(**options).normalize(text)[0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Élan VITAL", "elan vital"),
        ("a\x00b\ufffdc\u200bd\ue000e", "abcde"),  # NUL, replacement, zero width, private use
        ("a\tb\nc\rd\xa0e\u2028f\u3000g", "a b c d e f g"),  # every white space is ' '
        ("a\x0bb\x0cc\x85d\x1ce", "abcde"),  # control characters, although they look like spaces
        (
            "中文a한국",
            " 中  文 a한국".replace("한국", unicodedata.normalize("NFD", "한국")),
        ),  # Hangul: no spaces, but NFD
        ("ß", "ß"),
        ("İ", "i"),
        ("ΣΑΣ", "σασ"),
        ("ﬁ", "ﬁ"),
        ("ǅ", "ǆ"),
        ("e\u0323\u0301", "e"),
    ],
)
def test_uncased_by_hand(text, expected):
    assert normalized(text) == expected


def test_cased_keeps_case_and_accents():
    assert normalized("Élan", lowercase=False) == "Élan"
    assert normalized("Élan", lowercase=False, strip_accents=True) == "Elan"
    assert normalized("Élan", strip_accents=False) == "élan"
    assert normalized("İ", strip_accents=False) == "i\u0307"
    assert normalized("中", tokenize_chinese_chars=False) == "中"


def test_the_cjk_block_that_google_and_the_library_start_differently():
    assert normalized("\U0002b91f", lowercase=False) == "\U0002b91f"
    assert normalized("\U0002b920", lowercase=False) == " \U0002b920 "


@pytest.mark.parametrize(
    "first, last",
    [
        ("\u3400", "\u4dbf"),
        ("\u4e00", "\u9fff"),
        ("\uf900", "\ufaff"),
        ("\U00020000", "\U0002a6df"),
        ("\U0002a700", "\U0002b81f"),
        ("\U0002b920", "\U0002ceaf"),
        ("\U0002f800", "\U0002fa1f"),
    ],
)
def test_each_cjk_block_from_its_first_character_to_its_last(first, last):
    for char in (first, last):
        assert normalized(char, lowercase=False) == f" {char} "
    for char in (chr(ord(first) - 1), chr(ord(last) + 1)):
        assert " " not in normalized(char, lowercase=False)


def test_marks_of_later_unicode_versions_stay_as_in_the_library():
    assert normalized("a\u0301b\u08d4c") == "ab\u08d4c"  # U+08D4 is a mark since Unicode 9
    assert normalized("a\u1734b") == "ab"  # and U+1734 was one then


def test_capitals_that_this_python_may_not_know_become_lower_case():
    assert (
        normalized("\u1c89 \ua7cb \U00010d50 \U00016eb8") == "\u1c8a \u0264 \U00010d70 \U00016ed3"
    )  # Unicode 16, 16, 16, 17
    assert normalized("\u2c2f \U00010570") == "\u2c5f \U00010597"  # 14
    assert normalized("\ua7dd \U0001df40") == "\ua7dd \U0001df40"  # 18: not in the reference


def test_every_character_has_its_original_position():
    assert BertNormalizer().normalize("É\x00 中x") == ("e  中 x", [0, 2, 3, 3, 3, 4])


def test_positions_stay_ascending_when_marks_are_reordered():
    """Visible only with marks that are not stripped: U+1E000, U+11C3F (marks since Unicode 9)."""
    assert BertNormalizer().normalize("a\U0001e000\u103a") == ("a\U0001e000", [0, 2])
    assert BertNormalizer().normalize("\xe9\U00011c3f") == ("e\U00011c3f", [0, 1])
    assert BertNormalizer().normalize("\ud55c\U0001e000\u103a")[1] == [
        0,
        0,
        0,
        2,
    ]  # Hangul is three letters


def test_decompose_equals_unicode_nfd():
    rng = random.Random(5)
    marks = "ae\u0301\u0323\u0327\u0345\u05b0\u3099한éǖ\U0001d15f"
    texts = random_texts(1000, seed=4) + [
        "".join(rng.choices(marks, k=rng.randint(0, 12))) for _ in range(2000)
    ]
    for text in texts:
        chars = decompose((char, i) for i, char in enumerate(text))
        if not (COMPOSED_LATER | ORDERED_LATER) & set(text):
            assert "".join(char for char, _ in chars) == unicodedata.normalize("NFD", text)


def test_50_000_marks_in_a_row_are_fast():
    assert normalized("a" + "\u0301" * 50_000) == "a"


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ValueError, match=r"U\+DFFF.* in 'a.udfff'"):
        normalized("a\udfff")

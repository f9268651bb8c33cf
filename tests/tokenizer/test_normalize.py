"""BERT's normalization, step by step."""
import random
import unicodedata

import pytest
from tokenizer_samples import random_texts

from tokenizer.normalize import CJK_BLOCKS, BertNormalizer, decompose
from tokenizer.utils.unicode_tables import COMPOSED_LATER, ORDERED_LATER


def normalized(text, **options):
    return BertNormalizer(**options).normalize(text)[0]


@pytest.mark.parametrize("text, expected", [
    ("Élan VITAL", "elan vital"),
    ("a\x00b\ufffdc\u200bd\ue000e", "abcde"),  # NUL, replacement, zero width, private use
    ("a\tb\nc\rd\xa0e\u2028f\u3000g", "a b c d e f g"),  # every white space is ' '
    ("a\x0bb\x0cc\x85d\x1ce", "abcde"),  # control characters, although they look like spaces
    ("中文a", " 中  文 a"),
    ("한", "\u1112\u1161\u11ab"),  # Hangul: no spaces, but decomposed
    ("ß", "ß"),
    ("İ", "i"),
    ("ΣΑΣ", "σασ"),
    ("ﬁ", "ﬁ"),
    ("ǅ", "ǆ"),
    ("e\u0323\u0301", "e"),
])
def test_uncased_by_hand(text, expected):
    assert normalized(text) == expected


@pytest.mark.parametrize("lowercase, strip_accents", [
    (True, None), (True, False), (False, True), (False, None)])
def test_normalizing_parts_separately_equals_normalizing_the_whole_text(lowercase, strip_accents):
    normalizer = BertNormalizer(lowercase, strip_accents)
    hard = "aZ\t\n \0\x7f\u00c9\u0130\u03a3\u4e2d\u0301\u0323\u0344\u0345\u1e00\u0f77\ufffd\u201d"
    rng = random.Random(5)
    for text in [*random_texts(250, seed=3), "".join(rng.choices(hard, k=1000)),
                 "\U0001d16d\u302e",  # the second mark moves before the first
                 *("".join(rng.choices(hard, k=8)) for _ in range(800))]:
        parts, positions = normalizer.normalize(text)
        whole, positions_of_whole = normalizer._normalize_part(text)
        assert parts == whole and list(positions) == positions_of_whole, ascii(text)
        assert normalizer.normalize_text(text) == whole, ascii(text)


def test_cased_keeps_case_and_accents():
    assert normalized("Élan", lowercase=False) == "Élan"
    assert normalized("Élan", lowercase=False, strip_accents=True) == "Elan"
    assert normalized("Élan", strip_accents=False) == "élan"
    assert normalized("İ", strip_accents=False) == "i\u0307"
    assert normalized("中", tokenize_chinese_chars=False) == "中"


@pytest.mark.parametrize("first, last", CJK_BLOCKS)
def test_each_cjk_block_from_its_first_character_to_its_last(first, last):
    for char in (chr(first), chr(last)):
        assert normalized(char, lowercase=False) == f" {char} "


def test_characters_next_to_cjk_blocks_are_not_spaced_out():
    for char in "\u33ff\u4dc0\ua000\uf8fe\ufb00\U0002a6e0\U0002b91f\U0002ceb0\U0002fa20":
        assert " " not in normalized(char, lowercase=False)


def test_marks_of_later_unicode_versions_stay_as_in_the_library():
    assert normalized("a\u0301b\u08d4c") == "ab\u08d4c"  # U+08D4 is a mark since Unicode 9
    assert normalized("a\u1734b") == "ab"  # and U+1734 was one then


@pytest.mark.parametrize("capital, small", [
    ("\u1c89", "\u1c8a"),  # Unicode 16
    ("\ua7cb", "\u0264"),
    ("\U00010d50", "\U00010d70"),
    ("\U00016eb8", "\U00016ed3"),  # 17
    ("\u2c2f", "\u2c5f"),  # 14
    ("\U00010570", "\U00010597"),
    ("\ua7dd", "\ua7dd"),  # 18: not in the reference
    ("\U0001df40", "\U0001df40"),
])
def test_capitals_that_this_python_may_not_know_become_lower_case(capital, small):
    assert normalized(capital) == small


def test_positions_stay_ascending_when_marks_are_reordered():
    """Visible only with marks that are not stripped: U+1E000, U+11C3F (marks since Unicode 9)."""
    normalize = BertNormalizer().normalize
    assert normalize("a\U0001e000\u103a") == ("a\U0001e000", [0, 2])
    assert normalize("\xe9\U00011c3f") == ("e\U00011c3f", [0, 1])
    assert normalize("\ud55c\U0001e000\u103a")[1] == [0, 0, 0, 2]  # Hangul is three letters


def test_decompose_equals_unicode_nfd():
    rng = random.Random(5)
    marks = "ae\u0301\u0323\u0327\u0345\u05b0\u3099한éǖ\U0001d15f"
    texts = random_texts(300, seed=4)
    texts += ["".join(rng.choices(marks, k=rng.randint(0, 12))) for _ in range(700)]
    for text in texts:
        chars = decompose((char, i) for i, char in enumerate(text))
        if not (COMPOSED_LATER | ORDERED_LATER) & set(text):
            assert "".join(char for char, _ in chars) == unicodedata.normalize("NFD", text)


def test_50_000_marks_in_a_row_are_fast():
    assert normalized("a" + "\u0301" * 50_000) == "a"


def test_a_lone_surrogate_is_refused():
    for normalize in (BertNormalizer().normalize, BertNormalizer().normalize_text):
        with pytest.raises(ValueError, match=r"U\+DFFF.* in 'a.udfff'"):
            normalize("a\udfff")

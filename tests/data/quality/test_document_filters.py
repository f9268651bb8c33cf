"""Each filter at its threshold, by hand."""
import unicodedata

import pytest

from data.quality.document_filters import (
    Duplicates,
    is_foreign,
    is_markup,
    is_repetitive,
    is_short,
    repeated_ngram_characters,
    repetition,
)
from data.quality.near_duplicates import NearDuplicates, jaccard

PROSE = " ".join(f"word{n}" for n in range(60))  # nothing in it is repeated


def shares(text):
    return {name: share for name, share, _ in repetition(text)}


def test_short_counts_words():
    assert is_short("one two\nthree  four")
    assert not is_short("one two\nthree  four\tfive")
    assert is_short("one two three", min_words=4)
    assert not is_short("one two three", min_words=3)


def test_repeated_lines_count_from_the_second_time_on():
    # One of four lines is repeated, with other white space: 5 of 20 characters.
    text = "ab cd\nabcdef\n\nab  cd\nuvwx"
    assert shares(text) == {"lines": 1 / 4, "characters of lines": 5 / 20}
    assert is_repetitive(text)
    assert not is_repetitive("ab\nabcdefgh\nab\nuvwx")  # 2 of 16 characters
    assert is_repetitive("a\na\nb")
    assert not is_repetitive("a\nb\nc")
    assert not is_repetitive("")


def text_with_passage(n, times, num_words):
    """A text of different three-letter words, with a passage of n words several times."""
    words = [f"{i:03}" for i in range(num_words - times * n)]
    passage = [letter * 3 for letter in "abcdefghij"[:n]]
    for i in range(times):
        start = i * (n + 1)
        words[start:start] = passage
    return " ".join(words)


@pytest.mark.parametrize("n, limit", [(2, 0.20), (3, 0.18), (4, 0.16)])
def test_top_ngrams_at_their_limit(n, limit):
    num_words = int(10 * n / limit)  # the passage occurs ten times
    over = text_with_passage(n, 10, num_words - 1)
    assert shares(over)[f"top {n}-gram"] == pytest.approx(10 * n / (num_words - 1))
    assert is_repetitive(over)
    assert not is_repetitive(text_with_passage(n, 10, num_words + 1))


@pytest.mark.parametrize("n, limit", [
    (5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)])
def test_repeated_ngrams_at_their_limit(n, limit):
    num_words = int(4 * n / limit)  # the passage occurs five times, so it is repeated four times
    over = text_with_passage(n, 5, num_words - 1)
    assert shares(over)[f"repeated {n}-grams"] == pytest.approx(4 * n / (num_words - 1))
    assert is_repetitive(over)
    assert not is_repetitive(text_with_passage(n, 5, num_words + 1))


def test_repeated_ngrams_count_each_character_once():
    assert repeated_ngram_characters(["no"] * 6, 5) == 10  # all words but the first
    assert repeated_ngram_characters("a b c d e x a b c d e".split(), 5) == 5
    assert repeated_ngram_characters("a b c d e a b c d f".split(), 5) == 0


def test_ngrams_that_cannot_matter_are_not_counted():
    assert shares(PROSE + " " + "x" * 400)["top 2-gram"] == 0  # it occurs only once
    assert "repeated 6-grams" not in shares(PROSE)  # there is no repeated 5-gram
    assert "top 2-gram" not in shares(" ".join(["no"] * 49))  # too short
    assert is_repetitive(" ".join(["no"] * 50))


def test_the_script_of_most_letters_decides():
    assert not is_foreign("abвг 1788")
    assert is_foreign("abвгд")
    assert not is_foreign("Å ß œ ＡＢ")
    assert not is_foreign("1+1")
    assert is_foreign("hello", ("GREEK",))
    assert not is_foreign("日本のカナ", ("CJK", "HIRAGANA", "KATAKANA"))


def test_markup_is_counted_in_characters():
    assert is_markup("<b>x</b>" + "y" * 61)  # 7 of 69
    assert not is_markup("<b>x</b>" + "y" * 62)  # 7 of 70
    assert not is_markup("<b>" + "y" * 10, max_share=0.3)
    assert is_markup("a <b" + "c" * 1000 + ">")
    assert not is_markup("a <b" + "c" * 1001 + ">")


@pytest.mark.parametrize("text", [
    "{{Infobox}} [[a|b]]", "== Title ==", "a&nbsp;b", "''a''", "<!-- x -->", "{ return x; }"])
def test_markup_of_all_kinds(text):
    assert is_markup(text)


@pytest.mark.parametrize("text", [
    "if a < b and c > d", "it's John's", "a = b", "AT&T; sic", "x <3 y"])
def test_text_that_only_looks_like_markup(text):
    assert not is_markup(text)


WORDS = "Élève à l'école: café, naïveté, über größe, señor Muñoz, François, garçon, crème brûlée"


@pytest.mark.parametrize("other", [
    unicodedata.normalize("NFD", WORDS),
    WORDS.replace("naïveté", "naïve\u00adté"),
    WORDS.replace(" ", " \u200b"),
    "\ufeff" + WORDS.upper().replace("GRÖSSE", "GRÖẞE"),
    WORDS.translate({ord("c"): "ｃ", ord(" "): "\xa0"}),
], ids=["decomposed", "soft hyphen", "zero width", "upper case", "full width"])
def test_duplicates_are_found_in_any_unicode_form(other):
    assert other != WORDS
    assert jaccard(WORDS, other) == 1
    for seen in (Duplicates(), NearDuplicates()):
        assert not seen(WORDS)
        assert seen(other)

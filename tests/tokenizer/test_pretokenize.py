"""Cutting text into words, with cases worked by hand."""
import random

import pytest
from tokenizer_samples import random_texts

from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import GPT2_PATTERN, bert_words, byte_characters, chunk_of, cut_texts, gpt2_words, utf8
from tokenizer.unicode_versions import WHITE_SPACE
from tokenizer.wordpiece import normalized_words


def written(word):
    return "".join(byte_characters()[byte] for byte in utf8(word))


@pytest.mark.parametrize("text, words", [
    ("a \n\nb  ", ["a", "ĠĊ", "Ċ", "b", "ĠĠ"]),
    ("3rd 1,000", ["3", "rd", "Ġ1", ",", "000"]),
    ("it's IT'S we'll", ["it", "'s", "ĠIT", "'", "S", "Ġwe", "'ll"]),  # contractions in lower case only
    ("I'd I'm don't you've they're", ["I", "'d", "ĠI", "'m", "Ġdon", "'t", "Ġyou", "'ve", "Ġthey", "'re"]),
    ("x\r\ny", ["x", "č", "Ċ", "y"]),  # of two white spaces before a letter the last stands alone
    ("a\tb", ["a", "ĉ", "b"]),
    ("é", ["Ã©"]),
    ("a\u2028b", ["a", "âĢ¨", "b"]),
    ("\x00", ["Ā"]),
    ("a   b", ["a", "ĠĠ", "Ġb"]),
    ("", []),
])
def test_gpt2_words_by_hand(text, words):
    assert [written(word) for word in gpt2_words(text)] == words


@pytest.mark.parametrize("later, known", [("\u088f", "\u0640"), ("\U000323b0", "\U000313b0"), ("\U00011de0", "5")])
def test_letters_and_numbers_that_unicode_16_did_not_know_are_neither(later, known):
    same, other = ("1", "a") if known == "5" else ("a", "1")
    assert gpt2_words(f"{same}{known} {known}{other}") == [f"{same}{known}", f" {known}", other]
    assert gpt2_words(f"{same}{later} {later}!{other}") == [same, later, f" {later}!", other]


SPACES = ["a", "b,", "é", *["\n"] * 4, "\r", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u3000", "\u200b", "'s", "1", *[" "] * 12]


def spaced_texts(count, seed=5):
    """Texts that are mostly white space, where borders are hardest."""
    rng = random.Random(seed)
    return ["".join(rng.choices(SPACES, k=rng.randint(0, 12))) for _ in range(count)]


def pieces_by_line(lines):
    """[[piece, ...] of each line]"""
    result = []
    for piece in cut_texts(lines):
        if piece.startswith("\r"):
            result.append([])
        result[-1].append(piece)
    return result


def test_texts_are_cut_at_spaces_and_line_ends_by_hand():
    assert cut_texts(["It is,", "", " it"]) == ["\rIt", "is,", "\r", "\r", "it"]
    assert cut_texts(["a  b"]) == ["\ra", "", "b"]           # the words are 'a', ' ', ' b'
    assert cut_texts(["a   b"]) == ["\ra", " ", "b"]         # 'a', '  ', ' b'
    assert cut_texts(["a \n", "\nb", "a \t b"]) == ["\ra \n", "\r", "\nb", "\ra", "\t", "b"]
    assert cut_texts(["a b\nc\n\nd", "e"]) == ["\ra", "b", "\nc", "\n", "\nd", "\re"]
    assert cut_texts(["a\n\n\nb", "a\n  b"]) == ["\ra\n\n\nb", "\ra\n ", "b"]  # '\n\n', '\n' and '\n ', ' b' are words
    assert cut_texts([]) == []


def test_no_word_spans_two_pieces_and_nothing_is_lost():
    lines = random_texts(3000) + spaced_texts(20000)
    cut = pieces_by_line(lines)
    assert len(cut) == len(lines)
    for line, pieces in zip(lines, cut):
        chunks = [chunk_of(piece) for piece in pieces]
        assert "".join(chunks) == line
        assert [word for chunk in chunks for word in gpt2_words(chunk)] == GPT2_PATTERN.findall(line)


def test_bert_words_do_not_depend_on_pieces_nor_on_the_short_way_for_ascii():
    lines = random_texts(3000) + spaced_texts(5000)
    for lowercase in (True, False):
        normalizer = BertNormalizer(lowercase)
        for line, pieces in zip(lines, pieces_by_line(lines)):
            text, _ = normalizer.normalize(line)
            whole = [text[start:end] for start, end in bert_words(text)]
            assert [word for piece in pieces for word in normalized_words(normalizer, chunk_of(piece))] == whole


def test_every_white_space_but_the_space_itself_stops_the_short_way():
    assert not any(space.isprintable() for space in WHITE_SPACE if space != " ")
    assert all(space.isspace() for space in WHITE_SPACE)


def test_the_256_byte_characters():
    table = byte_characters()
    assert len(set(table)) == 256 and not any(char.isspace() for char in table)
    assert table[0] == "Ā" and table[10] == "Ċ" and table[32] == "Ġ" and table[173] == "Ń"  # U+0100, 10A, 120, 143
    assert table[33:127] == "".join(map(chr, range(33, 127))) and table[255] == "ÿ"


def test_bert_words_by_hand():
    def cut(text):
        return [text[start:end] for start, end in bert_words(text)]
    assert cut("isn't it, $5.50?") == ["isn", "'", "t", "it", ",", "$", "5", ".", "50", "?"]
    assert cut("5€ 20° №1 2×3") == ["5€", "20°", "№1", "2×3"]  # symbols outside ASCII are not punctuation
    assert cut("«a»—b…") == ["«", "a", "»", "—", "b", "…"]
    assert cut("  ") == cut("") == []


def test_punctuation_of_later_unicode_is_as_the_reference_has_it():
    assert bert_words("a\u2e43b") == [(0, 3)]  # DASH WITH LEFT UPTURN, punctuation since Unicode 9
    assert bert_words("a\u166db") == [(0, 1), (1, 2), (2, 3)]  # a symbol now, punctuation then


def test_a_lone_surrogate_is_named():
    with pytest.raises(ValueError, match=r"lone surrogate U\+D800.* in 'ab.ud800'"):
        utf8("ab\ud800")

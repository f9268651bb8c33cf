"""Added tokens, and other features of published vocabularies: composed text, missing bytes."""
import random
import re

import pytest

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.added_tokens import AddedToken, TokenFinder
from tokenizer.fast.string_search import StringSearch
from tokenizer.normalize import nfc
from tokenizer.pretokenize import byte_characters


def test_the_longest_added_token_wins():
    finder = TokenFinder({content: AddedToken(content) for content in ("a", "ab", "b")})
    assert [(start, end) for _, start, end in finder.split("xabb")] == [(0, 1), (1, 3), (3, 4)]


def random_string(rng, longest, alphabet="ab \u00e9\U0001f642"):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, longest)))


def matches_of_one_pattern(strings, text):
    """Return (start, end) of each match: the slow way, one alternative after another."""
    longest_first = sorted(strings, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return [match.span() for match in pattern.finditer(text)]


@pytest.mark.parametrize("longest", [1, 2, 3, 5, 8, 14])
def test_many_strings_are_found_as_one_pattern_finds_them(monkeypatch, longest):
    """Texts are searched in chunks, here of 100 bytes."""
    monkeypatch.setattr("tokenizer.fast.string_search.CHUNK", 100)
    rng = random.Random(longest)
    for _ in range(20):
        strings = [random_string(rng, longest) for _ in range(rng.choice([1, 5, 40]))]
        strings += [string + random_string(rng, 4) for string in strings]
        search = StringSearch(strings)
        for num_parts in (1, 3, 200):
            text = "".join(rng.choice([*strings, "c"]) for _ in range(num_parts))
            assert list(search.find(text)) == matches_of_one_pattern(strings, text)


@pytest.mark.parametrize("unicode_form, lowercase", [(None, False), ("NFC", False), (None, True)])
def test_texts_with_added_tokens_have_the_same_ids_one_by_one_and_together(unicode_form, lowercase):
    rng = random.Random(1)
    added = [AddedToken("<m>"), AddedToken("<s p>", lstrip=True)]
    for content in sorted({random_string(rng, 9) for _ in range(30)} - {"a", "b", "\u00e9"}):
        lstrip, normalized = rng.random() < 0.3, rng.random() < 0.5
        added.append(AddedToken(content, special=False, lstrip=lstrip, normalized=normalized))
    contents = [token.content for token in added]
    if lowercase:
        tok = WordPiece(["[UNK]", "a", "##a", "b", *contents], ["[UNK]"], added=added)
    else:
        tok = ByteLevelBPE([*byte_characters(), *contents], [], [], add_prefix_space=True,
                           added=added, unicode_form=unicode_form)
    for _ in range(60):
        texts = []
        for _ in range(rng.randint(0, 4)):
            parts = [rng.choice([*contents, random_string(rng, 30), "e\u0301A"]) for _ in range(4)]
            texts.append("".join(parts[: rng.randint(0, 4)]))
        expected = [tok.encode(text, add_special_tokens=False, split_special_tokens=True).ids
                    for text in texts]
        ids, lengths = tok.encode_texts(texts)
        assert lengths.tolist() == [len(row) for row in expected]
        assert ids.tolist() == [token_id for row in expected for token_id in row]


def test_a_token_is_found_in_one_text_only():
    tokens = ["xx", "x\ud800x"]
    added = [AddedToken(token, special=False) for token in tokens]
    tok = ByteLevelBPE([*byte_characters(), *tokens], [], [], added=added)
    _, lengths = tok.encode_texts(["ax", "xa", "axx"])
    assert lengths.tolist() == [2, 2, 2]
    for surrogate in ("\ud800", "\udfff"):
        with pytest.raises(ValueError, match="surrogate"):
            tok.encode_texts(["xx", surrogate])


def test_few_positions_are_compared_with_the_strings():
    """However many strings there are. Text and strings are of the same letters."""
    rng = random.Random(2)
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = " ".join(random_string(rng, 10, letters) for _ in range(20_000))
    for count in (300, 30_000):
        search = StringSearch(random_string(rng, 6, letters) + "zzzzz" for _ in range(count))
        num_candidates = sum(1 for _ in search._candidates(text))
        assert num_candidates < 0.03 * len(text)


def test_added_tokens_that_are_not_special_are_always_found_and_decoded():
    two_spaces = AddedToken("  ", special=False, normalized=True)
    tok = ByteLevelBPE([*byte_characters(), "<m>", "  "], [], ["<m>"], added=[two_spaces])
    for text in ("a  b", "   ", "a  <m>", "  "):
        pieces = tok.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert pieces.tokens.count("  ") == 1
        assert tok.encode_ids(text) == pieces.ids
        assert tok.decode(pieces.ids) == text
    ids, lengths = tok.encode_texts(["a  b", "", "  ", "b"])
    assert lengths.tolist() == [3, 0, 1, 1]
    assert [tok.id_to_token(i) for i in ids] == ["a", "  ", "b", "  ", "b"]
    assert "  " not in tok.special_tokens
    assert tok.decode(tok.encode("a <m>", add_special_tokens=False).ids) == "a "


def test_normalized_added_tokens_are_found_in_normalized_text_and_within_words():
    added = [AddedToken("Flour", special=False, normalized=True)]
    tokens = ["[UNK]", "a", "##a", "é", "e", "Flour"]
    tok = WordPiece(tokens, ["[UNK]"], added=added)
    encoding = tok.encode("aÉ FLOURa", add_special_tokens=False)
    assert encoding.tokens == ["[UNK]", "Flour", "a"]
    assert encoding.offsets == [(0, 2), (3, 8), (8, 9)]
    assert tok.encode_ids("aÉ FLOURa") == encoding.ids
    assert tok.encode("[UNK] FLOUR", add_special_tokens=False).offsets == [(0, 5), (6, 11)]
    assert tok.fingerprint != WordPiece(tokens, ["[UNK]"]).fingerprint


def test_a_text_is_composed_first_if_the_vocabulary_says_so():
    tok = ByteLevelBPE(byte_characters(), [], [], unicode_form="NFC")
    encoding = tok.encode("e\u0301x", add_special_tokens=False)
    assert encoding.tokens == ["Ã", "©", "x"]
    assert encoding.offsets == [(0, 1), (0, 1), (2, 3)]
    assert tok.encode_ids("e\u0301x") == encoding.ids
    assert tok.decode(encoding.ids) == "éx"
    assert tok.fingerprint != ByteLevelBPE(byte_characters(), [], []).fingerprint


@pytest.mark.parametrize("text, composed", [
    ("e\u0301", "é"),
    ("é\u0323", "ẹ\u0301"),
    ("\u1112\u1161\u11ab", "한"),
    ("\u212b", "Å"),
    ("e\u0301u\u0305\u0308", "éu\u0305\u0308"),  # the first mark separates u and the second
    ("\u0958", "\u0915\u093c"),  # Unicode never composes these two
    ("\U00011935\U00011930", "\U00011935\U00011930"),  # composed since Unicode 13, later
])
def test_composition(text, composed):
    assert nfc(text)[0] == composed and nfc(composed)[0] == composed


def test_positions_of_composed_text_are_those_of_the_library():
    """Each character takes the next position and skips those of the characters it absorbed."""
    assert list(nfc("xe\u0301y")[1]) == [0, 1, 3]
    assert nfc("a\u0311\u033c\u0331x") == ("ȃ\u033c\u0331x", [0, 2, 3, 4])
    assert nfc("\u0958x") == ("\u0915\u093cx", [0, 0, 1])


def test_bytes_that_utf8_never_uses_may_be_missing():
    never = (0xC0, 0xC1, *range(0xF5, 0x100))
    tokens = [char for byte, char in enumerate(byte_characters()) if byte not in never]
    tok = ByteLevelBPE(tokens, [], [])
    assert tok.vocab_size == 243
    assert tok.decode(tok.encode_ids("\U0010ffffé")) == "\U0010ffffé"
    for byte in (0x00, 0x61, 0xC2, 0xF0, 0xF4):
        with pytest.raises(ValueError, match="lacks 1 of the 256 bytes"):
            ByteLevelBPE([token for token in tokens if token != byte_characters()[byte]], [], [])

"""Added tokens, and other features of published vocabularies: composed text, missing bytes."""

import pytest

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.added_tokens import AddedToken, TokenFinder
from tokenizer.normalize import nfc
from tokenizer.pretokenize import byte_characters


def test_the_longest_added_token_wins():
    tokens = {content: AddedToken(content) for content in ("a", "ab", "b")}
    assert [
        text[start:end] for text in ["xabb"] for _, start, end in TokenFinder(tokens).split(text)
    ] == ["x", "ab", "b"]


def test_added_tokens_that_are_not_special_are_always_found_and_decoded():
    tok = ByteLevelBPE(
        [*byte_characters(), "<m>", "  "],
        [],
        ["<m>"],
        added=[AddedToken("  ", special=False, normalized=True)],
    )
    for text in ("a  b", "   ", "a  <m>", "  "):
        pieces = tok.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert (
            tok.encode_ids(text) == pieces.ids
            and pieces.tokens.count("  ") == 1
            and tok.decode(pieces.ids) == text
        )
    ids, lengths = tok.encode_texts(["a  b", "", "  ", "b"])
    assert lengths.tolist() == [3, 0, 1, 1] and ids.tolist() == [
        tok.token_to_id(token) for token in ("a", "  ", "b", "  ", "b")
    ]
    assert (
        "  " not in tok.special_tokens
        and tok.decode(tok.encode("a <m>", add_special_tokens=False).ids) == "a "
    )


def test_normalized_added_tokens_are_found_in_normalized_text_and_within_words():
    added = [AddedToken("Flour", special=False, normalized=True)]
    tok = WordPiece(["[UNK]", "a", "##a", "é", "e", "Flour"], ["[UNK]"], added=added)
    encoding = tok.encode("aÉ FLOURa", add_special_tokens=False)
    assert encoding.tokens == ["[UNK]", "Flour", "a"] and encoding.offsets == [
        (0, 2),
        (3, 8),
        (8, 9),
    ]
    assert tok.encode_ids("aÉ FLOURa") == encoding.ids
    assert tok.encode("[UNK] FLOUR", add_special_tokens=False).offsets == [(0, 5), (6, 11)]
    assert (
        tok.fingerprint
        != WordPiece(["[UNK]", "a", "##a", "é", "e", "Flour"], ["[UNK]"]).fingerprint
    )


def test_a_text_is_composed_first_if_the_vocabulary_says_so():
    tok = ByteLevelBPE(byte_characters(), [], [], unicode_form="NFC")
    encoding = tok.encode("e\u0301x", add_special_tokens=False)
    assert encoding.tokens == ["Ã", "©", "x"] and encoding.offsets == [(0, 1), (0, 1), (2, 3)]
    assert tok.encode_ids("e\u0301x") == encoding.ids and tok.decode(encoding.ids) == "éx"
    assert tok.fingerprint != ByteLevelBPE(byte_characters(), [], []).fingerprint


@pytest.mark.parametrize(
    "text, composed",
    [
        ("e\u0301", "é"),
        ("é\u0323", "ẹ\u0301"),
        ("\u1112\u1161\u11ab", "한"),
        ("\u212b", "Å"),
        (
            "e\u0301u\u0305\u0308",
            "éu\u0305\u0308",
        ),  # the first mark separates the letter and the second
        ("\u0958", "\u0915\u093c"),
        ("\U00011935\U00011930", "\U00011935\U00011930"),
    ],
)  # never composed; composed since Unicode 13, later
def test_composition(text, composed):
    assert nfc(text)[0] == composed and nfc(composed)[0] == composed


def test_positions_of_composed_text_are_those_of_the_library():
    """Each character takes the next position and skips those of the characters it absorbed."""
    assert list(nfc("xe\u0301y")[1]) == [0, 1, 3]
    assert nfc("a\u0311\u033c\u0331x") == ("ȃ\u033c\u0331x", [0, 2, 3, 4])
    assert nfc("\u0958x") == ("\u0915\u093cx", [0, 0, 1])


def test_bytes_that_utf8_never_uses_may_be_missing():
    tokens = [
        char
        for byte, char in enumerate(byte_characters())
        if byte not in (0xC0, 0xC1, *range(0xF5, 0x100))
    ]
    tok = ByteLevelBPE(tokens, [], [])
    assert tok.vocab_size == 243 and tok.decode(tok.encode_ids("\U0010ffffé")) == "\U0010ffffé"
    for byte in (0x00, 0x61, 0xC2, 0xF0, 0xF4):
        with pytest.raises(ValueError, match="lacks 1 of the 256 bytes"):
            ByteLevelBPE([token for token in tokens if token != byte_characters()[byte]], [], [])

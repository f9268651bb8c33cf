"""Byte-level BPE: training, encoding, special tokens, decoding."""
import random

import pytest
from tokenizer_samples import STORY, corpus_files, random_texts

from tokenizer import ByteLevelBPE
from tokenizer.pretokenize import byte_characters

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train(texts, *args, **options):
    return ByteLevelBPE.train_from_iterator(texts, *args, show_progress=False, **options)


@pytest.fixture(scope="module")
def tok():
    return train([STORY], 500)


# Training

def test_ids_are_specials_then_bytes_then_merges():
    tok = train(["aab aab aac"], 1000)
    assert [tok.id_to_token(i) for i in range(5)] == list(SPECIALS)
    assert [tok.id_to_token(i) for i in range(5, 261)] == sorted(byte_characters())
    # a a occurs three times, aa b and Ġ aa twice. On that tie Ġ aa wins: Ġ has a lower id than aa.
    assert tok.merges == [("a", "a"), ("Ġ", "aa"), ("aa", "b")][: len(tok.merges)]
    assert tok.vocab_size == 261 + len(tok.merges)


def test_the_summary_reports_the_size_and_why_training_stopped():
    early = train(["ab ab"], 1_000)
    reason = "no pair occurs 2 times"
    assert early.training_summary == f"vocabulary: asked for 1,000, reached 262: {reason}"
    full = train([STORY], 270)
    assert full.training_summary == "vocabulary: asked for 270, reached 270"


def test_a_minimum_frequency_of_zero_means_one():
    for special in ("<s>", "ab"):  # with "ab" as a special token, no merge may make it
        zero = train(["ab ab"], 300, 0, (special,))
        one = train(["ab ab"], 300, 1, (special,))
        assert zero.merges == one.merges
        assert zero.training_summary == one.training_summary
        reason = "no pair occurs 1 time"
        assert one.training_summary == f"vocabulary: asked for 300, reached 259: {reason}"


def test_files_are_read_by_lines_and_strings_as_they_are(tmp_path):
    text = "ab\n\nab\n\nab\r\n"
    (tmp_path / "a.txt").write_bytes(text.encode())
    from_file = ByteLevelBPE.train(tmp_path / "a.txt", 400, 1, (), show_progress=False)
    from_lines = train(text.splitlines(keepends=True), 400, 1, ())
    assert from_file.merges == from_lines.merges == [("a", "b"), ("č", "Ċ")]
    # In one string, the first of two line ends is a word of its own before a letter.
    from_text = train([text], 400, 1, ())
    assert from_text.encode_ids("\n\nab") == from_lines.encode_ids("\n\nab")


def test_a_merge_never_makes_a_special_token():
    tok = train(["PAD PAD PAD"] * 3, 300, 1, ("PA",))
    assert "PA" not in ["".join(pair) for pair in tok.merges]
    assert tok.decode(tok.encode_ids("PAD")) == "PAD"


def test_a_huge_vocabulary_size_takes_no_memory():
    assert train(["ab ab"], vocab_size=10**12).vocab_size == 262  # 5 + 256 + "ab"


@pytest.mark.parametrize("options, message", [
    ({"vocab_size": 260}, "vocab_size=260 is smaller than the 256 bytes and 5 special tokens"),
    ({"vocab_size": 300, "special_tokens": ("<s>", "<s>")}, "twice"),
    ({"vocab_size": 300, "special_tokens": ("a",)}, "'a' is also one of the 256 byte characters"),
])
def test_bad_training_options_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        train(["a"], **options)


def test_bad_corpora_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.txt").write_bytes(b"one\ntwo\xff\n")
    for name, error, message in (
        ("empty.txt", ValueError, "corpus is empty"),
        ("binary.txt", ValueError, "binary.txt: line 2 is not UTF-8"),
        ("missing.txt", FileNotFoundError, "missing.txt: no such file"),
        ("", FileNotFoundError, "is not a file"),
    ):
        with pytest.raises(error, match=message):
            ByteLevelBPE.train([tmp_path / name], 300, show_progress=False)
    for texts, message in (("text", "iterable"), (["a\ud800"], "surrogate")):
        with pytest.raises((ValueError, TypeError), match=message):
            train(texts, 300)


def test_the_critique_of_pure_reason():
    tok = ByteLevelBPE.train(corpus_files("kant"), vocab_size=52_000, show_progress=False)
    tokens = tok.encode("The Critique of Pure Reason.").tokens
    assert tokens == ["<s>", "The", "ĠCritique", "Ġof", "ĠPure", "ĠReason", ".", "</s>"]
    assert 11_000 < tok.vocab_size < 13_000 and "no pair occurs 2 times" in tok.training_summary


# Encoding

def test_long_words_are_merged_like_short_ones(tok, monkeypatch):
    rng = random.Random(11)
    words = ["a" * 99, "ab" * 70]
    for _ in range(500):
        words.append("".join(rng.choices("theandof", k=rng.randint(1, 300))))
    monkeypatch.setattr("tokenizer.bpe.LONG_WORD", 0)
    as_long = [tok._encode_word(word) for word in words]
    monkeypatch.setattr("tokenizer.bpe.LONG_WORD", 10_000)
    assert as_long == [tok._encode_word(word) for word in words]


def test_a_word_of_100_000_characters_is_fast(tok):
    word = "".join(random.Random(0).choices("abcdehinorst", k=100_000))
    assert tok.decode(tok.encode_ids(word)) == word


def test_offsets_cover_the_text(tok):
    # 𝒳 is four tokens, one per byte: each has the offsets of the entire character.
    offsets = tok.encode("a 𝒳", add_special_tokens=False).offsets
    assert offsets == [(0, 1), (1, 2), (2, 3), (2, 3), (2, 3), (2, 3)]
    for text in random_texts(1000, seed=8):
        last_end = 0
        for start, end in tok.encode(text, add_special_tokens=False).offsets:
            assert start in (last_end, last_end - 1) and start < end
            last_end = end
        assert last_end == len(text)


def test_add_prefix_space(tok):
    spaced = ByteLevelBPE(list(tok.get_vocab()), tok.merges, add_prefix_space=True)
    assert spaced.encode_ids("the cat") == spaced.encode_ids(" the cat")
    assert spaced.encode_ids("the cat") == tok.encode_ids(" the cat")
    assert spaced.encode_ids("\nthe") == tok.encode_ids(" \nthe")  # only ' ' counts as a space
    assert spaced.encode_ids("") == []
    offsets = spaced.encode("the", add_special_tokens=False).offsets
    assert offsets[0][0] == 0 and offsets[-1][1] == 3


# Special tokens

def test_the_mask_takes_the_space_before_it(tok):
    for text in ("x<mask>", "x \n\t <mask>"):
        assert tok.encode(text).ids == tok.encode("x <mask>").ids
    x, y = tok.token_to_id("x"), tok.encode_ids(" y")
    assert tok.encode("x <mask> y").ids == [0, x, 4, *y, 2]  # not the space after it
    assert tok.encode("x <mask>").offsets[2] == (1, 8)
    assert tok.encode("x <s>").ids != tok.encode("x<s>").ids  # only the mask does
    tok = train(["a"], 300, 1, ("x ", "<mask>"))
    assert tok.encode("x  <mask>", add_special_tokens=False).offsets == [(0, 2), (2, 9)]


def test_special_tokens_in_a_text_can_be_split(tok):
    assert tok.encode("<s>").ids == [0, 0, 2]
    assert 0 not in tok.encode("<s>", split_special_tokens=True, add_special_tokens=False).ids
    assert not set(tok.encode_ids("<s><mask></s>")) & set(tok.special_ids)


def test_the_longest_special_token_wins():
    tok = train(["a"], 300, 1, ("<s>", "</s>", "<x>", "<x><y>", "a b"))
    assert tok.encode("<x><y><x>a b", add_special_tokens=False).tokens == ["<x><y>", "<x>", "a b"]
    assert tok.decode([4, 3], skip_special_tokens=False) == "a b<x><y>"


# Decoding (see also test_round_trip.py) and errors

def test_half_a_character_becomes_the_replacement_character(tok):
    assert tok.decode([tok.token_to_id("æ")]) == "\ufffd"


def test_token_text():
    tok = ByteLevelBPE([*byte_characters(), "Ġh", "<Ġ>"], [("Ġ", "h")], ["<Ġ>"])
    assert tok.token_text("Ġh") == " h" and tok.token_text("<Ġ>") == "<Ġ>"
    assert tok.token_text("Ã") == "\\xc3" and tok.token_text("Ã", errors="replace") == "\ufffd"


def test_bad_texts_and_ids_are_refused(tok):
    for encode in (tok.encode, tok.encode_ids):
        with pytest.raises(ValueError, match=r"lone surrogate U\+DC80, half of a character"):
            encode("ab\udc80")
    with pytest.raises(TypeError, match="encode takes a str, got bytes"):
        tok.encode(b"a")
    for wrong in (tok.vocab_size, -1):
        with pytest.raises(ValueError, match=f"id {wrong} is not in the vocabulary"):
            tok.decode([wrong])

"""Byte-level BPE: training, encoding against the slow twin, decoding as its inverse."""
import random

import pytest
from tokenizer_samples import STORY, corpus_files, random_texts

from tokenizer import ByteLevelBPE, reference
from tokenizer.pretokenize import byte_characters, gpt2_words, utf8

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@pytest.fixture(scope="module")
def tok():
    return ByteLevelBPE.train_from_iterator([STORY], vocab_size=500, show_progress=False)


def test_ids_are_specials_then_bytes_by_character_then_merges():
    tok = ByteLevelBPE.train_from_iterator(["aab aab aac"], vocab_size=1000, show_progress=False)
    assert [tok.id_to_token(i) for i in range(5)] == list(SPECIALS)
    assert [tok.id_to_token(i) for i in range(5, 261)] == sorted(byte_characters())
    # a a stands three times, aa b and Ġ aa twice each; of these the smaller left id goes first, and a (as in aa)
    # came into the vocabulary before Ġ but aa after it
    assert tok.merges == [("a", "a"), ("Ġ", "aa"), ("aa", "b")][:len(tok.merges)]
    assert tok.vocab_size == 261 + len(tok.merges)


def test_the_summary_tells_requested_and_reached_and_why():
    tok = ByteLevelBPE.train_from_iterator(["ab ab"], vocab_size=1_000, show_progress=False)
    assert tok.training_summary == "vocabulary: asked for 1,000, reached 262: no pair occurs 2 times"
    full = ByteLevelBPE.train_from_iterator([STORY], vocab_size=270, show_progress=False)
    assert full.vocab_size == 270 and full.training_summary == "vocabulary: asked for 270, reached 270"


def test_a_minimum_of_none_is_a_minimum_of_one():
    for special, stopped in (("<s>", "no pair is left"), ("ab", "no pair occurs 1 times")):  # ab, Ġab; or Ġa, Ġab: no merge may make "ab"
        zero, one = (ByteLevelBPE.train_from_iterator(["ab ab"], 300, minimum, (special,), show_progress=False) for minimum in (0, 1))
        assert zero.merges == one.merges and zero.training_summary == one.training_summary == f"vocabulary: asked for 300, reached 259: {stopped}"


def test_files_are_fed_by_lines_with_their_ends_and_strings_whole(tmp_path):
    text = "ab\n\nab\n\nab\r\n"
    (tmp_path / "a.txt").write_bytes(text.encode())
    of_file = ByteLevelBPE.train(tmp_path / "a.txt", 400, 1, (), show_progress=False)
    of_lines = ByteLevelBPE.train_from_iterator(text.splitlines(keepends=True), 400, 1, (), show_progress=False)
    of_whole = ByteLevelBPE.train_from_iterator([text], 400, 1, (), show_progress=False)
    assert of_file.merges == of_lines.merges == [("a", "b"), ("č", "Ċ")]
    assert ("Ċ", "Ċ") not in of_lines.merges
    assert of_whole.encode_ids("\n\nab") == of_lines.encode_ids("\n\nab")  # Ċ Ċ ab: of two white spaces the last is apart


def test_order_of_files_does_not_matter(tmp_path):
    lines = STORY.splitlines(keepends=True)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("".join(lines[number::3]), encoding="utf-8")
    files = sorted(tmp_path.glob("*.txt"))
    prints = {ByteLevelBPE.train(order, 400, show_progress=False).fingerprint
              for order in (files, files[::-1], [files[1], files[2], files[0]])}
    assert len(prints) == 1


def test_encoding_agrees_with_the_slow_twin(tok):
    for text in random_texts(1500, seed=3) + STORY.splitlines():
        slow = [piece for word in gpt2_words(text) if len(word) < 150
                for piece in reference.encode_word("".join(byte_characters()[b] for b in utf8(word)), tok.merges)]
        fast = [tok.id_to_token(i) for word in gpt2_words(text) if len(word) < 150 for i in tok.encode_ids(word)]
        assert fast == slow


def test_decoding_gives_every_text_back(tok):
    for text in random_texts(5000, seed=6) + [STORY, "", " ", "\x00", "\r\n\t ", "e\u0301", "👨\u200d👩\u200d👧", "<s> <mask>"]:
        assert tok.decode(tok.encode_ids(text)) == text
        encoding = tok.encode(text, split_special_tokens=True)
        assert tok.decode(encoding.ids) == text


def test_a_long_word_is_merged_as_a_short_one(tok, monkeypatch):
    rng = random.Random(11)
    words = ["".join(rng.choices("the and of ", k=rng.randint(1, 300))).replace(" ", "") for _ in range(500)] + ["a" * 99, "ab" * 70]
    long_way, short_way = [], []
    for length, results in ((0, long_way), (10_000, short_way)):
        monkeypatch.setattr("tokenizer.bpe.LONG_WORD", length)
        results += [tok._encode_word(word) for word in words]
    assert long_way == short_way


def test_offsets_cover_the_text(tok):
    # 𝒳 is four bytes, here four tokens after that of the space: each has the offsets of the whole character
    assert tok.encode("a 𝒳", add_special_tokens=False).offsets == [(0, 1), (1, 2), (2, 3), (2, 3), (2, 3), (2, 3)]
    for text in random_texts(1000, seed=8):
        end_before = 0
        for start, end in tok.encode(text, add_special_tokens=False).offsets:
            assert start in (end_before, end_before - 1) and start < end  # a character's bytes share its offsets
            end_before = end
        assert end_before == len(text)


def test_the_mask_takes_the_space_before_it(tok):
    assert tok.encode("x <mask>").ids == tok.encode("x<mask>").ids == tok.encode("x \n\t <mask>").ids
    assert tok.encode("x <mask> y").ids == [0, tok.token_to_id("x"), 4, *tok.encode_ids(" y"), 2]  # not the one after
    assert tok.encode("x <mask>").offsets[2] == (1, 8)
    assert tok.encode("x <s>").ids != tok.encode("x<s>").ids  # only the mask does


def test_the_mask_takes_no_space_from_a_special_token_that_ends_with_one():
    tok = ByteLevelBPE.train_from_iterator(["a"], 300, 1, ("x ", "<mask>"), show_progress=False)
    assert tok.encode("x  <mask>", add_special_tokens=False).offsets == [(0, 2), (2, 9)]


def test_special_tokens_in_text_can_be_plain_characters(tok):
    assert tok.encode("<s>").ids == [0, 0, 2]
    assert 0 not in tok.encode("<s>", split_special_tokens=True, add_special_tokens=False).ids
    assert not set(tok.encode_ids("<s><mask></s>")) & set(tok.special_ids)


def test_of_two_special_tokens_that_begin_alike_the_longer_is_meant():
    tok = ByteLevelBPE.train_from_iterator(["a"], 300, 1, ("<s>", "</s>", "<x>", "<x><y>", "a b"), show_progress=False)
    assert tok.encode("<x><y><x>a b", add_special_tokens=False).tokens == ["<x><y>", "<x>", "a b"]
    assert tok.decode([4, 3], skip_special_tokens=False) == "a b<x><y>"


def test_a_merge_never_makes_a_special_token():
    tok = ByteLevelBPE.train_from_iterator(["PAD PAD PAD"] * 3, 300, 1, ("PA",), show_progress=False)
    assert "PA" not in ["".join(pair) for pair in tok.merges]
    assert tok.decode(tok.encode_ids("PAD")) == "PAD"


def test_add_prefix_space(tok):
    spaced = ByteLevelBPE([tok.id_to_token(i) for i in range(tok.vocab_size)], tok.merges, add_prefix_space=True)
    assert spaced.encode_ids("the cat") == spaced.encode_ids(" the cat") == tok.encode_ids(" the cat")
    assert spaced.encode_ids("\nthe") == tok.encode_ids(" \nthe") != tok.encode_ids("\nthe")  # other white space is no space
    assert spaced.encode_ids("") == []
    encoding = spaced.encode("the", add_special_tokens=False)
    assert encoding.offsets[0][0] == 0 and encoding.offsets[-1][1] == 3


def test_long_words_are_no_trap(tok):
    rng = random.Random(0)
    word = "".join(rng.choices("abcdehinorst", k=100_000))
    assert tok.decode(tok.encode_ids(word)) == word
    assert tok.decode(tok.encode_ids("a" * 100_000)) == "a" * 100_000


def test_half_a_character_becomes_the_replacement_character(tok):
    assert tok.decode([tok.token_to_id("æ")]) == "\ufffd"


@pytest.mark.parametrize("options, message", [
    ({"vocab_size": 260}, "vocab_size=260 is smaller than the 256 bytes and 5 special tokens.*at least 261"),
    ({"vocab_size": 300, "special_tokens": ("<s>", "<s>")}, "twice"),
    ({"vocab_size": 300, "special_tokens": "<s>"}, "tuple"),
    ({"vocab_size": 300, "special_tokens": ("a",)}, "'a' is also one of the 256 byte characters"),
    ({"vocab_size": 300, "min_frequency": -1}, "min_frequency=-1"),
])
def test_training_options_that_make_no_sense(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ByteLevelBPE.train_from_iterator(["a"], show_progress=False, **options)


def test_bad_corpora(tmp_path):
    def train(path):
        return ByteLevelBPE.train([path], 300, show_progress=False)
    (tmp_path / "empty.txt").write_bytes(b"")
    with pytest.raises(ValueError, match="corpus is empty"):
        train(tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"one\ntwo\xff\n")
    with pytest.raises(ValueError, match=r"binary.txt: line 2 is not UTF-8 text .*at byte 4"):
        train(tmp_path / "binary.txt")
    with pytest.raises(FileNotFoundError, match="missing.txt: no such file"):
        train(tmp_path / "missing.txt")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        train(tmp_path)
    with pytest.raises(ValueError, match="not one string"):
        ByteLevelBPE.train_from_iterator("text", 300)
    with pytest.raises(ValueError, match="got int"):
        ByteLevelBPE.train_from_iterator([1], 300, show_progress=False)
    with pytest.raises(ValueError, match="lone surrogate"):
        ByteLevelBPE.train_from_iterator(["a\ud800"], 300, show_progress=False)


def test_bad_texts_and_ids(tok):
    with pytest.raises(ValueError, match=r"lone surrogate U\+DC80, half of a character"):
        tok.encode("ab\udc80")
    with pytest.raises(ValueError, match="lone surrogate"):
        tok.encode_ids("ab\udc80")
    with pytest.raises(TypeError, match="encode takes a str, got bytes"):
        tok.encode(b"a")
    for wrong in (tok.vocab_size, -1):
        with pytest.raises(ValueError, match=f"id {wrong} is not in the vocabulary, which has 0 to {tok.vocab_size - 1}"):
            tok.decode([wrong])


def test_the_critique_of_pure_reason():
    tok = ByteLevelBPE.train(corpus_files("kant"), vocab_size=52_000, show_progress=False)
    assert tok.encode("The Critique of Pure Reason.").tokens == ["<s>", "The", "ĠCritique", "Ġof", "ĠPure", "ĠReason", ".", "</s>"]
    assert 11_000 < tok.vocab_size < 13_000 and "no pair occurs 2 times" in tok.training_summary

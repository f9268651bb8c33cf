"""Wrong values are told at once, in one line that names the value and what is taken."""
import numpy as np
import pytest
import torch

from tokenizer import ByteLevelBPE, WordPiece


@pytest.fixture(scope="module")
def tok():
    return ByteLevelBPE.train_from_iterator(["a b"], 300, 1, show_progress=False)


@pytest.mark.parametrize("value, got", [("12", "'12'"), (b"12", "b'12'"), (None, "None"), (7, "7"), ([1.0], "1.0 among them"), ([True], "True among"),
                                        ([None], "None among"), ([[1, 2]], r"\[1, 2\] among"), (["1"], "'1' among"), (np.ones((1, 2), int), "array"),
                                        (torch.ones(2), r"tensor\(1.\) among")])
def test_decode_takes_ids_alone(tok, value, got):
    with pytest.raises(TypeError, match=f"^decode takes a list of ids, such as .0, 262, 2., but got {got}"):
        tok.decode(value)


def test_decode_takes_ids_in_any_list(tok):
    ids = tok.encode("a b").ids
    for same in (ids, tuple(ids), iter(ids), np.array(ids, np.uint16), torch.tensor(ids)):
        assert tok.decode(same) == "a b"


@pytest.mark.parametrize("options, error, message", [
    ({"max_length": "8"}, TypeError, "^max_length='8' is no whole number$"), ({"max_length": 2.5}, TypeError, "max_length=2.5 is no whole"),
    ({"max_length": True}, TypeError, "max_length=True is no whole"),
    ({"pad_to_length": -1}, ValueError, "^pad_to_length=-1 is too small: it takes at least 0$"),
    ({"pad_to_multiple_of": 0}, ValueError, "pad_to_multiple_of=0 is too small: it takes at least 1")])
def test_lengths_are_whole_numbers(tok, options, error, message):
    for encode in (lambda: tok.encode("a", **options), lambda: tok.encode_batch(["a", ("a", "b")], **options)):
        with pytest.raises(error, match=message):
            encode()
    assert tok.encode("a", max_length=np.int64(2)).ids == [0, 2]


@pytest.mark.parametrize("item", [None, 5, b"a", ("a",), ("a", "b", "c"), ("a", None), []])
def test_a_batch_holds_texts_and_pairs(tok, item):
    with pytest.raises(TypeError, match=r"^encode_batch takes texts and pairs of texts, 'a' and \('a', 'b'\), but item 1 is "):
        tok.encode_batch(["a", item])


def test_documents_are_texts(tok):
    with pytest.raises(TypeError, match="^encode_documents takes an iterable of texts, not one text: pass .text., or use encode_ids$"):
        tok.encode_documents("one string")  # at once, not when the first is asked for
    with pytest.raises(TypeError, match="^encode_documents takes texts, but number 1 is None$"):
        list(tok.encode_documents(["a", None]))
    with pytest.raises(TypeError, match="workers='2' is no whole number"):
        tok.encode_documents(["a"], workers="2")


@pytest.mark.parametrize("options, error, message", [
    ({"vocab_size": "500"}, TypeError, "vocab_size='500' is no whole number"), ({"vocab_size": 500.0}, TypeError, "vocab_size=500.0 is no whole"),
    ({"vocab_size": None}, TypeError, "vocab_size=None and min_frequency=2: both must be whole numbers"),
    ({"workers": "2"}, TypeError, "workers='2' is no whole"), ({"workers": 2.0}, TypeError, "workers=2.0 is no whole"),
    ({"workers": 0}, ValueError, "workers=0 is too small: it takes at least 1"), ({"min_frequency": 2.5}, TypeError, "min_frequency=2.5 is no whole"),
    ({"min_frequency": -1}, ValueError, "min_frequency=-1 is too small: it takes at least 0"),
    ({"max_words": 1}, ValueError, "max_words=1 is too small: it takes at least 2"),
    ({"special_tokens": None}, TypeError, "special_tokens takes a tuple of strings, .*, but got None"),
    ({"special_tokens": "<s>"}, TypeError, "special_tokens takes a tuple of strings, .*, but got '<s>'"),
    *[({"special_tokens": ("[UNK]", token)}, ValueError, "must be non-empty strings without a line end, but one is ")
      for token in ("x\n", "x\r", "x\ny", "\n", "", None, 3)]])
def test_wrong_options_are_told_before_the_corpus_is_read(options, error, message):
    def corpus():
        raise AssertionError("the corpus was read")
        yield
    for kind in (ByteLevelBPE, WordPiece):
        with pytest.raises(error, match=message):
            kind.train_from_iterator(corpus(), **options)
        with pytest.raises(error, match=message):
            kind.train(["no-such-file.txt"], **options)


@pytest.mark.parametrize("limit", [0, -1])
def test_an_alphabet_has_a_character(limit):
    with pytest.raises(ValueError, match=f"limit_alphabet={limit} is too small: it takes at least 1"):
        WordPiece.train_from_iterator(["a"], limit_alphabet=limit)

"""Wrong arguments are refused with an error that names the value."""
import numpy as np
import pytest
import torch

from tokenizer import ByteLevelBPE, WordPiece


@pytest.fixture(scope="module")
def tok():
    return ByteLevelBPE.train_from_iterator(["a b"], 300, 1, show_progress=False)


@pytest.mark.parametrize("value", ["12", b"12", None, 7, [1.0], [True], [None], [[1, 2]], ["1"],
                                   np.ones((1, 2), int), torch.ones(2)])
def test_decode_refuses_what_is_not_a_list_of_ids(tok, value):
    with pytest.raises(TypeError, match="decode takes a list of ids"):
        tok.decode(value)


def test_decode_takes_any_sequence_of_ids(tok):
    ids = tok.encode("a b").ids
    for same in (ids, tuple(ids), iter(ids), np.array(ids, np.uint16), torch.tensor(ids)):
        assert tok.decode(same) == "a b"


@pytest.mark.parametrize("options, error, message", [
    ({"max_length": "8"}, TypeError, "max_length='8' is not an integer"),
    ({"max_length": 2.5}, TypeError, "max_length=2.5 is not an integer"),
    ({"max_length": True}, TypeError, "max_length=True is not an integer"),
    ({"pad_to_length": -1}, ValueError, "pad_to_length=-1 is too small"),
    ({"pad_to_multiple_of": 0}, ValueError, "pad_to_multiple_of=0 is too small")])
def test_lengths_must_be_integers(tok, options, error, message):
    with pytest.raises(error, match=message):
        tok.encode("a", **options)
    with pytest.raises(error, match=message):
        tok.encode_batch(["a", ("a", "b")], **options)


def test_lengths_may_be_numpy_integers(tok):
    assert tok.encode("a", max_length=np.int64(2)).ids == [0, 2]


@pytest.mark.parametrize("item", [None, 5, b"a", ("a",), ("a", "b", "c"), ("a", None), []])
def test_encode_batch_refuses_what_is_neither_a_text_nor_a_pair(tok, item):
    with pytest.raises(TypeError, match="item 1 is "):
        tok.encode_batch(["a", item])


def test_encode_documents_refuses_what_is_not_a_text(tok):
    with pytest.raises(TypeError, match="an iterable of texts"):
        tok.encode_documents("one string")  # at the call, not at the first item
    with pytest.raises(TypeError, match="item 1 is None"):
        list(tok.encode_documents(["a", None]))
    with pytest.raises(TypeError, match="workers='2' is not an integer"):
        tok.encode_documents(["a"], workers="2")


@pytest.mark.parametrize("cls", [ByteLevelBPE, WordPiece])
@pytest.mark.parametrize("options, error", [
    ({"vocab_size": "500"}, TypeError), ({"vocab_size": 500.0}, TypeError),
    ({"vocab_size": None}, TypeError), ({"workers": "2"}, TypeError), ({"workers": 0}, ValueError),
    ({"min_frequency": 2.5}, TypeError), ({"min_frequency": -1}, ValueError),
    ({"max_words": 1}, ValueError), ({"special_tokens": None}, TypeError),
    ({"special_tokens": "<s>"}, TypeError), ({"special_tokens": ("[UNK]", "x\n")}, ValueError),
    ({"special_tokens": ("[UNK]", "")}, ValueError), ({"special_tokens": ("[UNK]", 3)}, ValueError),
])
def test_wrong_options_are_refused_before_the_corpus_is_read(cls, options, error):
    def corpus():
        raise AssertionError("the corpus was read")
        yield
    name = next(iter(options)).replace("special_tokens", "special.token")
    with pytest.raises(error, match=name):
        cls.train_from_iterator(corpus(), **options)
    with pytest.raises(error, match=name):
        cls.train(["no-such-file.txt"], **options)


def test_the_alphabet_needs_a_character():
    with pytest.raises(ValueError, match="limit_alphabet=0 is too small"):
        WordPiece.train_from_iterator(["a"], limit_alphabet=0)

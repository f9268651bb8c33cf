"""Wrong arguments are refused."""
import numpy as np
import pytest
import torch

from tokenizer import ByteLevelBPE, WordPiece


@pytest.fixture(scope="module")
def tok():
    return ByteLevelBPE.train_from_iterator(["a b"], 300, 1, show_progress=False)


@pytest.mark.parametrize("value", ["12", None, 7, [1.0], [None], [[1, 2]], ["1"],
                                   np.ones((1, 2), int), torch.ones(2)])
def test_decode_refuses_all_but_lists_of_ids(tok, value):
    with pytest.raises(TypeError):
        tok.decode(value)


def test_decode_takes_any_sequence_of_ids(tok):
    ids = tok.encode("a b").ids
    for same in (ids, tuple(ids), iter(ids), np.array(ids, np.uint16), torch.tensor(ids)):
        assert tok.decode(same) == "a b"


@pytest.mark.parametrize("options, error", [
    ({"max_length": "8"}, TypeError),
    ({"max_length": 2.5}, TypeError),
    ({"pad_to_length": -1}, ValueError),
    ({"pad_to_multiple_of": 0}, ValueError)])
def test_lengths_must_be_integers_that_are_large_enough(tok, options, error):
    with pytest.raises(error):
        tok.encode("a", **options)
    with pytest.raises(error):
        tok.encode_batch(["a", ("a", "b")], **options)
    assert tok.encode("a", max_length=np.int64(2)).ids == [0, 2]


@pytest.mark.parametrize("item", [None, 5, b"a", ("a",), ("a", "b", "c"), []])
def test_encode_batch_refuses_all_but_texts_and_pairs(tok, item):
    with pytest.raises((TypeError, ValueError)):
        tok.encode_batch(["a", item])


def test_encode_documents_refuses_a_single_text(tok):
    with pytest.raises(TypeError, match="an iterable of texts"):
        tok.encode_documents("one string")  # at the call, not at the first item


@pytest.mark.parametrize("cls", [ByteLevelBPE, WordPiece])
@pytest.mark.parametrize("options, error", [
    ({"vocab_size": "500"}, TypeError),
    ({"workers": 0}, ValueError),
    ({"min_frequency": -1}, ValueError),
    ({"max_words": 1}, ValueError),
    ({"special_tokens": "<s>"}, TypeError),
    ({"special_tokens": ("[UNK]", "")}, ValueError),
])
def test_wrong_options_are_refused_before_the_corpus_is_read(cls, options, error):
    def corpus():
        raise AssertionError("the corpus was read")
        yield
    with pytest.raises(error):
        cls.train_from_iterator(corpus(), **options)
    with pytest.raises(error):
        cls.train(["no-such-file.txt"], **options)

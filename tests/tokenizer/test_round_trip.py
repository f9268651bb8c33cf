"""Byte-level BPE forgets nothing: decoding gives every text back. A few thousand texts here, a million with `make test-slow`."""
import pytest
from tokenizer_samples import STORY, random_texts, wild_texts

from tokenizer import ByteLevelBPE


@pytest.fixture(scope="module")
def tok():
    """With merges of all sorts: over spaces, halves of characters, controls."""
    return ByteLevelBPE.train_from_iterator([STORY, *wild_texts(3000, seed=31)], 3000, show_progress=False)


def assert_comes_back(tok, texts):
    ids, lengths = tok.encode_texts(texts)
    ends = lengths.cumsum().tolist()
    for text, start, end in zip(texts, [0, *ends], ends):
        assert tok.decode(ids[start:end]) == text, ascii(text)


@pytest.mark.parametrize("text", ["", " ", "\x00", "\r\n\t ", "e\u0301", "👨\u200d👩\u200d👧", "<s> <mask>", "Ġ", "\ufffd", "\U0010ffff\uffff"])
def test_texts_that_look_for_trouble_come_back(tok, text):
    assert tok.decode(tok.encode_ids(text)) == text


def test_some_thousand_texts_come_back(tok):
    texts = wild_texts(3000, seed=32) + random_texts(3000, seed=33)
    assert_comes_back(tok, texts)
    for text in texts[::10]:
        assert tok.decode(tok.encode_ids(text)) == tok.decode(tok.encode(text, split_special_tokens=True).ids) == text


@pytest.mark.slow
def test_every_code_point_comes_back(tok):
    """A thousand at a time, spaces between some."""
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    chunks = ["".join(map(chr, codes[start:start + 1000])) for start in range(0, len(codes), 1000)]
    assert_comes_back(tok, [chunk[:500] + " " + " ".join(chunk[500:]) for chunk in chunks])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_a_million_texts_come_back(tok, part):
    for batch in range(50):
        seed = 1000 * (part + 1) + batch
        assert_comes_back(tok, wild_texts(1000, seed) + random_texts(1000, seed))

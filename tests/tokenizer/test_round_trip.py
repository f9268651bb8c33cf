"""Byte-level BPE loses nothing: thousands of texts here, a million with `make test-slow`."""
import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE


@pytest.fixture(scope="module")
def tok():
    """A vocabulary with all sorts of merges: across spaces, parts of characters, controls."""
    texts = [STORY, *random_texts(800, seed=31)]
    return ByteLevelBPE.train_from_iterator(texts, 1500, show_progress=False)


def assert_round_trip(tok, texts):
    ids, lengths = tok.encode_texts(texts)
    ends = lengths.cumsum().tolist()
    for text, start, end in zip(texts, [0, *ends], ends):
        assert tok.decode(ids[start:end]) == text, ascii(text)


@pytest.mark.parametrize("text", [
    "", " ", "\x00", "\r\n\t ", "e\u0301", "👨\u200d👩\u200d👧", "<s> <mask>", "Ġ", "\ufffd",
    "\U0010ffff\uffff",
])
def test_difficult_texts(tok, text):
    assert tok.decode(tok.encode_ids(text)) == text


def test_thousands_of_texts(tok):
    texts = random_texts(2000, seed=32)
    assert_round_trip(tok, texts)
    for text in texts[::10]:
        assert tok.decode(tok.encode_ids(text)) == text
        assert tok.decode(tok.encode(text, split_special_tokens=True).ids) == text


@pytest.mark.slow
def test_every_code_point(tok):
    codes = [*range(0xD800), *range(0xE000, 0x110000)]
    texts = []
    for start in range(0, len(codes), 1000):
        chars = "".join(map(chr, codes[start : start + 1000]))
        texts.append(chars[:500] + " " + " ".join(chars[500:]))
    assert_round_trip(tok, texts)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_a_million_texts(tok, part):
    for batch in range(50):
        seed = 1000 * (part + 1) + batch
        assert_round_trip(tok, random_texts(2000, seed))

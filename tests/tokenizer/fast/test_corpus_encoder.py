"""Encoding many texts at once gives the ids of ``encode`` and keeps the caches bounded."""
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.fast import corpus_encoder


@pytest.fixture(scope="module", params=["bpe", "bpe with a space before", "wordpiece"])
def tok(request):
    if request.param == "wordpiece":
        return WordPiece.train_from_iterator([STORY], 300, show_progress=False)
    tok = ByteLevelBPE.train_from_iterator([STORY], 500, show_progress=False)
    tok.add_prefix_space = request.param != "bpe"
    return tok


def one_by_one(tok, texts):
    return [tok.encode(text, add_special_tokens=False, split_special_tokens=True).ids
            for text in texts]


def split_ids(ids, lengths):
    return [part.tolist() for part in np.split(ids, lengths[:-1].cumsum())]


@pytest.mark.parametrize("long_text", [1 << 20, 7])
def test_encode_texts_agrees_with_encode(tok, monkeypatch, long_text):
    # Longer texts are encoded in parts.
    monkeypatch.setattr("tokenizer.fast.corpus_encoder.LONG_TEXT", long_text)
    texts = random_texts(300, seed=7) + STORY.splitlines() + ["", "  ", "<s>", "[SEP] <mask>"]
    tok._reset_caches()
    for _ in range(2):  # the second time everything is cached
        assert split_ids(*tok.encode_texts(texts)) == one_by_one(tok, texts)
        assert tok.encode_ids(texts[5]) == one_by_one(tok, [texts[5]])[0]
    assert [part.tolist() for part in tok.encode_texts([])] == [[], []]
    assert [part.tolist() for part in tok.encode_texts(["", ""])] == [[], [0, 0]]


@pytest.mark.parametrize("workers", [1, 2])
def test_encode_documents_agrees_with_encode(tok, workers, monkeypatch):
    monkeypatch.setattr("tokenizer.fast.corpus_encoder.BATCH_CHARACTERS", 500)
    monkeypatch.setattr("tokenizer.fast.corpus_encoder.INLINE_SECONDS", 0)
    texts = random_texts(150, seed=8) + [STORY]
    arrays = list(tok.encode_documents(iter(texts), workers))
    assert [array.tolist() for array in arrays] == one_by_one(tok, texts)
    assert {array.dtype for array in arrays} == {np.dtype(np.uint16)}
    assert list(tok.encode_documents([], workers)) == []


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs fork")
def test_workers_start_after_another_thread_has_encoded_its_batch():
    """They would copy a lock that is never released, and a cache that is half written."""
    is_locked = threading.Event()

    def encode_slowly():
        with corpus_encoder.LOCK:
            is_locked.set()
            time.sleep(0.5)

    other = threading.Thread(target=encode_slowly, daemon=True)
    other.start()
    assert is_locked.wait(timeout=5)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if corpus_encoder.LOCK.acquire(timeout=5) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    other.join()


def test_threads_may_share_a_tokenizer(tok):
    texts = [f"{story} {i}" for i, story in enumerate(STORY.split())]
    shares = [texts[start::8] for start in range(8)]
    tok._reset_caches()
    with ThreadPoolExecutor(8) as pool:
        for share, result in zip(shares * 9, pool.map(tok.encode_texts, shares * 9)):
            assert split_ids(*result) == one_by_one(tok, share)


def test_caches_stay_bounded(tok, monkeypatch):
    monkeypatch.setattr("tokenizer.fast.word_cache.WORD_CACHE_SIZE", 10)
    monkeypatch.setattr("tokenizer.fast.corpus_encoder.MAX_CACHED_UNITS", 10)
    tok._word_ids.clear()
    for i in range(100):
        text = f"a{i} b"
        assert [tok.encode_texts([text])[0].tolist()] == one_by_one(tok, [text])
        assert len(tok._word_ids) <= 10 and len(tok._corpus.units) <= 10 + 2
    tok.encode_texts(["x" * 101])
    assert "x" * 101 not in tok._word_ids


def test_the_number_of_cached_ids_is_bounded(tok, monkeypatch):
    # The cache holds at most 16 times as many ids as units.
    monkeypatch.setattr("tokenizer.fast.corpus_encoder.MAX_CACHED_UNITS", 10)
    tok._corpus.clear()
    for length in range(80, 90):
        assert len(tok.encode_ids("hd" * (length // 2) + "h" * (length % 2))) > 30
        assert len(tok._corpus.units) <= 10 and len(tok._corpus.ids) <= 16 * 10 + 90


def test_an_interruption_leaves_no_unit_without_its_ids(tok, monkeypatch):
    def interrupted(units):
        raise KeyboardInterrupt

    text = "quite new: one, two, three"
    encode_units = tok._corpus.encode_units
    monkeypatch.setattr(tok._corpus, "encode_units", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tok.encode_texts([text])
    monkeypatch.setattr(tok._corpus, "encode_units", encode_units)
    for other in ("three two one", text):
        assert [tok.encode_texts([other])[0].tolist()] == one_by_one(tok, [other])


def test_a_text_that_cannot_be_encoded_leaves_nothing_behind(tok):
    with pytest.raises(ValueError, match="lone surrogate"):
        tok.encode_texts(["new words here", "bad \ud800", "newer"])
    assert tok.encode_texts(["newer here"])[0].tolist() == one_by_one(tok, ["newer here"])[0]

"""The windows of a stream are the corpus, complete and in order; a closed Prefetcher stops."""
import itertools
import multiprocessing
import threading
import time

import numpy as np
import pytest
from data_helpers import Characters

from data import prepare
from data.stream import Closed, Prefetcher, Stream
from tokenizer.utils.workers import batch_texts

DOCUMENTS = [f"document {i}\n" + f"line {i * i} of it\n" * (i % 7) for i in range(300)]


class Corpus:
    def __init__(self, documents):
        self.all = documents
        self.passes = 0
        self.characters_read = 0

    def documents(self, split):
        assert split == "train"
        self.passes += 1
        self.characters_read = 0
        for document in self.all:
            self.characters_read += len(document)
            yield document

    def progress(self):
        return self.characters_read, 50_000


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr("data.stream.BATCH_CHARACTERS", 500)
    monkeypatch.setattr("data.stream.WINDOW_BATCHES", 4)
    monkeypatch.setattr("data.stream.INLINE_SECONDS", 0)


def stream_of(documents, workers=1):
    return Stream(Corpus(documents), Characters(), workers)


def first_pass(stream, **start):
    return list(itertools.takewhile(lambda window: window.pass_index == 0, stream.windows(**start)))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_windows_of_a_pass_equal_the_token_file(tmp_path, workers):
    tokens = prepare(DOCUMENTS, Characters(), tmp_path / "tokens", workers=1, show_progress=False)
    windows = first_pass(stream_of(DOCUMENTS, workers))
    assert len(windows) > 5
    assert {window.ids.dtype for window in windows} == {tokens.ids.dtype}
    ids = np.concatenate([window.ids for window in windows])
    assert ids.tolist() == tokens.ids[:].tolist()
    assert sum(window.num_documents for window in windows) == tokens.num_documents
    assert sum(window.num_bytes for window in windows) == tokens.num_bytes
    for name in ("segments", "documents"):
        lengths = np.concatenate([np.diff(getattr(window, name)) for window in windows])
        assert lengths.tolist() == np.diff(getattr(tokens, name)).tolist()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_window_knows_the_progress_at_its_end_even_if_workers_are_ahead_of_it(workers):
    sizes = [sum(map(len, batch)) for batch in batch_texts(DOCUMENTS, 500)]
    windows = first_pass(stream_of(DOCUMENTS, workers))
    ends = range(4, len(sizes) + 4, 4)  # four batches per window
    assert [window.progress for window in windows] == [(sum(sizes[:end]), 50_000) for end in ends]
    assert windows[-1].progress[0] == sum(map(len, DOCUMENTS))
    resumed = first_pass(stream_of(DOCUMENTS, workers), skip=windows[2].skip)
    assert resumed[0].progress == windows[2].progress


@pytest.mark.parametrize("start", [1, 3, -1])
def test_a_resumed_pass_has_the_same_remaining_windows(start):
    expected = first_pass(stream_of(DOCUMENTS))[start:]
    resumed = first_pass(stream_of(DOCUMENTS), skip=expected[0].skip)
    assert [window.skip for window in resumed] == [window.skip for window in expected]
    assert [window.ids.tolist() for window in resumed] == [w.ids.tolist() for w in expected]


@pytest.mark.parametrize("num_before, pass_index", [(0, 0), (3, 2)])
def test_resuming_in_changed_text_is_an_error(num_before, pass_index):
    """The text up to the end of the window counts; the text after it does not."""
    windows = stream_of(DOCUMENTS).windows(pass_index)
    window = next(itertools.islice(windows, num_before, None))

    def resume(documents):
        windows = stream_of(documents).windows(pass_index, window.skip, window.text_digest)
        return next(windows)

    for documents in (DOCUMENTS, [*DOCUMENTS[:-1], "another end"]):
        resumed = resume(documents)
        assert (resumed.skip, resumed.text_digest) == (window.skip, window.text_digest)
        assert resumed.ids.tolist() == window.ids.tolist()

    ends = np.cumsum([len(document) for document in DOCUMENTS])
    inside = int(np.argmax(ends > 500 * window.skip + 1))  # a document in the window
    for changed in (0, inside):
        documents = [d + "." if i == changed else d for i, d in enumerate(DOCUMENTS)]
        with pytest.raises(ValueError, match="the text of the corpus has changed"):
            resume(documents)
    with pytest.raises(ValueError, match="the text of the corpus has changed"):
        resume(DOCUMENTS[:2])


@pytest.mark.parametrize("documents", [[], ["", "\n \n"]])
def test_a_corpus_without_text_is_an_error(documents):
    with pytest.raises(ValueError, match="no text"):
        next(stream_of(documents).windows())


# Prefetcher


def test_items_come_in_order_and_only_one_is_prefetched():
    made = []
    prefetcher = Prefetcher(made.append(i) or i for i in range(100))
    assert [next(prefetcher) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.3)
    assert len(made) <= 5 + 2  # one in the queue, one that the thread waits to put there
    prefetcher.close()
    assert not prefetcher._thread.is_alive()


def test_an_error_is_raised_when_its_item_is_asked_for():
    def items():
        yield 1
        raise ValueError("broken file")
    prefetcher = Prefetcher(items())
    assert next(prefetcher) == 1
    with pytest.raises(ValueError, match="broken file"):
        next(prefetcher)
    prefetcher.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_interrupts_a_window_that_would_take_minutes_to_read(workers):
    slow = threading.Event()

    def documents():
        for i in itertools.count():
            if i > 80:
                slow.set()
                time.sleep(0.05)
            yield f"document {i}" * (5 if i < 80 else 1)
    closed = threading.Event()
    windows = stream_of(documents(), workers).windows(should_stop=closed.is_set)
    prefetcher = Prefetcher(windows, closed.set)
    next(prefetcher)
    assert slow.wait(10)
    start = time.monotonic()
    prefetcher.close()
    assert time.monotonic() - start < 0.8
    assert not prefetcher._thread.is_alive()
    assert not multiprocessing.active_children()


def test_closing_wakes_a_waiting_consumer_even_if_the_generator_does_not_stop(monkeypatch):
    monkeypatch.setattr("data.stream.JOIN_TIMEOUT", 0.05)
    resume, woken = threading.Event(), threading.Event()

    def items():
        resume.wait(10)
        yield 1

    def consume():
        with pytest.raises(Closed):
            next(prefetcher)
        woken.set()
    prefetcher = Prefetcher(items())
    threading.Thread(target=consume).start()
    prefetcher.close()
    assert woken.wait(10)
    assert prefetcher._thread.is_alive()
    resume.set()
    prefetcher._thread.join(10)
    assert not prefetcher._thread.is_alive()

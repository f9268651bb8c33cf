"""Streaming: the windows are the corpus, whole and in order; what is made ahead ends when it is told to."""
import itertools
import multiprocessing
import threading
import time

import numpy as np
import pytest
from data_helpers import Characters

from data import prepare
from data.stream import Closed, Prefetcher, Stream, Window
from tokenizer.trainers.counting import batches

DOCUMENTS = [f"document {number}\n" + f"line {number * number} of it\n" * (number % 7) for number in range(300)]


class Corpus:
    def __init__(self, documents):
        self.all, self.passes, self.read = documents, 0, 0

    def documents(self, split):
        assert split == "train"
        self.passes, self.read = self.passes + 1, 0
        for document in self.all:
            self.read += len(document)
            yield document

    def progress(self):
        return self.read, 50_000


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr("data.stream.BATCH_CHARACTERS", 500)
    monkeypatch.setattr("data.stream.WINDOW_BATCHES", 4)


def one_pass(stream, **start):
    """[(skip, window), ...] of the first pass."""
    found = []
    for number, skip, _, window in stream.windows(**start):
        if number:
            return found
        found.append((skip, window))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_windows_of_a_pass_are_the_token_file(tmp_path, workers):
    made = prepare(iter(DOCUMENTS), Characters(), tmp_path / "tokens", workers=1, show_progress=False)
    windows = [window for _, window in one_pass(Stream(Corpus(DOCUMENTS), Characters(), workers))]
    assert len(windows) > 5
    assert np.concatenate([window.ids for window in windows]).tolist() == made.ids[:].tolist()
    assert sum(window.num_documents for window in windows) == made.num_documents
    assert sum(window.num_bytes for window in windows) == made.num_bytes
    for name in ("segments", "documents"):
        lengths = np.concatenate([np.diff(getattr(window, name)) for window in windows])
        assert lengths.tolist() == np.diff(getattr(made, name)).tolist()
    assert {window.ids.dtype for window in windows} == {made.ids.dtype}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_window_says_how_far_the_corpus_was_read_with_it(workers):
    """However far ahead of it the corpus is read."""
    sizes = [sum(map(len, batch)) for batch in batches(DOCUMENTS, 500)]
    windows = one_pass(Stream(Corpus(DOCUMENTS), Characters(), workers))
    assert [window.read for _, window in windows] == [(sum(sizes[:end]), 50_000) for end in range(4, len(sizes) + 4, 4)]
    assert windows[-1][1].read[0] == sum(map(len, DOCUMENTS))
    later = one_pass(Stream(Corpus(DOCUMENTS), Characters(), workers), skip=windows[2][0])
    assert later[0][1].read == windows[2][1].read


def test_from_where_a_window_began_the_rest_of_the_pass_is_the_same():
    stream = Stream(Corpus(DOCUMENTS), Characters(), 1)
    whole = one_pass(stream)
    for place in (1, 3, len(whole) - 1):
        rest = one_pass(stream, skip=whole[place][0])
        assert [skip for skip, _ in rest] == [skip for skip, _ in whole[place:]]
        assert all((a.ids == b.ids).all() for (_, a), (_, b) in zip(rest, whole[place:]))


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("number", [0, 2])
def test_who_goes_on_in_another_text_is_told_so(place, number):
    """What has been read counts, the window itself included: one character more in it, or before it, or too few; but not what comes after it."""
    windows = Stream(Corpus(DOCUMENTS), Characters(), 1).windows(number)
    for _ in range(place + 1):
        _, skip, reached, window = next(windows)
    def at(documents):
        return next(Stream(Corpus(documents), Characters(), 1).windows(number, skip, reached))
    assert at(DOCUMENTS)[1:3] == (skip, reached) and (at(DOCUMENTS)[3].ids == window.ids).all()
    assert at([*DOCUMENTS[:-1], "another end"])[1:3] == (skip, reached)
    last = next(n for n in range(300) if sum(map(len, DOCUMENTS[:n + 1])) > 500 * skip + 1)  # a document in the window
    for documents in ([DOCUMENTS[0] + ".", *DOCUMENTS[1:]], [*DOCUMENTS[:last], DOCUMENTS[last] + ".", *DOCUMENTS[last + 1:]], DOCUMENTS[:2]):
        with pytest.raises(ValueError, match=f"has changed: the first {reached['batches']} batches of it, 500 characters each, are not those"):
            at(documents)


def test_pass_follows_pass():
    corpus = Corpus(DOCUMENTS[:10])
    windows = Stream(corpus, Characters(), 1).windows()
    numbers = [next(windows)[0] for _ in range(6)]
    assert numbers == sorted(numbers) and numbers[-1] >= 2 and corpus.passes == numbers[-1] + 1


@pytest.mark.parametrize("documents", [[], ["", "\n \n"]])
def test_a_corpus_without_text_is_an_error_and_no_endless_search(documents):
    with pytest.raises(ValueError, match="no text"):
        next(Stream(Corpus(documents), Characters(), 1).windows())


def test_a_window_has_what_examples_are_made_from():
    window = Window([(np.array([65, 66, 67], np.uint8), np.array([2, 1]), np.array([2]), 5),
                     (np.array([68], np.uint8), np.array([1]), np.array([1]), 2)], Characters())
    assert window.ids.tolist() == [65, 66, 67, 68] and window.segments.tolist() == [0, 2, 3, 4] and window.documents.tolist() == [0, 2, 3]
    assert (window.num_tokens, window.num_segments, window.num_documents, window.num_bytes) == (4, 3, 2, 7)


# Ahead


def test_items_come_in_order_one_ahead_and_not_more():
    made = []
    ahead = Prefetcher(made.append(n) or n for n in range(100))
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.3)
    assert len(made) <= 5 + 2  # one waits, one is in the hand of the thread
    ahead.close()
    assert not any(thread.name == ahead._thread.name for thread in threading.enumerate())


def test_an_error_comes_out_where_the_item_would():
    def items():
        yield 1
        raise ValueError("broken file")
    ahead = Prefetcher(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken file"):
        next(ahead)
    ahead.close()


def test_closing_ends_the_workers_too():
    ahead = Prefetcher(Stream(Corpus(DOCUMENTS * 30), Characters(), 2).windows())
    next(ahead)
    ahead.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stream_ends_in_the_middle_of_a_window(workers):
    """The third window would take two minutes to read."""
    slow = threading.Event()

    def documents():
        for number in itertools.count():
            if number > 80:
                slow.set()
                time.sleep(0.05)
            yield f"document {number}" * (5 if number < 80 else 1)
    closed = threading.Event()
    ahead = Prefetcher(Stream(Corpus(documents()), Characters(), workers).windows(closed=closed.is_set), closed.set)
    next(ahead)
    assert slow.wait(10)
    start = time.monotonic()
    ahead.close()
    assert time.monotonic() - start < 0.8 and not ahead._thread.is_alive() and not multiprocessing.active_children()


def test_a_generator_that_does_not_notice_holds_nobody_up_and_who_waits_is_told(monkeypatch):
    monkeypatch.setattr("data.stream.PATIENCE", 0.05)
    go_on, told = threading.Event(), []

    def items():
        go_on.wait(10)
        yield 1

    def waits():
        with pytest.raises(Closed):
            next(ahead)
        told.append(True)
    ahead = Prefetcher(items())
    waiting = threading.Thread(target=waits)
    waiting.start()
    ahead.close()
    waiting.join(10)
    assert told and ahead._thread.is_alive()
    go_on.set()
    ahead._thread.join(10)
    assert not ahead._thread.is_alive()

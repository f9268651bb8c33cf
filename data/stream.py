"""Train straight from text: read, tokenize and yield windows of tokens, with nothing on disk.

    documents -> batches of text -> ids (on all cores, while the model trains)
              -> windows -> examples, shuffled within their window

A window is a token file in memory, a few million tokens long, and ``minibert.examples`` makes
examples from it as from any token file. The windows are the shuffle buffer, and no other part of
the corpus is in memory, so the text may be larger than the disk has room for in prepared form.
The cost: documents that are close in the corpus stay close in training, and every pass
tokenizes the text again.
"""
import contextlib
import queue
import threading
from collections import deque
from itertools import islice

import numpy as np

from data.prepare import BATCH_CHARACTERS, EMPTY_DIGEST, encode_batch, extend_digest
from tokenizer.fast.corpus_encoder import dtype_for
from tokenizer.utils.workers import batch_texts, map_in_order

WINDOW_BATCHES = 32  # batches of half a million characters: about four million tokens
INLINE_SECONDS = 1.0  # a small text needs no workers, which would take cores from the training
JOIN_TIMEOUT = 1.0  # seconds that Prefetcher.close waits for its thread


class Window:
    """Consecutive documents as ids, with the attributes of a ``TokenFile`` that examples use.

    encoded: a list of results of ``encode_batch``. The other arguments say which part of the
    corpus this is:

    pass_index    the pass over the corpus, from 0
    skip          batches of text before this window in its pass
    text_digest   digest of the text of this pass up to the window's end (``extend_digest``)
    progress      ``corpus.progress()`` at the window's end
    """

    folder = "the stream"  # for error messages

    def __init__(self, encoded, tokenizer, pass_index, skip, text_digest, progress):
        self.pass_index = pass_index
        self.skip = skip
        self.text_digest = text_digest
        self.progress = progress
        self.tokenizer_fingerprint = tokenizer.fingerprint

        ids = np.concatenate([batch[0] for batch in encoded])
        self.ids = ids.astype(dtype_for(tokenizer.vocab_size))  # (num_tokens,)
        # Offsets as in a token file: segment i is ids[segments[i]:segments[i + 1]].
        self.segments = offsets([batch[1] for batch in encoded])  # (num_segments + 1,)
        self.documents = offsets([batch[2] for batch in encoded])  # (num_documents + 1,)
        self.num_tokens = len(self.ids)
        self.num_segments = len(self.segments) - 1
        self.num_documents = len(self.documents) - 1
        self.num_bytes = sum(batch[3] for batch in encoded)


def offsets(lengths):
    """Return where each item starts, and the end of the last. ``[[2, 1], [1]] -> [0, 2, 3, 4]``"""
    return np.concatenate(([0], np.concatenate(lengths).cumsum())).astype(np.int64)


class Stream:
    """The training split of a corpus as an endless sequence of windows, pass after pass.

    corpus: see ``open_corpus``. workers: number of processes; None means one per core.
    """

    def __init__(self, corpus, tokenizer, workers=None):
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.workers = workers

    def windows(self, pass_index=0, skip=0, expected_digest=None, should_stop=lambda: False):
        """Yield windows, starting in pass ``pass_index`` after its first ``skip`` batches of text.

        To resume, pass these two attributes of the last window and its ``text_digest`` as
        ``expected_digest``: the first window yielded is that window. ``should_stop`` is called
        for each document; once it returns True, ``Closed`` is raised, even within a window.

        Raises ValueError if the corpus has no text, or if the text up to the end of the first
        window does not have the expected digest.
        """
        found_text = False
        while True:
            for window in self._windows_of_pass(pass_index, skip, expected_digest, should_stop):
                found_text = True
                yield window
            if not found_text:
                raise ValueError("the corpus is empty: there is no text to train on")
            pass_index += 1
            skip = 0
            expected_digest = None

    def _windows_of_pass(self, pass_index, skip, expected_digest, should_stop):
        documents = stop_when(should_stop, self.corpus.documents("train"))
        text_batches = batch_texts(documents, BATCH_CHARACTERS)
        digest = EMPTY_DIGEST
        for batch in islice(text_batches, skip):  # these are read but not tokenized
            digest = extend_digest(digest, batch)

        in_flight = deque()  # (digest, progress) of each batch that the workers have
        tracked = self._track(text_batches, digest, in_flight)
        encoded = map_in_order(encode_batch, tracked, self.tokenizer, self.workers,
                               inline_seconds=INLINE_SECONDS)
        with contextlib.closing(encoded):
            while chunk := list(islice(encoded, WINDOW_BATCHES)):
                for _ in chunk:
                    digest, progress = in_flight.popleft()
                if expected_digest not in (None, digest):
                    raise text_has_changed(expected_digest)
                expected_digest = None
                window = Window(chunk, self.tokenizer, pass_index, skip, digest, progress)
                if window.num_tokens:
                    yield window
                skip += len(chunk)
        if expected_digest is not None:  # the text ends before the window to resume from
            raise text_has_changed(expected_digest)

    def _track(self, text_batches, digest, in_flight):
        """Yield the batches; append the digest and the corpus' progress at the end of each."""
        for batch in text_batches:
            digest = extend_digest(digest, batch)
            in_flight.append((digest, self.corpus.progress()))
            yield batch


def stop_when(should_stop, items):
    """Yield the items; raise Closed as soon as ``should_stop()`` is true."""
    for item in items:
        if should_stop():
            raise Closed
        yield item


def text_has_changed(expected_digest):
    """Return the ValueError for a resumed run whose text is not what it was trained on."""
    size = expected_digest["batches"] * BATCH_CHARACTERS
    return ValueError(f"the text of the corpus has changed: its first {size:,} characters are not "
                      "those that were trained on. Restore the text, or start a new run")


class Closed(Exception):
    """The consumer has closed the Prefetcher."""


class Prefetcher:
    """Iterate over a generator in a background thread, one item ahead of the consumer.

    ``close`` ends the thread. on_close: called by ``close``, to interrupt a generator that would
    otherwise work or wait for a long time.
    """

    def __init__(self, generator, on_close=lambda: None):
        self._generator = generator
        self._on_close = on_close
        self._items = queue.Queue(maxsize=1)  # (item, None) or (None, error)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self):
        with contextlib.closing(self._generator):
            try:
                for item in self._generator:
                    if not self._put((item, None)):
                        return
            except Exception as error:
                self._put((None, error))

    def _put(self, entry):
        """Wait until the queue has room; return False if the Prefetcher is closed before that."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(entry, timeout=0.1)
                return True
        return False

    def __iter__(self):
        return self

    def __next__(self):
        item, error = self._items.get()
        if error:
            raise error
        return item

    def close(self):
        """Stop the thread, waiting at most JOIN_TIMEOUT seconds.

        A generator that takes longer to notice keeps running in its daemon thread until it does.
        Another thread that is waiting for an item gets ``Closed``.
        """
        self._closed.set()
        self._on_close()
        with contextlib.suppress(queue.Full):  # full: there is an item, so no thread is waiting
            self._items.put_nowait((None, Closed()))
        self._thread.join(JOIN_TIMEOUT)

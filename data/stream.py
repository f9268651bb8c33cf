"""Training straight from text: read, tokenize and hand on, window by window, with nothing prepared on disk.

    documents -> batches of text -> ids (on all cores, while the model trains) -> windows -> examples, shuffled within their window

A window is a token file in memory: a few million tokens, of which ``minibert.examples`` makes examples as of any other. It is the buffer through
which the corpus is shuffled, and all of the corpus that is ever held, so the files may be larger than the disk has room to prepare. What it
costs: neighbours in the corpus stay near each other in training, and each epoch is tokenized anew.
"""
import contextlib
import queue
import threading
from collections import deque
from itertools import islice

import numpy as np

from data.prepare import BEGINNING, encode_batch, extend_digest, with_digests
from tokenizer.fast.corpus_encoder import BATCH_CHARACTERS, dtype_for
from tokenizer.trainers.counting import batches
from tokenizer.utils.workers import map_in_order

WINDOW_BATCHES = 32  # of half a million characters each: 16 million, about four million tokens
PATIENCE = 1.0  # seconds that whoever closes an ``Prefetcher`` waits for its thread


class Window:
    """Some documents as ids, with the members of a ``TokenFile`` that examples are made from."""

    def __init__(self, encoded, tokenizer, read=None):
        """encoded: a list of what ``encode_batch`` gives.  read: what the corpus' ``position`` was at its end."""
        ids, segments, documents, sizes = zip(*encoded)
        self.ids = np.concatenate(ids).astype(dtype_for(tokenizer.vocab_size))  # (num_tokens,)
        self.segments = np.concatenate(([0], np.cumsum(np.concatenate(segments)))).astype(np.int64)  # as in a token file
        self.documents = np.concatenate(([0], np.cumsum(np.concatenate(documents)))).astype(np.int64)
        self.num_tokens, self.num_segments, self.num_documents = len(self.ids), len(self.segments) - 1, len(self.documents) - 1
        self.num_bytes, self.read = sum(sizes), read
        self.folder, self.tokenizer_fingerprint = "the stream", tokenizer.fingerprint


class Stream:
    """The training part of a corpus as an endless row of windows, pass after pass.

    corpus: as ``open_corpus`` gives it.  workers: processes, None is one a core. ``Stream(corpus, tokenizer).windows()`` yields
    (pass, number of batches of text before it, how far the text of this pass reaches with it, Window): the third is what ``prepare.extend_digest``
    gives. Raises ValueError for a corpus without text.
    """

    def __init__(self, corpus, tokenizer, workers=None):
        self.corpus, self.tokenizer, self.workers = corpus, tokenizer, workers

    def windows(self, number=0, skip=0, reached=None, closed=lambda: False):
        """From pass ``number`` on, and in that without the first ``skip`` batches of text, which are read and not tokenized.

        reached: how far the first window reached when it was yielded before; ValueError where its text, or any before it, has changed.
        closed: is asked at each document; where it says True, Closed is raised in the middle of a window.
        """
        found = False
        while True:
            texts, here, ends = batches(unless(closed, self.corpus.documents("train")), BATCH_CHARACTERS), BEGINNING, deque()
            for batch in islice(texts, skip):
                here = extend_digest(here, batch)
            new = self._placed(with_digests(texts, here, ends), read := deque())
            encoded = map_in_order(encode_batch, new, self.tokenizer, self.workers, first_here=WINDOW_BATCHES)
            with contextlib.closing(encoded):
                while some := list(islice(encoded, WINDOW_BATCHES)):
                    here, place = [(ends.popleft(), read.popleft()) for _ in some][-1]
                    if reached not in (None, here):
                        raise changed(reached)
                    window, reached = Window(some, self.tokenizer, place), None
                    if window.num_tokens:
                        found = True
                        yield number, skip, here, window
                    skip += len(some)
            if reached is not None:
                raise changed(reached)
            if not found:
                raise ValueError("the corpus is empty: there is no text to train on")
            number, skip = number + 1, 0

    def _placed(self, batches, read):
        """Yield the batches; how much of the corpus has been read with each is put to ``read``."""
        for batch in batches:
            read.append(self.corpus.progress())
            yield batch


def unless(closed, items):
    """Yield the items; Closed as soon as ``closed()``."""
    for item in items:
        if closed():
            raise Closed
        yield item


def changed(reached):
    """The ValueError for text that is no longer what was trained on, up to where that reached."""
    return ValueError(f"the text of the corpus has changed: the first {reached['batches']:,} batches of it, {BATCH_CHARACTERS:,} characters each, "
                      "are not those that were trained on. Put it back as it was, or begin a new run")


class Closed(Exception):
    """Nothing more is wanted."""


class Prefetcher:
    """An iterator whose next item is made in a thread while the present one is used. ``close`` ends the thread, and what it was at.

    end: called by ``close``, so that a generator breaks off that would work on, or wait, for long.
    """

    def __init__(self, generator, end=lambda: None):
        self._generator, self._items, self._closed, self._end = generator, queue.Queue(maxsize=1), threading.Event(), end
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

    def _put(self, item):
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.1)
                return True
        return False

    def __next__(self):
        item, error = self._items.get()
        if error:
            raise error
        return item

    def close(self):
        """In PATIENCE at most: a generator that has not noticed by then goes on alone, until it does or the process ends.

        Another thread that waits for an item gets Closed.
        """
        self._closed.set()
        self._end()
        with contextlib.suppress(queue.Full):  # then nobody waits
            self._items.put_nowait((None, Closed()))
        self._thread.join(PATIENCE)

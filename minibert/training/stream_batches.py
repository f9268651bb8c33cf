"""Training batches straight from the text (--stream): each window of a stream is a small epoch.

A stream (data/stream.py) reads and tokenizes the corpus in batches of text, half a million
characters each, and yields windows of 32 of them. Units that are easily confused:

    pass      once over the corpus
    window    a few million tokens: one shuffle buffer, and the "epoch" of order and masks
    skip      batches of *text* in the pass before the window, read but not tokenized on resuming
    batch     index of the next *training* batch (of examples) within the window
"""
import contextlib
import threading

from data.stream import Prefetcher
from minibert.batches import EmptyCorpusError, EpochBatches
from minibert.sentence_pairs import TooFewDocuments


class StreamBatches:
    """An endless iterator like ``batches.Batches``, over the windows of a stream.

    make_examples: a function from a Window to its examples. options: the other arguments of
    ``Batches``, by name. A resumed run raises ValueError if the text before its window has changed.
    """

    STATE_KEYS = {"pass", "skip", "text_digest", "read", "window", "batch"}  # of ``state_dict``
    batches_per_epoch = None  # unknown before the end of the first pass

    def __init__(self, stream, make_examples, **options):
        self._stream = stream
        self._make_examples = make_examples
        self._options = options
        self._closed = threading.Event()
        self.load_state_dict({
            "pass": 0, "skip": 0, "text_digest": None,  # arguments of ``Stream.windows``
            "read": None,  # how much of the corpus has been read, for the progress bar
            "window": 0,  # index of the window in the run, over all passes
            "batch": 0,
        })

    def peek(self):
        """Return the next batch without advancing; wait for its window if necessary."""
        if self._window_batches is None:
            self._window_batches = self._next_window()
        # The window is done. (After resuming, this may be so before any batch was taken.)
        if self._state["batch"] == len(self._window_batches):
            self._state["window"] += 1
            self._state["batch"] = 0
            self._window_batches = self._next_window()
        return self._window_batches[self._state["batch"]]

    def __iter__(self):
        return self

    def __next__(self):
        batch = self.peek()
        self._state["batch"] += 1
        return batch

    def _next_window(self):
        """Return the batches of the next window that has an example.

        The last window of a pass may be too small for one. Two passes without one are an error.
        """
        state = self._state
        try:
            if self._windows is None:
                windows = self._stream.windows(state["pass"], state["skip"],
                                               state["text_digest"], self._closed.is_set)
                self._windows = Prefetcher(windows, self._closed.set)
            last_pass = state["pass"] + 1
            while state["pass"] <= last_pass:
                window = next(self._windows)
                # What resuming needs to read this window again
                state |= {"pass": window.pass_index, "skip": window.skip,
                          "text_digest": window.text_digest, "read": window.progress}
                with contextlib.suppress(TooFewDocuments, EmptyCorpusError):
                    examples = self._make_examples(window)
                    return EpochBatches(examples, epoch=state["window"], **self._options)
            raise ValueError("the corpus has no example: its documents are too few or too short")
        except BaseException:  # on an error or Ctrl-C, leave no thread behind
            self.close()
            raise

    def state_dict(self):
        """Return what ``load_state_dict`` needs to continue with the next batch, as JSON values."""
        return dict(self._state)

    def load_state_dict(self, state, batches_differ=False):
        """Continue where another ``StreamBatches`` was. To be called before the first batch.

        batches_differ: the window is cut into other batches now. Start it again.
        """
        self._state = state | {"batch": 0} if batches_differ else dict(state)
        self._windows = None  # a Prefetcher, started when the first batch is needed
        self._window_batches = None

    def close(self):
        """Stop the background thread that reads and tokenizes."""
        self._closed.set()
        if self._windows:
            self._windows.close()

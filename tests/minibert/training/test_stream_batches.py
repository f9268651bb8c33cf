"""Batches straight from a text; test_resume.py has streamed runs."""
import itertools
import threading
from types import SimpleNamespace

import pytest

from minibert.training.stream_batches import StreamBatches


def test_ctrl_c_while_the_first_window_of_a_stream_is_read_leaves_no_thread():
    def interrupted(window):
        raise KeyboardInterrupt

    window = SimpleNamespace(pass_index=0, skip=0, text_digest=None, progress=None)
    stream = SimpleNamespace(windows=lambda *args: (window for _ in itertools.count()))
    num_threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        next(StreamBatches(stream, interrupted, masker=None, batch_size=8, pad_token_id=1, seed=0))
    assert threading.active_count() == num_threads

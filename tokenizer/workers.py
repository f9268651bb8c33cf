"""Work on many items at once, on all cores, and get the results in the order of the items.

The standard pools are nearly this. What is added: results come in order while only a few items are in flight
(``Pool.imap`` reads its whole input ahead, so memory would grow with the corpus), Ctrl-C stops at once
and quietly, and workers whose parent was killed end too.
"""
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

_shared = None  # in a worker: what every call gets as its first argument


def available_cores():
    """The number of cores that this process may use: 2 in a container that was given two of 64."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function, items, shared=None, workers=None, advice="use fewer, workers=1"):
    """Yield ``function(shared, item)`` for each item, in order; at most ``2 * workers + 1`` items are in flight.

    ``shared`` goes to each worker once (a tokenizer, say), not with every item. ``function`` stands at the top level
    of a module, as pickling needs. ``workers``: processes; None is one for each core; 1, or a single item, stays
    in this process.

    Raises what ``function`` raises; ChildProcessError, an OSError, when a worker was killed (most often for want of memory):
    ``advice`` is how its message ends.

    ``list(map_in_order(pow, [1, 2, 3], shared=2)) -> [2, 4, 8]``
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}: it takes at least 1")
    items = iter(items)
    head = list(itertools.islice(items, 2)) if workers > 1 else []
    if len(head) < 2:  # nothing to share out
        for item in itertools.chain(head, items):
            yield function(shared, item)
        return
    pool = _start_pool(workers, shared)
    waiting = deque()
    try:
        for item in itertools.chain(head, items):
            with _interrupt_waits():  # submitting may start a worker
                waiting.append(pool.submit(_call, function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise ChildProcessError(f"one of {workers} worker processes was killed, most likely because memory ran out: {advice}") from None
    except BaseException:
        # Also a second Ctrl-C: it could interrupt the orderly shutdown and leave workers that nobody told to stop.
        for worker in list((pool._processes or {}).values()):
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_pool(workers, shared):
    # Linux: fork, which starts in milliseconds and needs no `if __name__ == "__main__"` in the caller's script. The
    # children run plain Python (no BLAS, no CUDA), so the threads that torch may have started do not matter
    # to them; Python 3.12 warns of such threads. Elsewhere: spawn.
    method = "fork" if sys.platform.startswith("linux") else "spawn"
    warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(shared, os.getpid()))


@contextlib.contextmanager
def _interrupt_waits():
    """Hold Ctrl-C back for a moment: a worker begins with its parent's mask, so none is hit before it has set its own answer."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(shared, parent):
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent alone answers it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler that a training loop may have set
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _call(function, item):
    return function(_shared, item)

"""Work on many items at once, on all cores, and get the results in the order of the items.

The standard pools are nearly this. But ``Pool.imap`` reads its whole input ahead, so memory would grow with the corpus; and in all of
them the workers share one pipe, where a worker that is killed in the middle of a result (Ctrl-C, want of memory) leaves the parent waiting for the
rest of it for ever. Here each worker has a pipe of its own: whatever ends it also ends the pipe, and the parent knows at once; and the other
way round.
"""
import contextlib
import gc
import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from multiprocessing.connection import wait

AHEAD = 2  # items that a worker is given at a time: with the next at hand it need not wait for the parent


def available_cores():
    """The number of cores that this process may use: 2 in a container that was given two of 64."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function, items, shared=None, workers=None, advice="use fewer, workers=1", num_inline=0):
    """Yield ``function(shared, item)`` for each item, in order; at most ``2 * workers + 1`` items are in flight.

    ``shared`` goes to each worker once (a tokenizer, say), not with every item. ``function`` stands at the top level
    of a module, as pickling needs. ``workers``: processes; None is one for each core; 1, or a single item, stays
    in this process. So do the first ``num_inline`` items: what ``shared`` remembers of them, the workers, which are forked, know too.

    Raises what ``function`` raises; ChildProcessError, an OSError, when a worker was killed (most often for want of memory):
    ``advice`` is how its message ends.

    ``list(map_in_order(pow, [1, 2, 3], shared=2)) -> [2, 4, 8]``
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers is {workers}: it takes at least 1")
    items = iter(items)
    for item in itertools.islice(items, num_inline):
        yield function(shared, item)
    head = list(itertools.islice(items, 2)) if workers > 1 else []
    items = itertools.chain(head, items)
    if len(head) < 2:  # nothing to share out
        for item in items:
            yield function(shared, item)
        return
    pool = Pool(workers, function, shared)
    try:
        yield from pool.results(items)
    except WorkerEnded:
        raise ChildProcessError(f"one of {workers} worker processes was killed, most likely because memory ran out: {advice}") from None
    finally:
        pool.stop()


def batch_texts(texts, size):
    """Lists of texts with together about ``size`` characters; a longer text comes alone.

    >>> list(batch_texts(["aa", "b", "cccc", "d"], size=3))
    [['aa', 'b'], ['cccc'], ['d']]
    """
    batch, characters = [], 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= size:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class WorkerEnded(Exception):
    """The other end of a pipe is gone."""


@contextlib.contextmanager
def alive():
    try:
        yield
    except (EOFError, OSError):  # between two results, or in the middle of one
        raise WorkerEnded from None


class Pool:
    """Worker processes, each with a pipe. ``results`` yields what they make of items, in order."""

    def __init__(self, workers, function, shared):
        # Linux: fork, which starts in milliseconds and needs no `if __name__ == "__main__"` in the caller's script. The
        # children run plain Python (no BLAS, no CUDA), so the threads that torch may have started do not matter
        # to them; Python 3.12 warns of such threads. Elsewhere: spawn.
        context = multiprocessing.get_context("fork" if sys.platform.startswith("linux") else "spawn")
        warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
        self.processes, self.pipes = [], []
        with delay_interrupts():  # a worker begins with its parent's mask, so Ctrl-C hits none before it has set its own answer
            for _ in range(workers):
                here, there = context.Pipe()
                self.pipes.append(here)
                self.processes.append(context.Process(target=work, args=(there, self.pipes, function, shared), daemon=True))
                self.processes[-1].start()
                there.close()

    def results(self, items):
        """Raises what was raised in a worker, and WorkerEnded."""
        given = {pipe: deque() for pipe in self.pipes}  # numbers of the items that each is working on, in order
        done, first, number = {}, 0, 0  # results that wait for their turn; the number of the one whose turn it is; of the next item
        for item in items:
            pipe = min(given, key=lambda pipe: len(given[pipe]))
            with alive():
                pipe.send(item)
            given[pipe].append(number)
            number += 1
            while all(len(numbers) >= AHEAD for numbers in given.values()) or number - first > AHEAD * len(given):
                self._receive(given, done)
                while first in done:
                    yield done.pop(first)
                    first += 1
        while first < number:
            if first not in done:
                self._receive(given, done)
            else:
                yield done.pop(first)
                first += 1

    def _receive(self, given, done):
        for pipe in wait([pipe for pipe, numbers in given.items() if numbers]):
            with alive():
                result, error, trace = pipe.recv()
            if error:
                raise error from ChildProcessError(f"in a worker process\n{trace}")
            done[given[pipe].popleft()] = result

    def stop(self):
        """At once: whoever stops early wants no more results, and at the end the workers have none."""
        with delay_interrupts():
            for process in self.processes:
                process.kill()
            for process, pipe in zip(self.processes, self.pipes):
                process.join()
                pipe.close()


@contextlib.contextmanager
def delay_interrupts():
    """Hold Ctrl-C back for a moment."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe, parents_pipes, function, shared):
    """What a worker does: items in, (result, error, its traceback) out, until it is killed, or its parent is."""
    gc.freeze()  # what comes from the parent is not garbage: to look through it would copy all of its memory
    for other_end in parents_pipes:
        other_end.close()  # else this process would keep them open, and none would end with the parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent alone answers it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler that a training loop may have set
    items = queue.SimpleQueue()
    threading.Thread(target=read_items, args=(pipe, items), daemon=True).start()
    while True:
        item = items.get()
        try:
            answer = function(shared, item), None, None
        except Exception as error:
            answer = None, error, traceback.format_exc()
        try:
            pipe.send(answer)
        except OSError:  # the parent is gone, and ``read_items`` is about to notice
            os._exit(1)


def read_items(pipe, items):
    """Read while the worker works: so the parent never waits to send, and its end is noticed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            items.put(pipe.recv())
    os._exit(1)

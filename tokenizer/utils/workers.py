"""Process many items on all cores and return the results in order.

Why not ``multiprocessing.Pool``? ``Pool.imap`` reads its whole input ahead, so memory would grow
with the corpus. And its workers share one pipe: if a worker is killed while it sends a result (out
of memory, Ctrl-C), the parent waits for the rest forever. Here each worker has its own pipe, which
closes when the worker ends, so the parent notices at once; and the other way around.
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
import time
import traceback
import warnings
from collections import deque
from multiprocessing.connection import wait

from tokenizer.utils.signals import delay_interrupts

# Items that a worker has at a time: with the next one at hand it need not wait for the parent.
ITEMS_PER_WORKER = 2
WORKER_NAME = "minibert-worker"


def available_cores():
    """Return the number of cores that this process may use, also in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(function, items, shared=None, workers=None, advice="use fewer, workers=1",
                 inline_seconds=None):
    """Yield ``function(shared, item)`` for each item, in order.

    At most ``2 * workers + 1`` items are in flight.

    function         must be at the top level of a module, so that it can be pickled
    shared           sent to each worker once, such as a tokenizer
    workers          number of processes; None: one per core; 1: everything runs in this process
    advice           end of the error message if a worker is killed
    inline_seconds   how long this process works alone before it forks the workers, which then have
                     everything that ``shared`` has cached by then. At least one item; None: no item

    A daemonic process (such as a worker of a DataLoader) may not start others: there, everything
    runs in this process.

    Raises what ``function`` raises, and ChildProcessError if a worker was killed or cannot start.

    ``list(map_in_order(pow, [1, 2, 3], shared=2)) -> [2, 4, 8]``
    """
    workers = available_cores() if workers is None else workers
    if multiprocessing.current_process().daemon:
        workers = 1
    items = iter(items)
    if inline_seconds is not None:
        start = time.perf_counter()
        for item in items:
            yield function(shared, item)
            if time.perf_counter() - start >= inline_seconds:
                break

    # Look two items ahead: a single item is not worth a process.
    head = list(itertools.islice(items, 2)) if workers > 1 else []
    items = itertools.chain(head, items)
    if len(head) < 2:
        for item in items:
            yield function(shared, item)
        return

    pool = Pool(workers, function, shared, advice)
    try:
        yield from pool.results(items)
    finally:
        pool.stop()


def batch_texts(texts, size):
    """Yield lists of texts that have about ``size`` characters together.

    >>> list(batch_texts(["aa", "b", "cccc", "d"], size=3))
    [['aa', 'b'], ['cccc'], ['d']]
    """
    batch = []
    num_characters = 0
    for text in texts:
        batch.append(text)
        num_characters += len(text)
        if num_characters >= size:
            yield batch
            batch = []
            num_characters = 0
    if batch:
        yield batch


class Pool:
    """Worker processes, each with its own pipe."""

    def __init__(self, workers, function, shared, advice):
        exit_if_imported_by_worker()
        # Linux: fork starts in milliseconds and needs no `if __name__ == "__main__"` in the
        # caller's script. The children run plain Python (no BLAS, no CUDA), so threads that torch
        # has started do not matter, though Python 3.12 warns of them. Elsewhere: spawn.
        method = "fork" if sys.platform.startswith("linux") else "spawn"
        context = multiprocessing.get_context(method)
        warnings.filterwarnings("ignore", message=".*use of fork.*", category=DeprecationWarning)
        self.advice = advice
        self.processes = []
        self.pipes = []
        # A forked worker has the task already. Another one imports the caller's script first. If
        # it dies of that, ``start`` would wait for it to read a large task, but a pipe reports it.
        self.task = (function, shared)
        self.is_forked = context.get_start_method() == "fork"
        # A worker starts with its parent's signal mask, so Ctrl-C cannot reach it before it has
        # set its own handlers.
        with delay_interrupts():
            for _ in range(workers):
                parent_end, child_end = context.Pipe()
                self.pipes.append(parent_end)
                arguments = (child_end, self.pipes, self.task) if self.is_forked else (child_end,)
                process = context.Process(target=run_worker, args=arguments, daemon=True,
                                          name=WORKER_NAME)
                with self._explain_failed_start():
                    process.start()
                self.processes.append(process)
                child_end.close()

    def results(self, items):
        """Yield the results in the order of the items."""
        if not self.is_forked:
            for pipe in self.pipes:
                with self._explain_failed_start():
                    pipe.recv()  # ready: the worker has imported the script
                pipe.send(self.task)
        in_flight = {pipe: deque() for pipe in self.pipes}  # indices of each worker's items
        done = {}      # index -> result, for results that wait for an earlier one
        next_out = 0   # index of the next result to yield
        next_in = 0    # index of the next item to send
        limit = ITEMS_PER_WORKER * len(self.pipes)
        for item in items:
            pipe = min(in_flight, key=lambda pipe: len(in_flight[pipe]))  # the least busy worker
            with self._explain_closed_pipe():
                pipe.send(item)
            in_flight[pipe].append(next_in)
            next_in += 1
            # Every worker has enough to do, or one slow item keeps too many results waiting.
            while (all(len(indices) >= ITEMS_PER_WORKER for indices in in_flight.values())
                   or next_in - next_out > limit):
                self._receive(in_flight, done)
                while next_out in done:
                    yield done.pop(next_out)
                    next_out += 1
        while next_out < next_in:
            while next_out not in done:
                self._receive(in_flight, done)
            yield done.pop(next_out)
            next_out += 1

    def _receive(self, in_flight, done):
        """Wait for at least one result and move what has arrived to ``done``."""
        busy = [pipe for pipe, indices in in_flight.items() if indices]
        for pipe in wait(busy):
            with self._explain_closed_pipe():
                result, error, trace = pipe.recv()
            if error:
                raise error from ChildProcessError(f"in a worker process\n{trace}")
            done[in_flight[pipe].popleft()] = result

    @contextlib.contextmanager
    def _explain_closed_pipe(self):
        """Turn the errors of a pipe whose worker has ended into ChildProcessError."""
        try:
            yield
        except (EOFError, OSError):  # between two results, or in the middle of one
            raise ChildProcessError(
                f"one of {len(self.pipes)} worker processes was killed, most likely because "
                f"memory ran out: {self.advice}") from None

    @contextlib.contextmanager
    def _explain_failed_start(self):
        """Turn the errors of a worker that ended before it was ready into ChildProcessError."""
        try:
            yield
        except (EOFError, ConnectionError):
            self.stop()
            raise ChildProcessError(
                "the worker processes could not start. Each imports the script that is running: "
                'put its work under `if __name__ == "__main__":`, or pass workers=1') from None

    def stop(self):
        """Kill the workers: they are idle, or their results are no longer wanted."""
        with delay_interrupts():
            for process in self.processes:
                process.kill()
            for process, pipe in zip(self.processes, self.pipes):
                process.join()
                pipe.close()


def exit_if_imported_by_worker():
    """End a worker whose import of the caller's script has led here: the guard is missing."""
    process = multiprocessing.current_process()
    if process.name == WORKER_NAME and getattr(process, "_inheriting", False):
        os._exit(1)  # quietly: the parent notices and explains


def run_worker(pipe, parent_pipes=(), task=None):
    """Receive items and send (result, error, traceback), until this process or its parent ends.

    task: (function, shared), or None to receive it too.
    """
    # Without this, the garbage collector would touch, and so copy, all of the parent's memory.
    gc.freeze()
    # Open copies of the parent's ends would keep the pipes alive after the parent's death.
    for parent_end in parent_pipes:
        parent_end.close()
    # Ctrl-C and the end of a terminal reach all processes: only the parent handles them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler of a training loop
    if task is None:
        pipe.send("ready")
        task = pipe.recv()
    function, shared = task
    items = queue.SimpleQueue()
    threading.Thread(target=read_items, args=(pipe, items), daemon=True).start()
    while True:
        item = items.get()
        try:
            answer = (function(shared, item), None, None)
        except Exception as error:
            answer = (None, error, traceback.format_exc())
        try:
            pipe.send(answer)
        except OSError:  # the parent is gone
            os._exit(1)


def read_items(pipe, items):
    """Read items while the worker works: the parent never waits to send, its end is noticed."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            items.put(pipe.recv())
    os._exit(1)

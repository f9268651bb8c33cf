"""What Ctrl-C, SIGTERM and SIGHUP do while a command works.

    StopRequest                 training: finish the step, save, then stop
    termination_as_interrupt    other work: all of them act like Ctrl-C
    delay_interrupts            a few statements: wait until they are done

``interrupt.py`` is about Ctrl-C while a command still imports its modules.
"""
import contextlib
import os
import signal
import sys
import time

from tqdm import tqdm


class StopRequested(KeyboardInterrupt):
    """Raised by a signal while ``StopRequest.interruptible`` waits."""


class StopRequest:
    """A context in which Ctrl-C, SIGTERM and SIGHUP set ``requested`` instead of raising.

    The training loop checks the flag, finishes its step and saves. A second signal, at least a
    second later, raises KeyboardInterrupt. (An earlier one is a duplicate: torchrun passes on a
    Ctrl-C that the terminal has already sent to all its processes.)

    >>> with StopRequest() as stop:
    ...     stop.requested, stop.interruptible(max, 2, 3)
    (False, 3)
    """

    def __enter__(self):
        self.requested = False
        self.since = 0.0      # time of the request
        self.waiting = False  # inside ``interruptible``
        self.previous = {}
        for signum in (signal.SIGINT, *termination_signals()):
            self.previous[signum] = signal.signal(signum, self._request)
        return self

    def __exit__(self, *error):
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)

    def _request(self, signum, frame):
        if self.requested:
            if time.monotonic() - self.since < 1:
                return
            raise KeyboardInterrupt
        self.requested = True
        self.since = time.monotonic()
        silence_lost_terminal()
        tqdm.write("stopping after this step, then saving (once more to stop at once)",
                   file=sys.stderr)
        if self.waiting:
            raise StopRequested

    def interruptible(self, function, *args):
        """Return ``function(*args)``, or None as soon as a stop is requested. For slow calls."""
        try:
            try:
                self.waiting = True
                return None if self.since else function(*args)
            finally:
                self.waiting = False
        except StopRequested:  # outside the inner try: the signal can arrive during its finally
            return None


@contextlib.contextmanager
def termination_as_interrupt():
    """Treat the ``termination_signals`` as Ctrl-C: KeyboardInterrupt."""
    def interrupt(signum, frame):
        silence_lost_terminal()
        raise KeyboardInterrupt

    previous = {signum: signal.signal(signum, interrupt) for signum in termination_signals()}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def termination_signals():
    """Return SIGTERM, of a machine that shuts down, and SIGHUP, of a terminal that is closed.

    Without SIGHUP where it does not exist (Windows) or is to be ignored (nohup).
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, hangup


def silence_lost_terminal():
    """Send standard output and errors to nowhere if their terminal is closed.

    Every later print would raise an OSError, before the work is saved.
    """
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            with open(os.devnull, "w") as devnull:
                os.dup2(devnull.fileno(), descriptor)


@contextlib.contextmanager
def delay_interrupts():
    """Delay Ctrl-C until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)

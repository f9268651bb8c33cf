"""A stop request: Ctrl-C finishes the current step and loses nothing."""
import signal
import sys
import time

from tqdm import tqdm

from tokenizer.utils.cli import silence_lost_terminal, termination_signals


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

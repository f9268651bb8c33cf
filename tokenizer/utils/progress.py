"""A way to be stopped that loses nothing, and a progress bar for what takes more than two seconds."""
import signal
import sys
import time

from tqdm import tqdm


class StopRequested(KeyboardInterrupt):
    """Ctrl-C within ``StopRequest.unless_requested``."""


class StopRequest:
    """Ctrl-C and SIGTERM set ``requested``: the loop finishes its step and saves. A second Ctrl-C, a second later or more, stops at once
    (torchrun passes on at once what the terminal has sent to all its processes already).

    >>> with StopRequest() as stop:
    ...     stop.requested, stop.unless_requested(lambda: 3)
    (False, 3)
    """

    def __enter__(self):
        self.requested, self.since, self.waiting = False, 0.0, False
        self.previous = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _request(self, number, frame):
        if self.requested:
            if time.monotonic() - self.since < 1:
                return
            raise KeyboardInterrupt
        self.requested, self.since = True, time.monotonic()
        tqdm.write("stopping after this step, then saving (once more to stop at once)", file=sys.stderr)
        if self.waiting:
            raise StopRequested

    def unless_requested(self, wait):
        """What ``wait()`` returns; None where a stop is requested before that, which breaks it off at once: for what is waited for long."""
        try:
            try:
                self.waiting = True
                return None if self.since else wait()
            finally:
                self.waiting = False
        except StopRequested:  # also one that came in the line above
            return None

    def __exit__(self, *error):
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def slow_bar(total, what, unit):
    """A progress bar that appears after two seconds, and prints seldom where its lines go into a file."""
    return tqdm(total=total, desc=what, unit=f" {unit}", delay=2, leave=False, dynamic_ncols=True, mininterval=0.1 if sys.stderr.isatty() else 10.0)

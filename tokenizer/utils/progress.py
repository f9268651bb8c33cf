"""A way to be stopped that loses nothing, and a progress bar for what takes more than two seconds."""
import signal
import sys
import time

from tqdm import tqdm


class StopRequested(KeyboardInterrupt):
    """Ctrl-C within ``StopRequest.interruptible``."""


class StopRequest:
    """Ctrl-C and SIGTERM set ``requested``: the loop finishes its step and saves. A second Ctrl-C, a second later or more, stops at once
    (torchrun passes on at once what the terminal has sent to all its processes already).

    >>> with StopRequest() as stop:
    ...     stop.requested, stop.interruptible(lambda: 3)
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

    def interruptible(self, wait):
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


def progress_bar(total, description, unit, show=True, scale=False):
    """Return a progress bar that appears after two seconds and disappears when the work is done.

    total   None where the amount of work is unknown
    scale   print 12,345,678 as 12.3M
    """
    # A log file needs fewer updates than a terminal.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=description, unit=f" {unit}", unit_scale=scale, disable=not show,
                delay=2, leave=False, dynamic_ncols=True, mininterval=interval)

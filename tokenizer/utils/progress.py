"""A progress bar."""
import sys

from tqdm import tqdm


def progress_bar(total, description, unit, show=True, scale=False):
    """Return a progress bar that appears after two seconds and disappears when the work is done.

    total   None if the amount of work is unknown
    scale   print 12,345,678 as 12.3M
    """
    interval = 0.1 if sys.stderr.isatty() else 10.0  # a log file needs fewer updates
    return tqdm(total=total, desc=description, unit=f" {unit}", unit_scale=scale, disable=not show,
                delay=2, leave=False, dynamic_ncols=True, mininterval=interval)

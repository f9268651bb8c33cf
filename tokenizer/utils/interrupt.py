"""Ctrl-C while a command imports torch, which takes seconds, prints "stopped" and no traceback.

The packages and train.py import this module before all others. It changes only the commands:
while Python imports the package of ``python -m PACKAGE``, sys.argv[0] is "-m".
"""
import signal
import sys
from pathlib import Path


def interrupt(signum, frame):
    sys.excepthook = print_stopped
    raise KeyboardInterrupt


def print_stopped(kind, error, traceback):
    """Print an uncaught exception after Ctrl-C: of the KeyboardInterrupt one word."""
    if issubclass(kind, (KeyboardInterrupt, ImportError)):  # numpy makes an ImportError of it
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


is_command = Path(sys.argv[0]).name in ("-m", "train.py", "minibert")
if is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupt)

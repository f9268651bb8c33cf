"""Ctrl-C while a command imports torch, which takes seconds, prints "stopped" and no traceback.

The packages and train.py import this module before all others. It changes only the commands:
while Python imports the package of ``python -m PACKAGE``, sys.argv[0] is "-m".
"""
import sys
from pathlib import Path


def print_uncaught(kind, error, traceback):
    """Print an uncaught exception: of KeyboardInterrupt one word."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


if Path(sys.argv[0]).name in ("-m", "train.py", "minibert"):
    sys.excepthook = print_uncaught

"""Ctrl-C while a command imports torch, which takes seconds, prints "stopped" and no traceback.

The packages and train.py import this module before all others. It changes only the commands:
while Python imports the package of ``python -m PACKAGE``, sys.argv[0] is "-m".
"""
import os
import signal
import sys
from pathlib import Path


def stop(signum, frame):
    # No KeyboardInterrupt: numpy makes an ImportError of it, and Python's import locks ignore it.
    os.write(2, b"stopped\n")
    os._exit(130)


def imports_are_over():
    """From now on Ctrl-C is a KeyboardInterrupt: there is work to save or to clean up."""
    if signal.getsignal(signal.SIGINT) is stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


is_command = Path(sys.argv[0]).name in ("-m", "train.py", "minibert")
if is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)

"""Run commands as a user does, in a forked process: Python, numpy and torch are loaded already."""
import multiprocessing
import os
import pty
import runpy
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FORK = multiprocessing.get_context("fork")


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run_command(program, *args, input=b"", cwd=ROOT, **environment):
    """Run ``python -m PROGRAM ARGS``, or ``python PROGRAM ARGS`` if it is a .py file."""
    with (tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout,
          tempfile.TemporaryFile() as stderr):
        stdin.write(input)
        stdin.seek(0)
        process = FORK.Process(
            target=_main, args=(program, args, (stdin, stdout, stderr), cwd, environment))
        process.start()
        process.join()
        stdout.seek(0)
        stderr.seek(0)
        return Done(process.exitcode, stdout.read().decode(), stderr.read().decode())


def start_command(program, *args):
    """Start such a command. Return (its process, its standard output as a text file)."""
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as stdout, open(os.devnull, "r+b") as devnull:
        files = (devnull, stdout, devnull)
        process = FORK.Process(target=_main, args=(program, args, files, ROOT, {}, read_end))
        process.start()
    return process, open(read_end, encoding="utf-8")


def start_in_terminal(program, *args):
    """Start such a command in a terminal of its own. Return (process id, the other end of it)."""
    pid, terminal = pty.fork()
    if pid == 0:  # in the command's process
        code = 1
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
        try:
            _main(program, args, [open(descriptor, closefd=False) for descriptor in range(3)],
                  ROOT, {})
        except SystemExit as exit:
            code = exit.code
        finally:
            os._exit(code if isinstance(code, int) else 1)
    return pid, open(terminal, encoding="utf-8")


def _main(program, args, files, cwd, environment, close=None):
    """In the forked process: do what Python does with such a command line.

    files: become standard input, output and errors. close: a descriptor of the parent alone.
    """
    for descriptor, file in enumerate(files):
        os.dup2(file.fileno(), descriptor)
    if close is not None:
        os.close(close)
    os.environ.update(environment)
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, encoding=encoding, closefd=False)
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1,
                      closefd=False)
    os.chdir(cwd)
    sys.argv = [str(program), *map(str, args)]
    if sys.argv[0].endswith(".py"):
        sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(program, run_name="__main__")

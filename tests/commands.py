"""Commands as a user runs them, each in a process of its own: forked where that can be, so that Python, numpy and torch are not loaded anew."""
import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CAN_FORK = hasattr(os, "fork")


@dataclass
class Done:
    """What a command left: its exit code, and what it wrote."""
    returncode: int
    stdout: str
    stderr: str


def run_command(what, *args, input=b"", cwd=ROOT, **environment):
    """``python -m WHAT ARGS``, or ``python WHAT ARGS`` where it is a .py, with these bytes as standard input -> Done"""
    if not CAN_FORK:
        done = subprocess.run(words_of(what, args), input=input, cwd=cwd, capture_output=True, env=with_root(environment))
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(input)
        stdin.seek(0)
        _, status = os.waitpid(fork(what, args, (stdin, stdout, stderr), cwd, environment), 0)
        stdout.seek(0), stderr.seek(0)
        return Done(os.waitstatus_to_exitcode(status), stdout.read().decode(), stderr.read().decode())


class Running:
    """The same while it runs: ``stdin``; ``stdout``, with its errors among it or without; ``kill``; ``wait`` -> its exit code."""

    def __init__(self, what, *args, with_errors=True):
        if CAN_FORK:
            (read, said), (heard, write) = os.pipe(), os.pipe()
            with open(said, "wb") as stdout, open(heard, "rb") as stdin, open(os.devnull, "wb") as nothing:
                self.pid = fork(what, args, (stdin, stdout, stdout if with_errors else nothing), close=[read, write])
            self.stdin, self.stdout = open(write, "w", encoding="utf-8"), open(read, encoding="utf-8")
        else:
            self.process = subprocess.Popen(words_of(what, args), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=with_root({}),
                                            stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL)
            self.stdin, self.stdout, self.pid = self.process.stdin, self.process.stdout, self.process.pid

    def kill(self):
        os.kill(self.pid, signal.SIGKILL if CAN_FORK else signal.SIGTERM)  # Windows ends it at once by that

    def wait(self):
        self.stdin.close(), self.stdout.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) if CAN_FORK else self.process.wait()


def words_of(what, args):
    """``"tokenizer", ["encode"] -> [sys.executable, "-m", "tokenizer", "encode"]``"""
    return [sys.executable, *([] if str(what).endswith(".py") else ["-m"]), str(what), *map(str, args)]


def with_root(environment):
    return {**os.environ, "PYTHONPATH": str(ROOT), **environment}


def fork(what, args, files, cwd=ROOT, environment=(), close=()):
    """Begin a command -> process id. files: for standard input, output, errors, None leaves one as it is; close: descriptors that are not for it."""
    sys.stdout.flush(), sys.stderr.flush()
    if process := os.fork():
        return process
    code = 1
    try:
        for descriptor in close:
            os.close(descriptor)
        for descriptor, file in enumerate(files):
            if file is not None:
                os.dup2(file.fileno(), descriptor)
        os.environ.update(environment)
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdin, sys.stdout = (open(number, mode, encoding=encoding, closefd=False) for number, mode in enumerate("rw"))
        sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)
        os.chdir(cwd)
        sys.argv = list(map(str, (what, *args)))
        script = sys.argv[0].endswith(".py")
        sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])) if script else os.getcwd())  # as Python does
        (runpy.run_path if script else runpy.run_module)(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # closed by the command, or by its reader
                stream.flush()
        os._exit(code)

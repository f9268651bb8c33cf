"""The chapters' snippets and commands: run, and compared with what the page shows.

    python docs/book/run.py [--only 03]           # all of them, also those marked <!-- long -->; prints each difference, and ends with 1
    python docs/book/run.py --quick               # without the long ones, as the test suite does
    python docs/book/run.py --only 03 --write     # puts what came out into the page

Two kinds of block. ```python holds statements and their output as doctest has them (>>> and ...); ```console holds commands, each behind "$ ", and
what they print: their standard output, and where a command fails what it says on stderr. "..." stands for what differs from run to run.
A chapter is run from top to bottom with one namespace for its snippets, in a folder of its own that holds links to all of the repository: what
one command leaves there the next one finds, and nothing else is touched. A line <!-- long --> before a block marks it as slow.
"""
import contextlib
import difflib
import doctest
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OWN = ("runs", "build")  # what a reader may have in the checkout and a chapter makes for itself
LONG = "<!-- long -->"
RAISED = re.compile(r"Traceback .*\n(?: .*\n)*(\w.*\n)")  # an exception in an output
IN_PYTHON = re.compile(r"python (-m )?[^|<>&;$*~`]+")  # a command that needs no shell


@dataclass(frozen=True)
class Step:
    """A command, or a statement. ``line``: of the page, from 1, on which ``want``, the output that is shown, begins."""
    kind: str  # python or console
    line: int
    source: str
    want: str
    long: bool


def chapters(only=()):
    """The pages of the book, all or those whose names begin with one of ``only``."""
    found = [page for page in sorted(Path(__file__).parent.glob("[0-9][0-9]-*.md")) if not only or page.name.startswith(tuple(only))]
    if not found:
        raise ValueError(f"no chapter begins with {' or '.join(only)}")
    return found


def steps(text):
    """The steps of a page.

    >>> steps("```console\\n$ echo a\\na\\n```")
    [Step(kind='console', line=3, source='echo a', want='a\\n', long=False)]
    """
    found, lines, number = [], text.split("\n"), 0
    while number < len(lines):
        if lines[number] in ("```python", "```console"):
            if "```" not in lines[number:]:
                raise ValueError(f"the block that begins on line {number + 1} has no end: ``` on a line of its own")
            end = lines.index("```", number)
            kind, block = lines[number][3:], lines[number + 1:end]
            long = LONG in lines[max(number - 2, 0):number]  # with or without an empty line between
            cut = statements if kind == "python" else commands
            found += [Step(kind, number + 2 + line, source, want, long) for line, source, want in cut(block)]
            number = end
        number += 1
    return found


def statements(block):
    """Lines of a ```python block -> (line of the output, statement, output); all lines of it are statements or output.

    >>> list(statements([">>> for i in (1, 2):", "...     print(i)", "...", "1", "2"]))
    [(3, 'for i in (1, 2):\\n    print(i)\\n', '1\\n2\\n')]
    """
    for example in doctest.DocTestParser().get_examples("\n".join(block) + "\n"):
        end = example.lineno + 1
        while end < len(block) and block[end].startswith("..."):  # a last "..." alone ends a block of code, and is no part of the source
            end += 1
        yield end, example.source, example.want


def commands(block):
    """Lines of a ```console block -> (line of the output, command, output). A backslash at the end continues a command."""
    starts = [number for number, line in enumerate(block) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block)]):
        last = start
        while block[last].endswith("\\"):
            last += 1
        source, want = "\n".join(block[start:last + 1])[2:], block[last + 1:end]
        yield last + 1, source, "".join(line + "\n" for line in want)


@contextlib.contextmanager
def working_folder():
    """Work in a new folder with links to all that stands in the repository; it is gone afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        for path in ROOT.iterdir():
            if not path.name.startswith(".") and path.name not in OWN:
                os.symlink(path, Path(folder, path.name))
        os.chdir(folder)
        environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8",
                       "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}
        try:
            with mock.patch.dict(os.environ, environment):
                yield Path(folder)
        finally:
            os.chdir(before)


def run_steps(page, quick=False):
    """Run the steps of a page and yield (step, what it printed), in order; ``quick`` leaves the long ones out."""
    names = {"__name__": "__main__"}
    with working_folder() as folder:
        for step in steps(page.read_text(encoding="utf-8")):
            if quick and step.long:
                continue
            if step.kind == "python":
                yield step, run_statement(step, names, page.name)
            else:
                got = run_in_process(step.source) if quick and IN_PYTHON.fullmatch(step.source) else run_in_shell(step.source)
                yield step, got.replace(os.path.realpath(folder), "...")


def run_statement(step, names, page):
    """What a statement prints, an exception as doctest shows it; where that is as the page shows it, what the page shows."""
    printed = []

    class Runner(doctest.DocTestRunner):
        def report_success(self, out, test, example, got):
            printed.append(example.want)

        def report_failure(self, out, test, example, got):
            printed.append(got)

        def report_unexpected_exception(self, out, test, example, exc_info):
            printed.append(f"Traceback (most recent call last):\n    ...\n{exc_info[0].__name__}: {exc_info[1]}\n")

    raised = RAISED.match(step.want)
    example = doctest.Example(step.source, step.want, exc_msg=raised and raised[1], lineno=step.line - 1)
    test = doctest.DocTest([example], {}, page, page, 0, None)
    test.globs = names  # the one namespace itself: DocTest would take a copy
    Runner(verbose=False, optionflags=FLAGS).run(test, clear_globs=False)
    return printed[0]


def run_in_shell(command):
    """Run a command in a shell. -> what it prints"""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, encoding="utf-8", errors="replace")
    return done.stdout + (done.stderr if done.returncode else "")


def run_in_process(command):
    """The same for ``python -m MODULE ...`` and ``python FILE ...``, in this process: Python and torch need not start anew for each."""
    words = shlex.split(command.replace("\\\n", " "))[1:]
    module = words[0] == "-m"
    words = words[module:]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code, places = 0, [str(Path.cwd() if module else Path(words[0]).parent.absolute()), *sys.path]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.multiple(sys, argv=words, path=places), \
            warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runpy's, of a module that is imported already
        try:
            if module:
                runpy.run_module(words[0], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
    printed = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]
    return printed[0] + (printed[1] if code else "")


def matches(step, got):
    """Whether a step printed what the page shows."""
    if step.kind == "python":
        return step.want == got or doctest.OutputChecker().check_output(step.want, got, FLAGS)
    return doctest.OutputChecker().check_output(*("\n".join(line.rstrip() for line in text.rstrip().split("\n")) for text in (step.want, got)),
                                                doctest.ELLIPSIS)


def diff(page, step, got):
    """What the page shows and what came out, for the eye."""
    lines = difflib.unified_diff(step.want.splitlines(), got.rstrip().splitlines(), "shown", "printed", lineterm="", n=1)
    return "\n".join([f"{page.name}:{step.line}: {step.source.rstrip()}", *(f"    {line}" for line in lines)])


def replace_output(text, step, got, shift):
    """A page with the output of one step replaced, and by how many lines the rest has moved. Lines with "..." and more stay where they still fit.

    ``shift``: by how many the steps before this one have moved it.
    """
    lines, shown = text.split("\n"), step.want.splitlines()
    vague = [line for line in shown if "..." in line and line.strip() != "..."]  # alone it would fit any line
    printed = [line.rstrip() for line in got.rstrip().splitlines()]
    printed = [next((line for line in vague if doctest.OutputChecker().check_output(line, new, doctest.ELLIPSIS)), new) for new in printed]
    if step.kind == "python":
        printed = [line if line.strip() else "<BLANKLINE>" for line in printed]
    start = step.line - 1 + shift
    lines[start:start + len(shown)] = printed
    return "\n".join(lines), shift + len(printed) - len(shown)


def main(arguments=None):
    """Run the chapters; returns the exit code."""
    parser = Parser(prog="python docs/book/run.py", description="Run the snippets and commands of the book.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="the chapters whose file names begin so")
    parser.add_argument("--quick", action="store_true", help="leave out what is marked as long")
    parser.add_argument("--write", action="store_true", help="put what came out into the pages; look at the change before you commit it")
    options = parser.parse_args(arguments)
    different = 0
    for page in chapters(options.only):
        text, shift = page.read_text(encoding="utf-8"), 0
        wanted = [step for step in steps(text) if not (options.quick and step.long)]
        with tqdm(total=len(wanted), desc=page.stem, leave=False) as bar:
            for step, got in run_steps(page, options.quick):
                bar.update()
                if matches(step, got):
                    continue
                different += 1
                tqdm.write(diff(page, step, got))
                if options.write:
                    text, shift = replace_output(text, step, got, shift)
                    atomic_write(page, text)
        tqdm.write(f"{page.name}: {len(wanted)} steps")
    print("all as the pages show it" if not different else f"{different} steps printed something else" + ": written" * options.write)
    return 1 if different and not options.write else 0


if __name__ == "__main__":
    run(main)

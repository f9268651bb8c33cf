"""Run the snippets and commands of the book and compare their output with the pages.

    python docs/book/run.py [--only 03]      # all of them; prints each difference
    python docs/book/run.py --quick          # without those marked <!-- long -->, as in the tests
    python docs/book/run.py --only 03 --write     # writes the output into the page

There are two kinds of blocks. ```python has statements and their output, as in doctest (>>> and
...). ```console has commands, each after "$ ", and what they print: their standard output, and
stderr too if they fail. "..." matches whatever differs between runs. A page is run from top
to bottom, with one namespace for its snippets, in a temporary folder with links to everything in
the repository: a command finds the files of the previous ones, and nothing else is changed. A line
<!-- long --> before a block marks it as slow. The exit code is 1 if something differs.
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
NOT_LINKED = ("runs", "build")  # a chapter makes its own
LONG = "<!-- long -->"
EXCEPTION = re.compile(r"Traceback .*\n(?: .*\n)*(\w.*\n)")
NEEDS_NO_SHELL = re.compile(r"""python (-m \w|\w\S*\.py)([^|<>&;$*~`"]|"[^"$`]*")*""")


@dataclass(frozen=True)
class Step:
    """A statement or a command. line: where its output begins on the page, from 1."""
    kind: str  # "python" or "console"
    line: int
    source: str
    want: str  # the output on the page
    long: bool


def pages(only=()):
    """Return the pages with snippets or commands, or those whose names begin with ``only``."""
    found = [page for page in sorted(Path(__file__).parent.glob("*.md"))
             if page.name.startswith(tuple(only) or "") and steps(page.read_text(encoding="utf-8"))]
    if not found:
        raise ValueError(f"no page begins with {' or '.join(only)}")
    return found


def steps(text):
    """Return the steps of a page.

    >>> steps("```console\\n$ echo a\\na\\n```")
    [Step(kind='console', line=3, source='echo a', want='a\\n', long=False)]
    """
    found = []
    for kind, start, lines, is_long in blocks(text):
        split = statements if kind == "python" else commands
        for line, source, want in split(lines):
            found.append(Step(kind, start + 2 + line, source, want, is_long))
    return found


def blocks(text):
    """Yield (kind, index of its first line, lines inside, whether it is long) of each block.

    >>> list(blocks("A block:\\n```console\\n$ echo a\\na\\n```"))
    [('console', 1, ['$ echo a', 'a'], False)]
    """
    lines = text.split("\n")
    i = 0
    while i < len(lines):
        if lines[i] in ("```python", "```console"):
            if "```" not in lines[i:]:
                raise ValueError(f"the block on line {i + 1} has no end: ``` on a line of its own")
            end = lines.index("```", i)
            is_long = LONG in lines[max(i - 2, 0):i]  # with or without an empty line in between
            yield lines[i].removeprefix("```"), i, lines[i + 1:end], is_long
            i = end
        i += 1


def statements(block):
    """Yield (line of the output, statement, output) for the lines of a ```python block.

    >>> list(statements([">>> for i in (1, 2):", "...     print(i)", "...", "1", "2"]))
    [(3, 'for i in (1, 2):\\n    print(i)\\n', '1\\n2\\n')]
    """
    for example in doctest.DocTestParser().get_examples("\n".join(block) + "\n"):
        end = example.lineno + 1
        # A last "..." alone ends an indented block; it is not part of the source.
        while end < len(block) and block[end].startswith("..."):
            end += 1
        yield end, example.source, example.want


def commands(block):
    """Yield (line of the output, command, output) for the lines of a ```console block.

    A backslash at the end of a line continues the command.
    """
    starts = [i for i, line in enumerate(block) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block)]):
        output = start + 1
        while block[output - 1].endswith("\\"):
            output += 1
        source = "\n".join(block[start:output]).removeprefix("$ ")
        yield output, source, "".join(line + "\n" for line in block[output:end])


@contextlib.contextmanager
def working_folder():
    """Work in a temporary folder with links to everything in the repository."""
    previous = Path.cwd()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1",
                   "PYTHONIOENCODING": "utf-8", "PATH": path}
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name not in NOT_LINKED:
                os.symlink(entry, Path(folder, entry.name))
        os.chdir(folder)
        try:
            with mock.patch.dict(os.environ, environment):
                yield Path(folder)
        finally:
            os.chdir(previous)


def run_steps(page, quick=False):
    """Run the steps of a page in order. Yield (step, output). quick: skip the long ones."""
    names = {"__name__": "__main__"}
    with working_folder() as folder:
        for step in steps(page.read_text(encoding="utf-8")):
            if quick and step.long:
                continue
            if step.kind == "python":
                yield step, run_statement(step, names, page.name)
                continue
            if quick and NEEDS_NO_SHELL.fullmatch(step.source):
                output = run_in_process(step.source)
            else:
                output = run_in_shell(step.source)
            yield step, output.replace(os.path.realpath(folder), "...")


def run_statement(step, names, page):
    """Return what a statement prints, with an exception as in doctest.

    If that matches the page, return the page's own version.
    """
    printed = []

    class Runner(doctest.DocTestRunner):
        def report_success(self, out, test, example, got):
            printed.append(example.want)

        def report_failure(self, out, test, example, got):
            printed.append(got)

        def report_unexpected_exception(self, out, test, example, exc_info):
            printed.append("Traceback (most recent call last):\n    ...\n"
                           f"{exc_info[0].__name__}: {exc_info[1]}\n")

    exception = EXCEPTION.match(step.want)
    example = doctest.Example(step.source, step.want, exc_msg=exception and exception[1],
                              lineno=step.line - 1)
    test = doctest.DocTest([example], {}, page, page, 0, None)
    test.globs = names  # DocTest itself would copy the namespace
    Runner(verbose=False, optionflags=FLAGS).run(test, clear_globs=False)
    return printed[0]


def run_in_shell(command):
    """Return what a command prints, with stderr if it fails."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True,
                          encoding="utf-8", errors="replace")
    return done.stdout + (done.stderr if done.returncode else "")


def run_in_process(command):
    """Do the same for ``python FILE`` and ``python -m MODULE`` without starting Python again."""
    words = shlex.split(command.replace("\\\n", " "))[1:]
    if words[0] == "-m":
        words = words[1:]
        run_script = runpy.run_module
        options = {"alter_sys": True}
        script_folder = Path.cwd()
    else:
        run_script = runpy.run_path
        options = {}
        script_folder = Path(words[0]).parent.absolute()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code = 0
    with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
          mock.patch.multiple(sys, argv=words, path=[str(script_folder), *sys.path]),
          warnings.catch_warnings()):
        warnings.simplefilter("ignore")  # runpy's: the module is imported already
        try:
            run_script(words[0], run_name="__main__", **options)
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
    printed = out.buffer.getvalue().decode("utf-8")
    return printed + (err.buffer.getvalue().decode("utf-8") if code else "")


def matches(step, got):
    """Return whether a step printed what the page shows."""
    check = doctest.OutputChecker().check_output
    if step.kind == "python":
        return step.want == got or check(step.want, got, FLAGS)
    return check(strip_lines(step.want), strip_lines(got), doctest.ELLIPSIS)


def strip_lines(text):
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n"))


def diff(page, step, got):
    """Return the difference between the page and the output, as text."""
    lines = difflib.unified_diff(step.want.splitlines(), got.rstrip().splitlines(), "page",
                                 "printed", lineterm="", n=1)
    title = f"{page.name}:{step.line}: {step.source.rstrip()}"
    return "\n".join([title, *(f"    {line}" for line in lines)])


def replace_output(text, step, got, shift):
    """Return (page with the output of one step replaced, new shift).

    A line of the page with "..." in it stays if it still matches. shift: number of lines by which
    the previous steps have moved this one.
    """
    lines = text.split("\n")
    shown = step.want.splitlines()
    patterns = [line for line in shown if "..." in line and line.strip() != "..."]
    check = doctest.OutputChecker().check_output
    printed = []
    for line in got.rstrip().splitlines():
        line = line.rstrip()
        line = next((old for old in patterns if check(old, line, doctest.ELLIPSIS)), line)
        printed.append(line or ("<BLANKLINE>" if step.kind == "python" else ""))
    start = step.line - 1 + shift
    lines[start:start + len(shown)] = printed
    return "\n".join(lines), shift + len(printed) - len(shown)


def main(args=None):
    """Run the pages. Return the exit code."""
    parser = Parser(prog="python docs/book/run.py",
                    description="Run the snippets and commands of the book.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN",
                        help="only pages whose file names begin with this")
    parser.add_argument("--quick", action="store_true", help="skip what is marked as long")
    parser.add_argument("--write", action="store_true",
                        help="write the output into the pages; look at the changes before you "
                             "commit them")
    args = parser.parse_args(args)
    num_different = 0
    for page in pages(args.only):
        text = page.read_text(encoding="utf-8")
        shift = 0
        num_steps = sum(not (args.quick and step.long) for step in steps(text))
        with tqdm(total=num_steps, desc=page.stem, leave=False) as bar:
            for step, got in run_steps(page, args.quick):
                bar.update()
                if matches(step, got):
                    continue
                num_different += 1
                tqdm.write(diff(page, step, got))
                if args.write:
                    text, shift = replace_output(text, step, got, shift)
                    atomic_write(page, text)
        tqdm.write(f"{page.name}: {num_steps} steps")
    if not num_different:
        print("all outputs match the pages")
        return 0
    print(f"{num_different} outputs differ" + (": written" if args.write else ""))
    return 0 if args.write else 1


if __name__ == "__main__":
    run(main)

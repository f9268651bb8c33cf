"""The documentation that is already on this machine, as a corpus: docstrings of Python and of the installed packages.

A corpus without a download, of which a reader who knows Python can judge every filled mask: "Return a new <mask>
object". What it holds depends on what is installed: Python with torch, numpy, regex, tqdm and pytest gives
about 10 MB in 26,000 documents.

Sources are parsed with ``ast`` and never imported. Taken are docstrings, strings below an assignment in a
module or class, and the texts that packages attach by a call or an assignment (numpy's ``add_newdoc``, torch's
``add_docstr``), where the best documentation of the compiled functions is. ``prose`` keeps what is English.

Whole files are held out, one in 20, chosen by a hash of their path. Copies are left out, in all of the corpus: no document,
and no paragraph of some length, occurs twice; so what is held out has not been seen in training.
"""
import ast
import contextlib
import hashlib
import json
import stat
import sysconfig
import warnings
from collections import deque
from pathlib import Path

from tqdm import tqdm

from data.sources.prose import paragraphs
from data.splits import EVAL_ONE_IN, check_split, stable_hash
from tokenizer.utils.files import atomic_write
from tokenizer.utils.workers import map_in_order

VERSION = 1  # of what is taken and how; part of the name of the cached file
MIN_CHARACTERS = 40  # of a document
LONG_PARAGRAPH = 60  # characters from which on a paragraph is kept the first time only; shorter ones may well recur
MAX_FILE = 3_000_000  # bytes; larger sources are tables in Python's syntax
FILES_AT_ONCE = 16

# Tests, vendored copies, programs for show, and Python 2's grammar.
LEFT_OUT = {"test", "tests", "idle_test", "lib2to3", "turtledemo", "_vendor", "_vendored", "extern", "_bundled",
            "__pycache__", "site-packages", "dist-packages"}
DOC_CALLS = {"add_newdoc", "add_newdocs", "add_newdoc_for_scalar_type", "add_docstr", "_add_docstr", "add_docstr_all", "_add_newdoc_ufunc"}


class PydocsCorpus:
    """The corpus ``pydocs``: what ``open_corpus("pydocs")`` returns. The few MB of text are held in memory once read.

    ``roots``: folders of Python sources, by default this interpreter's. ``cache``: a folder in which to keep the text, so that
    the next run need not parse; it is made anew when a package changes. ``workers``: processes, None for one a core.
    """

    name = "pydocs"

    def __init__(self, roots=None, cache=None, workers=None, show_progress=True):
        self.roots = python_roots() if roots is None else [Path(root) for root in roots]
        self.cache, self.workers, self.show_progress = cache, workers, show_progress
        self._parts = None

    @property
    def description(self):
        """``"pydocs: 2,846 files, 7.9 MB of documentation (0.4 MB of it held out)"``; reads them all at first use."""
        parts = self._load()
        size = {split: sum(len(text.encode("utf-8")) for text in parts[split]) / 1e6 for split in ("train", "eval")}
        return (f"pydocs: {parts['files']:,} files, {sum(size.values()):.1f} MB of documentation "
                f"({size['eval']:.1f} MB of it held out)")

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all" (train, then eval); a document's lines are its paragraphs."""
        check_split(split)
        parts = self._load()
        return iter(parts["train"] + parts["eval"] if split == "all" else parts[split])

    def progress(self):
        """None: all of it is in memory."""

    def _load(self):
        if self._parts is None:
            files = list(python_files(self.roots))
            kept = self.cache and Path(self.cache) / f"pydocs-{_fingerprint(files)}.json"
            if kept and kept.is_file():
                self._parts = json.loads(kept.read_text(encoding="utf-8"))
            else:
                self._parts = collect(files, self.workers, self.show_progress)
                if kept:
                    with contextlib.suppress(OSError):  # a cache saves time; where it cannot be written, nothing is lost
                        atomic_write(kept, json.dumps(self._parts))
            if not self._parts["train"] or not self._parts["eval"]:
                raise ValueError(f"no documentation in the {len(files):,} Python files below "
                                 f"{', '.join(map(str, self.roots))}: give a corpus of your own")
        return self._parts


def python_roots():
    """The folders with Python's own modules and with the installed packages."""
    paths = sysconfig.get_paths()
    return [Path(path) for path in dict.fromkeys([paths["stdlib"], paths["purelib"], paths["platlib"]])]


def python_files(roots):
    """Yield (path, path relative to its root) of each source to read, in an order that is the same on every disk."""
    for root in roots:
        found = []
        for path in root.rglob("*.py"):
            relative = path.relative_to(root)
            if not _left_out(relative) and _is_source(path):
                found.append(relative.as_posix())
        for relative in sorted(found):
            yield root / relative, relative


def _is_source(path):
    """Whether it is a file of a size to read: not a folder named x.py, not a link that leads nowhere."""
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE


def _left_out(relative):
    name = relative.name
    return (not LEFT_OUT.isdisjoint(relative.parts[:-1]) or "testing/_internal" in relative.as_posix()
            or name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py")


def collect(files, workers=None, show_progress=True):
    """Parse ``files``, pairs (path, relative path), into ``{"train": [...], "eval": [...], "files": count}``.

    A text belongs to the first file that has it, those for training before those held out.
    """
    groups = [files[start:start + FILES_AT_ONCE] for start in range(0, len(files), FILES_AT_ONCE)]
    found = {"train": [], "eval": []}
    with tqdm(total=len(files), desc="read documentation", unit="file", disable=not show_progress) as bar:
        for group, texts in zip(groups, map_in_order(_documents_of, groups, workers=workers)):
            for (_, relative), documents in zip(group, texts):
                found["eval" if stable_hash(relative) % EVAL_ONE_IN == 0 else "train"].extend(documents)
            bar.update(len(group))
    seen = set()
    parts = {split: [text for document in found[split] if (text := _unseen(document, seen))] for split in ("train", "eval")}
    return {**parts, "files": len(files)}


def _unseen(document, seen):
    """The document without the long paragraphs that have been seen before; "" where nothing of substance is left."""
    kept = []
    for paragraph in document:
        key = stable_hash(paragraph.casefold())
        if len(paragraph) < LONG_PARAGRAPH:
            kept.append(paragraph)
        elif key not in seen:
            seen.add(key)
            kept.append(paragraph)
    text = "\n".join(kept)
    key = stable_hash(text.casefold())
    if len(text) < MIN_CHARACTERS or key in seen:
        return ""
    seen.add(key)
    return text


def _documents_of(_, group):
    return [documents_of_source(_content(path)) for path, _ in group]


def _content(path):
    try:
        return path.read_bytes()
    except OSError:  # one of thousands that this user may not read: no reason to give up the others
        return b""


def documents_of_source(source):
    """The documents in a Python source (bytes), each a list of paragraphs; none where it does not parse.

    ``b'def f():\\n    "Return the number of lines."' -> [["Return the number of lines."]]``
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    documents = (paragraphs(text) for text in doc_texts(tree))
    return [document for document in documents if document]


def doc_texts(tree):
    """Yield the raw documentation strings of a parsed module, in the order of the source."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        value = getattr(node, "value", None)
        if isinstance(node, (ast.Module, ast.ClassDef)):
            for statement in node.body:  # the docstring, and strings below an assignment
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield from strings(statement.value)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if docstring := ast.get_docstring(node, clean=False):
                yield docstring
        elif isinstance(value, ast.Call) and _name(value.func) in DOC_CALLS:
            for argument in [*value.args, *(keyword.value for keyword in value.keywords)]:
                yield from strings(argument)
        elif isinstance(node, ast.Assign) and _name(node.targets[0]).casefold().strip("_").endswith(("doc", "docs", "docstring")):
            yield from strings(value)
        for block in ("finalbody", "orelse", "handlers", "body"):  # statements alone: most of a tree is expressions
            if isinstance(below := getattr(node, block, None), list):
                waiting.extendleft(reversed(below))


def _name(node):
    """``add_docstr`` and ``torch._C.add_docstr`` -> "add_docstr"; "" for anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def strings(node):
    """Yield the strings that an expression is made of, as far as it can be told without running it.

    "a" + "b" -> "ab"; ("name", "text") -> "name", "text"; "text {x}".format(...) and dedent("text") -> the text
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for element in node.elts:
            yield from strings(element)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield "".join([*strings(node.left), *strings(node.right)])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from strings(node.left)
    elif isinstance(node, ast.Call):  # the text is what the method is called on, or else the first argument
        on = list(strings(node.func.value)) if isinstance(node.func, ast.Attribute) else []
        yield from on or [text for argument in node.args[:1] for text in strings(argument)]


def _fingerprint(files):
    """Changes when a file comes, goes, or is written anew."""
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for path, relative in files:
        status = path.stat()
        digest.update(f"{relative} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]

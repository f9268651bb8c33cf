"""Documentation as a corpus: that of Python's standard library, torch, numpy, sympy and networkx.

No download, and a reader who knows Python can judge every filled mask: "Return a new <mask>
object". The text depends only on the versions of Python and of these packages, whatever else is
installed, so it is the same on every machine that has the same ones. ``notes`` name them, with a
fingerprint of the text.

Sources are parsed with ``ast`` and never imported. Documents are docstrings, strings below an
assignment in a module or class, texts that packages attach by a call or an assignment (numpy's
``add_newdoc``, torch's ``add_docstr``), which document compiled functions, and the chapters of
Python's language reference that ``help("topics")`` lists. ``prose`` keeps the English in them.

The split is by file: one file in 20, chosen by a hash of its path, is for validation. No document
and no long paragraph occurs twice in the corpus, so validation text is never in the training split.
"""
import ast
import contextlib
import hashlib
import importlib.metadata
import json
import platform
import sys
import sysconfig
import warnings
from collections import deque
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from data.sources.prose import paragraphs
from data.splits import EVAL_ONE_IN, check_split, stable_hash
from tokenizer.utils.files import atomic_write
from tokenizer.utils.terminal import plural
from tokenizer.utils.workers import map_in_order

VERSION = 2  # of the rules in this file and in prose.py; part of the name of the cached file
MIN_CHARACTERS = 40  # of a document
LONG_PARAGRAPH = 60  # characters; a shorter paragraph may occur more than once
FILES_PER_GROUP = 16  # sent to a worker at once

PACKAGES = ("torch", "numpy", "sympy", "networkx")  # minibert needs the first two, torch the others
# Parts of the standard library that distributions such as Debian leave out or change.
VARYING_MODULES = {"distutils", "ensurepip", "idlelib", "lib2to3", "pydoc", "site", "tkinter",
                   "turtle", "turtledemo"}
EXCLUDED = {"test", "tests", "_vendor", "macholib"}  # folders; Debian leaves out ctypes.macholib
DOC_CALLS = {
    "add_newdoc", "add_newdocs", "add_newdoc_for_scalar_type", "add_docstr", "_add_docstr",
    "add_docstr_all", "_add_newdoc_ufunc"}


class PydocsCorpus:
    """The corpus ``pydocs``, see ``corpora.open_corpus``. Its few MB of text stay in memory.

    modules   files and folders of Python sources, see ``module_paths`` (the default)
    cache     a folder for the extracted text, so the next run need not parse; it is extracted
              again when a package changes
    workers   processes that parse; None means one per core
    """

    name = "pydocs"
    plain_text_files = []

    def __init__(self, modules=None, cache=None, workers=None, show_progress=True):
        self.modules = module_paths() if modules is None else modules
        self.cache = cache
        self.workers = workers
        self.show_progress = show_progress
        self._splits = None  # {"train": [...], "eval": [...]}

    @property
    def description(self):
        """``"pydocs: 24,309 documents, 7.9 MB (0.4 MB of it for validation)"``"""
        num_documents = sum(map(len, self._load().values()))
        total = sum(len(text.encode("utf-8")) for text in self.documents("all"))
        validation = sum(len(text.encode("utf-8")) for text in self.documents("eval"))
        return (f"pydocs: {num_documents:,} documents, {total / 1e6:.1f} MB "
                f"({validation / 1e6:.1f} MB of it for validation)")

    @cached_property
    def notes(self):
        """``{"text_fingerprint": "b0a1c8f2", "made_from": "Python 3.11.7, torch 2.13.0, ..."}``"""
        digest = hashlib.sha256(json.dumps(self._load()).encode())
        versions = [f"Python {platform.python_version()}"]
        for name in PACKAGES:  # "2.13.0+cpu" -> "2.13.0": all builds have the same documentation
            versions.append(f"{name} {importlib.metadata.version(name).split('+')[0]}")
        return {"text_fingerprint": digest.hexdigest()[:8], "made_from": ", ".join(versions)}

    def documents(self, split):
        """Iterate over the documents of "train", "eval" or "all"; a line is a paragraph."""
        check_split(split)
        splits = self._load()
        return iter(splits["train"] + splits["eval"] if split == "all" else splits[split])

    def progress(self):
        """Return None: all text is in memory."""

    def _load(self):
        if self._splits is None:
            files = list(python_files(self.modules))
            cached = Path(self.cache) / f"pydocs-{_cache_key(files)}.json" if self.cache else None
            if cached and cached.is_file():
                self._splits = json.loads(cached.read_text(encoding="utf-8"))
            else:
                self._splits = collect(files, self.workers, self.show_progress)
                if cached:
                    with contextlib.suppress(OSError):  # without the cache, the next run parses
                        atomic_write(cached, json.dumps(self._splits))
            if not self._splits["train"] or not self._splits["eval"]:
                raise ValueError(f"too little documentation in {plural(len(files), 'Python file')}"
                                 ": choose another corpus")
        return self._splits


# Files


def module_paths():
    """Return the paths of the standard library's modules, without ".py", and of PACKAGES.

    The list of the standard library is the same on all platforms, so some do not exist.
    """
    stdlib = Path(sysconfig.get_path("stdlib"))
    modules = [stdlib / name for name in sorted(sys.stdlib_module_names - VARYING_MODULES)]
    return modules + [Path(find_spec(name).origin).parent for name in PACKAGES]


def python_files(modules):
    """Yield (path, path from the module's parent on) of each source, in the same order always."""
    for module in modules:
        candidates = module.rglob("*.py") if module.is_dir() else [module.with_suffix(".py")]
        relative_paths = []
        for path in candidates:
            relative = path.relative_to(module.parent)
            if path.is_file() and not _is_excluded(relative):  # no folder, no dangling link
                relative_paths.append(relative.as_posix())
        for relative in sorted(relative_paths):
            yield module.parent / relative, relative


def _is_excluded(relative):
    name = relative.name
    is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
    in_excluded = not EXCLUDED.isdisjoint(relative.parts[:-1])
    return is_test or in_excluded or "testing/_internal" in relative.as_posix()


def _cache_key(files):
    """Return a digest that changes when a file is added, removed or written."""
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for path, relative in files:
        status = path.stat()
        line = f"{relative} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


# Files -> documents


def collect(files, workers, show_progress):
    """Parse files, pairs (path, relative path); return {"train": [...], "eval": [...]}.

    A repeated text stays in the first file that has it; training files come first.
    """
    starts = range(0, len(files), FILES_PER_GROUP)
    groups = [files[start : start + FILES_PER_GROUP] for start in starts]
    found = {"train": [], "eval": []}
    results = map_in_order(_parse_group, groups, workers=workers)
    bar = tqdm(total=len(files), desc="read documentation", unit="file", disable=not show_progress)
    with bar:
        for group, documents_of_group in zip(groups, results):
            for (_, relative), documents in zip(group, documents_of_group):
                is_eval = stable_hash(relative) % EVAL_ONE_IN == 0
                found["eval" if is_eval else "train"] += documents
            bar.update(len(group))

    seen = set()  # hashes of paragraphs and documents
    splits = {}
    for split in ("train", "eval"):
        texts = [_without_repetitions(document, seen) for document in found[split]]
        splits[split] = [text for text in texts if text]
    return splits


def _without_repetitions(document, seen):
    """Join the paragraphs, without long ones that occurred before; "" if too little remains."""
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


def _parse_group(_, group):
    documents = []
    for path, _ in group:
        try:
            documents.append(documents_of_source(path.read_bytes()))
        except OSError:  # one unreadable file among thousands is no reason to stop
            documents.append([])
    return documents


# Source -> documents


def documents_of_source(source):
    """Return the documents in a Python source (bytes); none if it does not parse.

    ``b'def f():\\n    "Return the number of lines."' -> [["Return the number of lines."]]``
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    documents = (paragraphs(text) for text in doc_texts(tree))
    return [document for document in documents if document]


def doc_texts(tree):
    """Yield the raw documentation strings of a parsed module, in the order of the source."""
    stack = deque([tree])
    while stack:
        node = stack.popleft()
        yield from _texts_of_node(node)
        # Only statements have documentation, and most of a tree is expressions.
        for field in ("finalbody", "orelse", "handlers", "body"):
            children = getattr(node, field, None)
            if isinstance(children, list):
                stack.extendleft(reversed(children))


def _texts_of_node(node):
    value = getattr(node, "value", None)
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for statement in node.body:  # the docstring, and strings below an assignment
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield from strings(statement.value)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        docstring = ast.get_docstring(node, clean=False)
        if docstring:
            yield docstring
    elif isinstance(value, ast.Call) and _name(value.func) in DOC_CALLS:
        for argument in [*value.args, *(keyword.value for keyword in value.keywords)]:
            yield from strings(argument)
    elif isinstance(node, ast.Assign):
        target = _name(node.targets[0]).casefold().strip("_")
        if target.endswith(("doc", "docs", "docstring", "topics")):
            yield from strings(value)


def _name(node):
    """``add_docstr`` and ``torch._C.add_docstr`` -> "add_docstr"; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def strings(node):
    """Yield the strings in an expression, as far as that is possible without running it.

    "a" + "b" -> "ab"; ("name", "text") -> "name", "text"; {"name": "text"} -> "text";
    "text {x}".format(...) -> "text {x}"
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):  # an f-string
        parts = node.values
        yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
    elif isinstance(node, (ast.Tuple, ast.List, ast.Dict)):
        for element in node.values if isinstance(node, ast.Dict) else node.elts:
            yield from strings(element)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield "".join([*strings(node.left), *strings(node.right)])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        yield from strings(node.left)
    elif isinstance(node, ast.Call):
        # The text is the object of a method, "...".format(), or the first argument, dedent("...").
        texts = list(strings(node.func.value)) if isinstance(node.func, ast.Attribute) else []
        if not texts and node.args:
            texts = list(strings(node.args[0]))
        yield from texts

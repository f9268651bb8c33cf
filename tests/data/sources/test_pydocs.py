import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data import open_corpus
from data.sources.pydocs import (
    PACKAGES,
    PydocsCorpus,
    collect,
    documents_of_source,
    python_files,
)

SHARED = "This long sentence is in more than one file, as copied documentation is."
MODULE = '''raise SystemExit("imported")
def f():
    """Return the number {i} as it was given by the caller.{copied}"""
def g():
    """Set the number {i} as it was given by the caller."""
'''


@pytest.fixture
def packages(tmp_path):
    """300 modules with two documents each, which cannot be imported; every third repeats SHARED."""
    root = tmp_path / "packages"
    for i in range(300):
        folder = root / f"package{i % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        copied = f"\n\n    {SHARED}\n" if i % 3 == 0 else ""
        (folder / f"m{i}.py").write_text(MODULE.format(i=i, copied=copied))
    return root


def corpus(root, **options):
    return PydocsCorpus([root], **{"workers": 1, "show_progress": False, **options})


def documents(root, **options):
    return list(corpus(root, **options).documents("all"))


def test_no_file_and_no_text_is_in_both_splits(packages):
    pydocs = corpus(packages)
    train = list(pydocs.documents("train"))
    validation = list(pydocs.documents("eval"))
    assert len(train) + len(validation) == 600
    assert 10 <= len(validation) <= 60  # 30 expected, two from each file
    files = [{document.split()[3] for document in split} for split in (train, validation)]
    assert not files[0] & files[1]
    lines = [{line for document in split for line in document.split("\n")}
             for split in (train, validation)]
    assert not lines[0] & lines[1]
    assert sum(SHARED in document for document in train) == 1
    assert sum(SHARED in document for document in validation) == 0
    assert list(pydocs.documents("all")) == train + validation


def test_the_text_does_not_depend_on_the_number_of_workers(packages):
    assert documents(packages, workers=2) == documents(packages)


STDLIB = ("os.py", "json/decoder.py", "xml/dom/minidom.py")
NOT_EVERYWHERE = (
    "lib/sitecustomize.py", "lib/_sysconfigdata_linux.py", "lib/idlelib/run.py", "lib/turtle.py",
    "lib/test/support.py", "lib/site-packages/pip/main.py", "site/matplotlib/pyplot.py",
    "site/torch/tests/helpers.py", "site/numpy/conftest.py", "site/torch/libtorch.so")


def fingerprint(root, monkeypatch, others=(), changed=None):
    """Return the fingerprint of the corpus of an installation of Python in a new folder."""
    files = [f"lib/{name}" for name in STDLIB]
    files += [f"site/{name}/m{i}.py" for name in PACKAGES for i in range(30)]
    for i, name in enumerate([*files, *others]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        text = MODULE.format(i=i, copied="")
        (root / name).write_text(text.replace("Set", "Take") if name == changed else text)
    for name in PACKAGES:
        (root / f"site/{name}/__init__.py").touch()
    monkeypatch.setattr("sysconfig.get_path", {"stdlib": root / "lib"}.get)
    monkeypatch.setattr("data.sources.pydocs.find_spec", lambda name: SimpleNamespace(
        origin=str(root / "site" / name / "__init__.py")))
    return PydocsCorpus(workers=1, show_progress=False).notes["text_fingerprint"]


def test_the_text_does_not_depend_on_what_else_is_installed(tmp_path, monkeypatch):
    expected = fingerprint(tmp_path / "one", monkeypatch)
    rglob = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed([*rglob(self, pattern)]))
    assert fingerprint(tmp_path / "two", monkeypatch, NOT_EVERYWHERE) == expected


@pytest.mark.parametrize("changed", ["lib/xml/dom/minidom.py", "site/networkx/m29.py"])
def test_another_docstring_gives_another_fingerprint(tmp_path, monkeypatch, changed):
    expected = fingerprint(tmp_path / "one", monkeypatch)
    assert fingerprint(tmp_path / "two", monkeypatch, changed=changed) != expected


def test_the_versions_behind_the_text_are_named(packages):
    made_from = corpus(packages).notes["made_from"].split(", ")
    assert made_from[0] == "Python " + sys.version.split()[0]
    assert made_from[1] == "torch " + torch.__version__.split("+")[0]
    assert made_from[2] == f"numpy {np.__version__}"
    assert len(made_from) == 1 + len(PACKAGES)


def test_the_cache_is_used_until_a_source_changes(packages, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    expected = documents(packages, cache=cache)
    monkeypatch.setattr("data.sources.pydocs.collect", lambda *_: pytest.fail("parsed again"))
    assert documents(packages, cache=cache) == expected
    monkeypatch.undo()
    (packages / "package0" / "m0.py").write_text('"""Another text, which was written just now."""')
    assert documents(packages, cache=cache) != expected


@pytest.mark.parametrize("name", [
    "tests/a.py", "test_a.py", "a_test.py", "conftest.py", "pip/_vendor/a.py", "a.txt"])
def test_tests_and_vendored_copies_are_excluded(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "kept.py").write_text("")
    assert list(python_files([tmp_path])) == [
        (tmp_path / "kept.py", f"{tmp_path.name}/kept.py")]


@pytest.mark.parametrize("source", [
    '"""The first text of it."""',
    'class C:\n    """The first text of it."""',
    'class C:\n    x = 1\n    """The first text of it."""',
    'async def f():\n    "The first text of it."',
    'if True:\n    try:\n        pass\n    except E:\n        def f():\n'
    '            "The first text of it."',
    'add_newdoc("numpy", "flat", ("base", """The first text of it."""))',
    'torch._C._add_docstr(f, r"""The first text of it.""")',
    'f = _add_docstr(f, "f(x) -> y\\n\\nThe first " + "text of it.")',
    'add_docstr(f, """The first text of it.\\n\\n{common}\\n""".format(**common))',
    'add_docstr(f, "The first text of it." % ("",))',
    'add_newdoc("m", "f", textwrap.dedent("""\n    The first text\n    of it."""))',
    'f.__doc__ = """The first text of it."""',
    '_f_docstring = """The first text of it."""',
    'topics = {"assert": """The first text of it."""}',
])
def test_documentation_is_found_where_packages_put_it(source):
    assert documents_of_source(source.encode()) == [["The first text of it."]]


@pytest.mark.parametrize("source", [
    'x = "The text of a variable."', 'print("The text of a call to it.")',
    'def f():\n    x = 1\n    "The text of a comment."', "def f(:", "x = '\0'", "\xff", "(" * 1000,
])
def test_other_strings_and_invalid_sources_give_nothing(source):
    assert documents_of_source(source.encode("latin-1")) == []


def test_short_documents_are_left_out(tmp_path):
    long = "Return the sum of all the numbers in the list."
    (tmp_path / "a.py").write_text(f'def f():\n    "Return the sum."\ndef g():\n    "{long}"')
    splits = collect(list(python_files([tmp_path])), workers=1, show_progress=False)
    assert splits["train"] + splits["eval"] == [long]
    with pytest.raises(ValueError, match="too little documentation in 1 Python file:"):
        corpus(tmp_path).documents("eval")


def test_the_named_corpus_is_that_of_this_interpreter(packages, monkeypatch):
    monkeypatch.setattr("data.sources.pydocs.module_paths", lambda: [packages])
    pydocs = open_corpus("pydocs", workers=1)
    pydocs.show_progress = False
    assert pydocs.description == (
        "pydocs: 600 documents, 0.0 MB (0.0 MB of it for validation)")

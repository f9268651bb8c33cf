import os
import subprocess
import sys
from pathlib import Path

import pytest

from data import open_corpus
from data.sources.pydocs import PydocsCorpus, documents_of_source, python_files, python_roots

SHARED = "This long sentence stands in more than one file, as copied documentation does."


@pytest.fixture
def packages(tmp_path):
    """Three hundred small modules; every third repeats one sentence, and each raises when it is imported.
    Two documents a file: the split must keep them together."""
    root = tmp_path / "packages"
    for number in range(300):
        folder = root / f"package{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        copied = f"\n\n    {SHARED}\n" if number % 3 == 0 else ""
        (folder / f"m{number}.py").write_text(
            f'raise SystemExit("imported")\ndef f():\n    """Return the number {number} as it was given by the caller.{copied}"""\n'
            f'def g():\n    """Set the number {number} as it was given by the caller."""\n')
    return root


def corpus(root, **options):
    return PydocsCorpus([root], **{"workers": 1, "show_progress": False, **options})


def test_no_file_and_no_text_is_in_both_parts(packages):
    made = corpus(packages)
    train, held = list(made.documents("train")), list(made.documents("eval"))
    assert len(train) + len(held) == 600 and 10 <= len(held) <= 60  # 30 expected, two from each file
    numbers = [{document.split()[3] for document in part} for part in (train, held)]  # a number is a file
    assert not numbers[0] & numbers[1]
    lines = [{line for document in part for line in document.split("\n")} for part in (train, held)]
    assert not lines[0] & lines[1]
    assert sum(SHARED in document for document in train + held) == 1 and sum(SHARED in document for document in train) == 1
    assert list(made.documents("all")) == train + held


def test_any_number_of_workers_and_any_hash_seed_give_the_same_text(packages):
    expected = list(corpus(packages).documents("all"))
    assert list(corpus(packages, workers=2).documents("all")) == expected
    program = f"from data.sources.pydocs import PydocsCorpus; print(list(PydocsCorpus([{str(packages)!r}], workers=1, show_progress=False).documents('all')))"
    for seed in ("1", "2"):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()})
        assert result.stdout.strip() == str(expected)


def test_the_order_is_that_of_the_names_not_of_the_disk(packages, monkeypatch):
    expected = list(python_files([packages]))
    original = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(original(self, pattern))))
    assert list(python_files([packages])) == expected


def test_a_package_elsewhere_on_the_disk_has_the_same_split(packages, tmp_path):
    held = list(corpus(packages).documents("eval"))
    packages.rename(tmp_path / "moved")
    assert list(corpus(tmp_path / "moved").documents("eval")) == held


def test_the_cache_is_read_until_a_source_changes(packages, tmp_path, monkeypatch):
    first = list(corpus(packages, cache=tmp_path / "cache").documents("all"))
    monkeypatch.setattr("data.sources.pydocs.collect", lambda *_: pytest.fail("parsed again"))
    assert list(corpus(packages, cache=tmp_path / "cache").documents("all")) == first
    monkeypatch.undo()
    (packages / "package0" / "m0.py").write_text('"""Another text about numbers, which was written just now."""')
    assert list(corpus(packages, cache=tmp_path / "cache").documents("all")) != first


@pytest.mark.parametrize("name", ["tests/a.py", "test/a.py", "test_a.py", "a_test.py", "conftest.py", "pip/_vendor/a.py",
                                  "site-packages/a.py", "a.txt"])
def test_tests_and_vendored_copies_are_left_out(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    (tmp_path / "kept.py").write_text("")
    assert [relative for _, relative in python_files([tmp_path])] == ["kept.py"]


def test_a_folder_and_a_dangling_link_that_end_in_py_are_no_sources(tmp_path):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "kept.py").write_text("")
    assert [relative for _, relative in python_files([tmp_path])] == ["kept.py"]


def test_a_source_that_may_not_be_read_gives_no_documents_and_the_others_stay(packages, monkeypatch):
    expected = list(corpus(packages).documents("all"))
    read = Path.read_bytes

    def refuse(path):
        if path.name == "m7.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert list(corpus(packages).documents("all")) == [document for document in expected if " 7 " not in document]


@pytest.mark.parametrize("source", [
    '"""The first text of it."""',
    'class C:\n    """The first text of it."""',
    'class C:\n    x = 1\n    """The first text of it."""',
    'def f():\n    "The first text of it."',
    'async def f():\n    "The first text of it."',
    'if True:\n    try:\n        pass\n    except E:\n        def f():\n            "The first text of it."',
    'add_newdoc("numpy", "flat", ("base", """The first text of it."""))',
    'torch._C._add_docstr(f, r"""The first text of it.""")',
    'f = _add_docstr(f, "f(x) -> y\\n\\nThe first " + "text of it.")',
    'add_docstr(f, """The first text of it.\\n\\n{common}\\n""".format(**common))',
    'add_docstr(f, "The first text of it.%s" % ("",))'.replace("%s", "%%"),
    'add_newdoc("m", "f", textwrap.dedent("""\n    The first text\n    of it."""))',
    'f.__doc__ = """The first text of it."""',
    '_f_docstring = """The first text of it."""',
])
def test_documentation_is_found_wherever_packages_put_it(source):
    found = [paragraph.rstrip("%") for document in documents_of_source(source.encode()) for paragraph in document]
    assert found == ["The first text of it."]


@pytest.mark.parametrize("source", [
    'x = "The text of a variable."', 'print("The text of a call to it.")', 'def f():\n    x = 1\n    "The text of a comment."',
    "def f(:", "x = '\0'", "\xff", "(" * 1000, "",
])
def test_other_strings_and_what_does_not_parse_give_nothing(source):
    assert documents_of_source(source.encode("latin-1")) == []


def test_short_documents_are_left_out(tmp_path):
    (tmp_path / "a.py").write_text('def f():\n    "Return the sum."\ndef g():\n    "Return the sum of all the numbers in the list."')
    with pytest.raises(ValueError, match="no documentation in the 1 Python files"):
        corpus(tmp_path).documents("eval")
    from data.sources.pydocs import collect
    parts = collect(list(python_files([tmp_path])), workers=1, show_progress=False)
    assert parts["train"] + parts["eval"] == ["Return the sum of all the numbers in the list."]


def test_the_real_library_reads_as_english():
    root = python_roots()[0]
    found = {name: "\n".join(paragraph for document in documents_of_source((root / name).read_bytes()) for paragraph in document)
             for name in ("textwrap.py", "json/__init__.py")}
    assert "Collapse and truncate the given text to fit in the given width." in found["textwrap.py"]
    assert "Serialize `obj` as a JSON formatted stream to `fp`" in found["json/__init__.py"]
    assert ">>>" not in "".join(found.values())


def test_the_named_corpus_is_that_of_this_interpreter(packages, monkeypatch):
    monkeypatch.setattr("data.sources.pydocs.python_roots", lambda: [packages])
    made = open_corpus("pydocs")
    made.show_progress, made.workers = False, 1
    assert made.name == "pydocs" and made.description == "pydocs: 300 files, 0.0 MB of documentation (0.0 MB of it held out)"

"""The book: its links lead where they say, its snippets and commands print what the pages show, its pictures are those that its code draws."""
import codeop
import contextlib
import doctest
import re
import shutil
from pathlib import Path

import pytest
from book_helpers import ROOT, module

BOOK = ROOT / "docs" / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]-*.md"))


check, run, pictures = (module(BOOK / f"{name}.py") for name in ("check", "run", "pictures"))


def stem(page):
    return str(page.relative_to(ROOT).with_suffix(""))


# ------------------------------------------------------------------------------------------------------ the pages


@pytest.mark.parametrize("page", check.pages(), ids=stem)
def test_every_link_leads_where_it_says(page):
    assert check.problems(page) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="no shell here")
@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_every_quick_snippet_and_command_prints_what_the_page_shows(page):
    differences = [run.diff(page, step, got) for step, got in run.run_steps(page, quick=True) if not run.matches(step, got)]
    assert not differences, "\n" + "\n".join(differences)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no shell here")
def test_the_commands_can_be_typed_again_and_chapter_after_chapter_in_one_folder(monkeypatch):
    with run.working_folder() as folder:
        monkeypatch.setattr(run, "working_folder", lambda: contextlib.nullcontext(folder))
        differences = [run.diff(page, step, got) for page in CHAPTERS + CHAPTERS for step, got in run.run_steps(page, quick=True)
                       if not run.matches(step, got)]
    assert not differences, "\n" + "\n".join(differences)


@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_a_command_shows_more_than_dots_and_no_two_lines_of_them_in_a_row(page):
    """A line of dots alone fits whatever is printed there."""
    for step in run.steps(page.read_text(encoding="utf-8")):
        if step.kind == "console" and step.want:
            shown = [line.strip() for line in step.want.splitlines()]
            assert set(shown) != {"..."} and ("...", "...") not in zip(shown, shown[1:]), f"{page.name}:{step.line}"


@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_a_snippet_can_be_typed_line_by_line(page):
    """Without the prompts every line after an indented block begins a statement: a line of "..." alone has ended the block."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        typed, waiting = [line[4:] for line in block.split("\n") if line.startswith((">>>", "..."))], []
        for line in typed:
            waiting.append(line)
            if codeop.compile_command("\n".join(waiting)):
                waiting = []
        assert not waiting, f"{page.name}: no end of {waiting[0]}"


@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_a_chapter_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    title, first = re.match(r"# (.+)\n\n((?:.+\n)+)", text).groups()
    assert re.search(r"\]\(\.\./\.\./\S+\.py", first), "the first paragraph opens the file that it is about"
    assert re.search(rf"!\[.+\]\(pictures/{page.name[:3]}[\w-]+\.(svg|png)\)", text)
    exercises = re.search(r"\n## Exercises\n(.*)", text, re.S)[1]
    tasks = re.findall(r"^\d\. (.*(?:\n   .*)*)", exercises, re.M)
    assert 2 <= len(tasks) <= 3 and all("`" in task or "](" in task for task in tasks), "two or three, each with where to look"
    assert 80 <= text.count("\n") <= 190
    assert set(re.findall(r"^```(.+)", text, re.M)) <= {"python", "console"}, "blocks of other kinds are not run"
    assert not re.search(r"^ +(\$|>>>) ", text, re.M), "what is shown as run stands in a block that is run"
    assert f"]({page.name})" in (BOOK / "README.md").read_text(encoding="utf-8"), "the contents name it"


@pytest.mark.parametrize("name", pictures.pictures())
def test_a_picture_is_the_one_that_its_code_draws(name):
    ending, content = pictures.render(pictures.pictures()[name])
    path = pictures.FOLDER / (name + ending)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode("utf-8")), "make pictures"
    assert any(f"pictures/{path.name}" in page.read_text(encoding="utf-8") for page in CHAPTERS)


def test_no_picture_is_left_over():
    assert {path.stem for path in pictures.FOLDER.iterdir()} == set(pictures.pictures())


@pytest.mark.parametrize("script", ["docs/book/run", "docs/book/drawing", "exercises/check"])
def test_the_examples_in_docstrings_are_true(script):
    failed, tried = doctest.testmod(module(ROOT / f"{script}.py"))
    assert tried and not failed


# ------------------------------------------------------------------------------------------------------ the links


@pytest.fixture
def code(tmp_path):
    first, second = "class A:\n    def f(self):\n        self.width = 1\n", "class B:\n    def f(self):\n        pass\n"
    (tmp_path / "code.py").write_text(f"import x\n\nLIMIT = 3\n\n\n{first}\n\n{second}")
    (tmp_path / "Makefile").write_text("all: test\n\ntest:\n\tpytest\n")
    return tmp_path


@pytest.mark.parametrize("link, wrong", [
    ("[`A`](code.py#L6)", None),
    ("[`A.f`](code.py#L7)", None),
    ("[`LIMIT`](code.py#L3) and [`width`](code.py#L8)", None),
    ("[`test:`](Makefile#L3)", None),
    ("[the code](code.py), [here](#a-title-of-its-own), [there](https://example.org/#L3)", None),
    ("```\n[`A`](nowhere.py#L1)\n```", None),
    ("[`A`](code.py#L5)", "`A` is on line 6 of code.py, not 5: run make links"),
    ("[`f`](code.py#L7)", "code.py defines f 2 times: write A.f or B.f"),
    ("[`C`](code.py#L7)", "code.py defines no C"),
    ("[A](code.py#L6)", "the text of a link to a line is a name in backticks, not 'A'"),
    ("[the code](gone.py)", "there is no file gone.py"),
    ("[there](#another-title)", "page.md has no heading #another-title"),
])
def test_a_wrong_link_is_found_and_a_right_one_is_not(code, link, wrong):
    page = code / "page.md"
    page.write_text(f"# A title, of its own\n\n{link}\n")
    assert check.problems(page) == ([(3, wrong)] if wrong else [])


def test_links_to_lines_are_renumbered_when_code_has_moved(code):
    page = code / "page.md"
    page.write_text("[`A`](code.py#L6), [`B.f`](code.py#L12), [`C`](code.py#L1) and the [code](code.py)\n")
    (code / "code.py").write_text("# a new line\n" + (code / "code.py").read_text())
    assert check.renumbered(page) == ("[`A`](code.py#L7), [`B.f`](code.py#L13), [`C`](code.py#L1) and the [code](code.py)\n", 2)


# ----------------------------------------------------------------------------------------------------- the runner

PAGE = """# A page

```python
>>> number = 6 * 7
>>> number
42
>>> {}["key"]
Traceback (most recent call last):
    ...
KeyError: 'key'
```

```console
$ echo one > file.txt && \\
  cat file.txt
one
$ python -c "print(1); import sys; sys.exit('error: two')"
1
error: two
```

<!-- long -->
```console
$ echo slow
slow
```

```python
>>> from pathlib import Path
>>> print(Path("file.txt").read_text(), Path("README.md").exists())
one
 True
```
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_snippets_and_commands_of_a_page_share_names_and_files(page):
    assert [run.matches(step, got) for step, got in run.run_steps(page)] == [True] * 8
    assert "slow" not in [got.strip() for _, got in run.run_steps(page, quick=True)]
    assert not Path("file.txt").exists()


def test_a_block_without_an_end_is_named():
    with pytest.raises(ValueError, match="the block on line 3 has no end"):
        run.steps("# A page\n\n```python\n>>> 1\n1\n")


def test_what_comes_out_differently_is_shown_and_can_be_written_into_the_page(page, monkeypatch, capsys):
    wrong = PAGE.replace("42", "41").replace("\n1\nerror: two", "\n1 ... of them\nerror: ...\nnothing").replace("slow\nslow", "slow\nfast\nfaster")
    page.write_text(wrong)
    monkeypatch.setattr(run, "chapters", lambda only: [page])
    assert run.main([]) == 1
    told = capsys.readouterr()
    assert "page.md:6: number\n" in told.out and "\n    -41\n    +42" in told.out and "3 outputs differ" in told.out
    assert page.read_text() == wrong
    assert run.main(["--write"]) == 0
    assert page.read_text() == PAGE.replace("\nerror: two", "\nerror: ...")  # what was vague before, and still fits, stays so
    assert run.main([]) == 0


@pytest.mark.parametrize("command", ["python -m tokenizer inspect nowhere", "python docs/book/check.py --mendd", "python -m tokenizer encode --help"])
def test_a_command_prints_the_same_within_this_process_as_in_a_shell(command):
    with run.working_folder():
        assert run.run_in_process(command) == run.run_in_shell(command) != ""

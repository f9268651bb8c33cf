"""The book: its links, quotes, snippets, commands and pictures are up to date."""
import codeop
import contextlib
import doctest
import re
from pathlib import Path

import pytest
from book_helpers import ROOT, load_script

check = load_script("docs/book/check")
pictures = load_script("docs/book/pictures")
run = load_script("docs/book/run")
BOOK = ROOT / "docs" / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]-*.md"))
PAGES = run.pages()  # the chapters, and the other pages that have snippets or commands


def stem(page):
    return str(page.relative_to(ROOT).with_suffix(""))


def differences(page):
    return [run.diff(page, step, printed) for step, printed in run.run_steps(page, quick=True)
            if not run.matches(step, printed)]


# --------------------------------------------------------------------------------- the pages


@pytest.mark.parametrize("page", check.pages(), ids=stem)
def test_every_link_and_quote_is_right(page):
    assert check.problems(page) == []


@pytest.mark.parametrize("page", PAGES, ids=stem)
def test_every_quick_snippet_and_command_prints_what_the_page_shows(page):
    found = differences(page)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.slow
def test_all_pages_can_be_typed_twice_in_one_folder(monkeypatch):
    with run.working_folder() as folder:
        monkeypatch.setattr(run, "working_folder", lambda: contextlib.nullcontext(folder))
        found = [text for page in PAGES + PAGES for text in differences(page)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=stem)
def test_a_command_shows_more_than_dots(page):
    """A line of dots alone would fit whatever is printed."""
    for step in run.steps(page.read_text(encoding="utf-8")):
        if step.kind == "console" and step.want:
            assert set(step.want.split()) != {"..."}, f"{page.name}:{step.line}"


@pytest.mark.parametrize("page", PAGES, ids=stem)
def test_a_snippet_can_be_typed_line_by_line(page):
    """An indented block ends with a line of "..." alone, before the next statement."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        statement = []
        for line in block.split("\n"):
            if line.startswith((">>>", "...")):
                statement.append(line[4:])
                if codeop.compile_command("\n".join(statement)):
                    statement = []
        assert not statement, f"{page.name}: no end of {statement[0]}"


@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_a_chapter_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    first_paragraph = text.split("\n\n")[1]
    assert re.search(r"\]\(\.\./\.\./\S+\.py", first_paragraph), "links to the file it is about"
    assert re.search(rf"!\[.+\]\(pictures/{page.name[:3]}[\w-]+\.(svg|png)\)", text)
    exercises = text.split("\n## Exercises\n")[1]
    assert 2 <= len(re.findall(r"^\d\. ", exercises, re.M)) <= 4
    blocks = re.findall(r"^```(?!python \S)(.+)", text, re.M)  # all but quotes of a file
    assert set(blocks) <= {"python", "console"}, "others are not run"
    assert f"]({page.name})" in (BOOK / "README.md").read_text(encoding="utf-8")


def test_the_pages_that_are_run_are_the_chapters_and_others_with_snippets():
    assert set(CHAPTERS) < set(PAGES)
    assert BOOK / "what-it-costs.md" in PAGES
    assert run.pages(["03"]) == [BOOK / "03-byte-pairs.md"]


@pytest.mark.parametrize("page", CHAPTERS, ids=stem)
def test_every_exercise_of_a_chapter_has_an_answer(page):
    exercises = page.read_text(encoding="utf-8").split("\n## Exercises\n")[1]
    solutions = (BOOK / "solutions.md").read_text(encoding="utf-8")
    answers = solutions.split(f"\n## {int(page.name[:2])}. ")[1].split("\n## ")[0]
    numbers = re.findall(r"^(\d)\. ", exercises, re.M)
    assert re.findall(r"^\*\*Exercise (\d)\.\*\*", answers, re.M) == numbers


@pytest.mark.parametrize("name", pictures.pictures())
def test_a_picture_is_the_one_that_its_code_draws(name):
    suffix, content = pictures.render(pictures.pictures()[name])
    if isinstance(content, str):
        content = content.encode("utf-8")
    path = pictures.FOLDER / (name + suffix)
    assert path.read_bytes() == content, "run make pictures"
    assert any(f"pictures/{path.name}" in page.read_text(encoding="utf-8") for page in CHAPTERS)


def test_every_picture_has_its_code():
    assert {path.stem for path in pictures.FOLDER.iterdir()} == set(pictures.pictures())


@pytest.mark.parametrize("script", [
    "docs/book/run", "docs/book/check", "docs/book/drawing", "docs/book/training_runs",
    "exercises/check"])
def test_the_examples_in_docstrings_are_true(script):
    num_failed, num_tried = doctest.testmod(load_script(script))
    assert num_tried > 0 and num_failed == 0


# --------------------------------------------------------------------------------- the links

CODE = """\
import x

LIMIT = 3


class A:
    def f(self):
        self.width = 1


class B:
    def f(self):
        pass
"""


@pytest.fixture
def page(tmp_path):
    """A page beside a module and a Makefile."""
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "Makefile").write_text("all: test\n\ntest:\n\tpytest\n")
    return tmp_path / "page.md"


@pytest.mark.parametrize("link", [
    "[`A`](code.py#L6)", "[`A.f`](code.py#L7)", "[`LIMIT`](code.py#L3)", "[`width`](code.py#L8)",
    "[`test:`](Makefile#L3)", "[the code](code.py)", "[here](#its-own-title)",
    "[there](https://example.org/#L3)", "```\n[`A`](nowhere.py#L1)\n```",
])
def test_a_right_link_is_accepted(page, link):
    page.write_text(f"# Its own title\n\n{link}\n")
    assert check.problems(page) == []


@pytest.mark.parametrize("link, words", [
    ("[`A`](code.py#L5)", "6 of code.py"),
    ("[`f`](code.py#L7)", "A.f or B.f"),
    ("[`C`](code.py#L7)", "code.py defines no C"),
    ("[A](code.py#L6)", "backticks"),
    ("[the code](gone.py)", "gone.py"),
    ("[there](#another-title)", "#another-title"),
])
def test_a_wrong_link_is_found(page, link, words):
    page.write_text(f"# Its own title\n\n{link}\n")
    [(line, problem)] = check.problems(page)
    assert line == 3
    assert words in problem


def test_links_to_lines_are_renumbered_when_code_has_moved(page):
    page.write_text("[`A`](code.py#L6), [`B.f`](code.py#L12), [`C`](code.py#L1), [code](code.py)")
    (page.parent / "code.py").write_text("# a new line\n" + CODE)
    assert check.renumbered(page) == (
        "[`A`](code.py#L7), [`B.f`](code.py#L13), [`C`](code.py#L1), [code](code.py)", 2)


@pytest.mark.parametrize("code, is_right", [
    ("class A:\n    def f(self):\n        self.width = 1\n", True),
    ("def f(self):\n    self.width = 1\n", True),  # without the margin
    ("LIMIT = 3\n\n\nclass A:\n", True),
    ("import x\n...\nclass A:\n    ...\n        self.width = 1\n", True),
    ("LIMIT = 4\n", False),
    ("LIMIT = 3\nclass A:\n", False),
    ("class A:\ndef f(self):\n", False),
    ("class B:\n...\nclass A:\n", False),
])
def test_quoted_code_must_be_lines_of_its_file(page, monkeypatch, code, is_right):
    monkeypatch.setattr(check, "ROOT", page.parent)
    page.write_text(f"A quote:\n\n```python code.py\n{code}```\n")
    wrong = [] if is_right else [(3, "code.py does not contain this code")]
    assert check.problems(page) == wrong


def test_a_quote_of_no_file_is_found(page):
    page.write_text("```python gone.py\nx = 1\n```\n")
    assert check.problems(page) == [(1, "there is no file gone.py to quote")]


# -------------------------------------------------------------------------------- the runner

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


def test_snippets_and_commands_of_a_page_share_names_and_files(page):
    page.write_text(PAGE)
    assert [run.matches(step, printed) for step, printed in run.run_steps(page)] == [True] * 8
    assert not Path("file.txt").exists()


def test_a_quick_run_leaves_out_the_long_steps(page):
    page.write_text(PAGE)
    assert "slow\n" not in [printed for _, printed in run.run_steps(page, quick=True)]


def test_a_block_without_an_end_is_refused():
    with pytest.raises(ValueError, match="on line 3 has no end"):
        run.steps("# A page\n\n```python\n>>> 1\n1\n")


def test_a_different_output_is_shown_and_can_be_written_into_the_page(page, monkeypatch, capsys):
    wrong = PAGE.replace("42", "41").replace("slow\nslow", "slow\nfast\nfaster")
    vague = wrong.replace("\nerror: two", "\nerror: ...")
    page.write_text(vague)
    monkeypatch.setattr(run, "pages", lambda only: [page])
    assert run.main([]) == 1
    printed = capsys.readouterr().out
    assert "page.md:6: number\n" in printed
    assert "\n    -41\n    +42" in printed
    assert page.read_text() == vague
    assert run.main(["--write"]) == 0
    assert page.read_text() == PAGE.replace("\nerror: two", "\nerror: ...")  # "..." still fits


@pytest.mark.parametrize("command", [
    'python -m tokenizer inspect "no <folder>"', "python docs/book/check.py --mendd"])
def test_a_command_prints_the_same_in_this_process_as_in_a_shell(command):
    with run.working_folder():
        assert run.run_in_process(command) == run.run_in_shell(command) != ""

"""The notebooks: made from their pages, executed, without traces of a machine."""
import doctest
import json
import re
import sys

import pytest
from book_helpers import load_script

make = load_script("notebooks/make")
PAGES = make.pages()
WALK_THROUGHS = [page for page in PAGES if page.parent == make.HERE]
CHAPTERS = [page for page in PAGES if page not in WALK_THROUGHS]
REPAIR = "run make links; if the code has changed, make notebooks"


def name(page):
    return page.stem


def read(page):
    return json.loads(make.notebook_path(page).read_text(encoding="utf-8"))


def printed(cell):
    """Return the output of a cell as text."""
    texts = [output.get("text") or output["data"].get("text/plain", [])
             for output in cell["outputs"]]
    return "".join(line for text in texts for line in text)


def test_each_page_has_a_notebook():
    assert {make.notebook_path(page) for page in PAGES} == set(make.HERE.glob("*.ipynb"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_notebook_has_the_text_and_the_code_of_its_page(page):
    made, checked_in = make.make_notebook(page), read(page)
    for notebook in (made, checked_in):
        for cell in make.cells_of(notebook):
            del cell["outputs"], cell["execution_count"]
    assert made == checked_in, REPAIR


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_notebook_was_executed_from_top_to_bottom_without_errors(page):
    cells = make.cells_of(read(page))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"stream", "execute_result", "display_data"}


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_the_outputs_of_a_chapter_are_those_of_its_page(page):
    """Each output on the page ends a cell."""
    steps = [step for step in make.run.steps(page.read_text(encoding="utf-8")) if step.want]
    cells = [cell for cell in make.cells_of(read(page)) if cell["outputs"]]
    assert len(cells) == len(steps)
    different = [(step.want, printed(cell)) for step, cell in zip(steps, cells)
                 if not (step.long or make.run.matches(step, printed(cell)))]
    assert different == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_notebook_is_small_and_has_no_path_of_a_machine(page):
    assert make.notebook_path(page).stat().st_size < 200_000
    outputs = "\n".join(map(printed, make.cells_of(read(page))))
    assert re.findall(r"(?<![\w.<)\]}/])/\w+/\w+\S*", outputs) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_notebook_have_targets(page):
    text = "\n\n".join("".join(cell["source"]) for cell in make.cells_of(read(page), "markdown"))
    targets = [link["target"] for link in make.check.links(text)]
    local = [target for target in targets if target and not re.match(r"\w+:", target)]
    assert local
    assert [target for target in local if not (make.HERE / target).exists()] == []


@pytest.mark.parametrize("page", WALK_THROUGHS, ids=name)
def test_a_walk_through_ends_with_a_filled_mask(page, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "text.txt"
    lines = text.read_text().split("\n")
    corpus.write_text("\n".join(line.capitalize() for line in lines))  # sentences
    names = {"__name__": "__main__"}
    smaller = {"STEPS = .*": "STEPS = 2", "CORPUS = .*": f"CORPUS = {str(corpus)!r}",
               "hidden_size=[0-9]+": "hidden_size=24", "num_hidden_layers=4": "num_hidden_layers=1"}
    for _, _, lines, _ in make.run.blocks(page.read_text(encoding="utf-8")):
        code = "\n".join(lines)
        for old, new in smaller.items():
            code = re.sub(rf"\b{old}", new, code)
        exec(code, names)
    last_lines = capsys.readouterr().out.splitlines()[-6:]
    assert re.search(r"\[MASK\]|<mask>", last_lines[0])
    assert all(re.match(r" +\d+\.\d% ", line) for line in last_lines[1:])
    assert names["step"] == names["STEPS"] == 2


def test_links_lead_to_other_notebooks_and_to_their_headings():
    text = ("[8](08-loss.md#why-is-the-first-loss-about-9), [all](README.md), [`A`](../../x.py#L3),"
            " ![m](pictures/m.svg), [look](../corpora.md#look), [web](https://example.org/#L3)")
    assert make.relink(text, CHAPTERS[6]) == (
        "[8](08-loss.ipynb#Why-is-the-first-loss-about-9%3F), [all](../docs/book/README.md), "
        "[`A`](../x.py), ![m](../docs/book/pictures/m.svg), [look](../docs/corpora.md#look), "
        "[web](https://example.org/#L3)")


def test_outputs_are_kept_if_the_code_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "HERE", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\n>>> 1 + 1\n2\n```\n")
    notebook = make.make_notebook(page)
    notebook["cells"][-1] |= {"execution_count": 2, "outputs": ["an output"]}
    make.notebook_path(page).write_text(json.dumps(notebook))
    page.write_text("# Another title\n\n```python\n>>> 1 + 1\n2\n```\n")
    assert make.main(["--text", "--only", "page"]) is None
    kept = read(page)
    assert kept["cells"][0]["source"][0] == "# Another title\n"
    assert kept["cells"][-1]["outputs"] == ["an output"]


def test_without_jupyter_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nbclient", None)
    with pytest.raises(ValueError, match=r'more packages: pip install -e "\.\[notebooks\]"'):
        make.execute({"cells": []})


def test_the_examples_in_docstrings_are_true():
    num_failed, num_tried = doctest.testmod(make)
    assert num_tried > 0 and num_failed == 0

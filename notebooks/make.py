"""Write the notebooks: the chapters of the book and the walk-throughs of this folder, executed.

    python notebooks/make.py                       # all of them, in about ten minutes
    python notebooks/make.py --only 03 kantaibert  # those whose names begin with this
    python notebooks/make.py --text                # update only the text, without running any

A page is the only source of its notebook. Its text becomes Markdown cells. The blocks that
docs/book/run.py runs become code cells: a statement with an output ends a cell, so that the output
is below it; each command is a cell; a ```python block without >>> is one cell. The notebooks run in
a temporary folder, as the pages do; only this needs Jupyter.
"""
import json
import os
import re
import sys
import time
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "book")]
import check  # noqa: E402
import run  # noqa: E402

from tokenizer.utils.cli import Parser  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

SETUP = """\
# On your own machine, this cell only changes to the repository's folder.
REPOSITORY = ""  # on Colab: the address to clone minibert from
import os, sys
if os.path.exists("../train.py"):
    os.chdir("..")
elif not os.path.exists("train.py"):
    assert REPOSITORY, "enter the address of minibert's repository above"
    !git clone -q $REPOSITORY minibert-repository
    %cd -q minibert-repository
    %pip install -q -e .
sys.path.insert(0, os.getcwd())
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
%config PlainTextFormatter.pprint = False"""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def pages(only=()):
    """Return the pages that become notebooks, or those whose names begin with ``only``."""
    found = [*sorted((ROOT / "docs/book").glob("[0-9][0-9]-*.md")), *sorted(HERE.glob("*.md"))]
    found = [page for page in found
             if page.name != "README.md" and page.name.startswith(tuple(only) or "")]
    if not found:
        raise ValueError(f"no page begins with {' or '.join(only)}")
    return found


def notebook_path(page):
    return HERE / f"{page.stem}.ipynb"


def make_notebook(page):
    """Return the notebook of a page, without outputs, as the dict that its file contains."""
    source = os.path.relpath(page, HERE)
    title, _, text = relink(page.read_text(encoding="utf-8"), page).partition("\n")
    origin = f"*This notebook is made from [{page.name}]({source}) by `make notebooks`.*"
    cells = [("markdown", f"{title}\n\n{origin}"), ("code", SETUP)]
    lines = text.split("\n")
    end = 0
    for kind, start, block, _ in run.blocks(text):
        cells += markdown_cells(lines[end:start])
        cells += [("code", code) for code in code_cells(kind, block)]
        end = start + len(block) + 2
    cells += markdown_cells(lines[end:])
    return {"cells": [cell(i, kind, source) for i, (kind, source) in enumerate(cells)],
            "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}


def cell(i, kind, source):
    outputs = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{i:03}", "metadata": {}, **outputs,
            "source": source.splitlines(keepends=True)}


def markdown_cells(lines):
    """Return one cell, or none if the lines are empty."""
    text = "\n".join(line for line in lines if line != run.LONG).strip()
    return [("markdown", text)] if text else []


def code_cells(kind, lines):
    r"""Return the code of each cell of a block.

    >>> code_cells("python", [">>> x = 1", ">>> x", "1", ">>> x + 1", "2"])
    ['x = 1\nx', 'x + 1']
    >>> code_cells("console", ["$ echo a", "a"])
    ['%%bash\necho a']
    """
    if kind == "console":
        return [f"%%bash\n{source}" for _, source, _ in run.commands(lines)]
    if not lines[0].startswith(">>>"):
        return ["\n".join(lines)]
    cells = [""]
    for _, source, output in run.statements(lines):
        cells[-1] += source
        if output:
            cells.append("")
    return [source.rstrip("\n") for source in cells if source]


def relink(text, page):
    """Return the text of a page with links that work in this folder."""
    for link in reversed(list(check.links(text))):  # from the end, so that positions stay valid
        target, anchor = link["target"], link["anchor"]
        if re.match(r"\w+:", target):  # https:, mailto:
            continue
        path = (page.parent / target).resolve() if target else page
        if path in pages():
            target = target and notebook_path(path).name
            # In Jupyter, the anchor of a heading is its title.
            anchor = anchor and quote(check.headings(path)[anchor].replace(" ", "-"))
        else:
            target = os.path.relpath(path, HERE)
            if check.LINE.match(anchor or ""):  # a line of code: Jupyter cannot open a file there
                anchor = None
        target += f"#{anchor}" if anchor else ""
        text = text[:link.start("target")] + target + text[link.end() - 1:]
    return text


def cells_of(notebook, kind="code"):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def code_of(notebook):
    return [cell["source"] for cell in cells_of(notebook)]


def copy_outputs(old, notebook):
    """Copy the outputs of a notebook with the same code."""
    for old_cell, cell in zip(cells_of(old), cells_of(notebook)):
        cell["execution_count"] = old_cell["execution_count"]
        cell["outputs"] = old_cell["outputs"]


def execute(notebook):
    """Run the cells of a notebook, in place. Raises CellExecutionError if one fails."""
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError as error:
        raise ValueError('running a notebook needs more packages: pip install -e ".[notebooks]" '
                         f"({error}); --text runs none") from None

    copy = nbformat.reads(json.dumps(notebook), as_version=4)
    with run.working_folder() as folder:
        NotebookClient(copy, timeout=3600, record_timing=False, coalesce_streams=True,
                       resources={"metadata": {"path": folder}}).execute()
        text = nbformat.writes(copy).replace(os.path.realpath(folder), "...")
    copy_outputs(json.loads(text), notebook)
    for cell in cells_of(notebook):  # without progress bars, as on the pages
        cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]


def main(args=None):
    parser = Parser(prog="python notebooks/make.py", description="Write and run the notebooks.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="only pages whose file names begin with this")
    parser.add_argument("--text", action="store_true",
                        help="only update the text of notebooks whose code has not changed")
    args = parser.parse_args(args)
    for page in pages(args.only):
        path = notebook_path(page)
        notebook = make_notebook(page)
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": []}
        if not args.text:
            start = time.monotonic()
            execute(notebook)
            print(f"{path.name}: {time.monotonic() - start:.0f} s")
        elif code_of(old) == code_of(notebook):
            copy_outputs(old, notebook)
        else:
            print(f"{path.name}: the code has changed: make notebooks ARGS='--only {page.stem}'")
            continue
        if notebook != old:
            atomic_write(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run.run(main)

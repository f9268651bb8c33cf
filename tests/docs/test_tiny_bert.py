"""Chapter 0: the page prints the whole small BERT, and the script learns what the page shows."""
import re

import pytest
from book_helpers import ROOT, load_script

check = load_script("docs/book/check")
run = load_script("docs/book/run")
PAGE = (ROOT / "docs/book/00-bert-in-twenty-minutes.md").read_text(encoding="utf-8")
SOURCE = (ROOT / "docs/book/tiny_bert.py").read_text(encoding="utf-8")
FLOOR = 0.1997  # 2/11 ln 3: which of three foods was drawn is not in the text


def losses(output):
    return [float(loss) for loss in re.findall(r"loss (\S+)", output)]


def test_the_chapter_prints_all_of_the_code():
    quotes = "".join(quote["code"] for quote in check.QUOTE.finditer(PAGE))
    assert re.sub(r"\n+", "\n", quotes) == re.sub(r"\n+", "\n", SOURCE)


def test_the_script_prints_what_the_page_shows():
    [command] = [step for step in run.steps(PAGE) if step.kind == "console"]
    with run.working_folder():
        output = run.run_in_process(command.source)
    # Processors round differently, and training amplifies it, so the page and this may differ.
    assert losses(output) == pytest.approx(losses(command.want), abs=0.2)
    assert losses(output)[0] == pytest.approx(3.18, abs=0.05)
    assert FLOOR < losses(output)[-1] < FLOOR + 0.05
    *_, question, foods, sizes = output.splitlines()
    assert output.splitlines()[0] == command.want.splitlines()[0]
    assert question in command.want
    assert set(re.findall("[a-z]+", foods)[:3]) == {"meat", "bones", "biscuits"}
    assert sizes.startswith("big 9") or sizes.startswith("big 100")

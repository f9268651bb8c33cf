"""Chapter 0: the page prints the whole small BERT, and the script learns what the page shows."""
import re

import pytest
from book_helpers import ROOT, load_script

attention = load_script("docs/book/tiny_attention")
check = load_script("docs/book/check")
run = load_script("docs/book/run")
PAGE = (ROOT / "docs/book/00-bert-in-twenty-minutes.md").read_text(encoding="utf-8")
SOURCE = (ROOT / "docs/book/tiny_bert.py").read_text(encoding="utf-8")
FLOOR = 0.1997  # 2/11 ln 3: which of three foods was drawn is not in the text


def losses(output):
    return [float(loss) for loss in re.findall(r"loss (\S+)", output)]


def guesses(lines):
    """Return, for each step, a list of (word, probability) for each [MASK]."""
    return [[[(word, int(percent) / 100) for word, percent in re.findall(r"(\S+) (\d+)%", answers)]
             for answers in line.split("   ")[-1].split("|")] for line in lines]


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
    lines = output.splitlines()
    assert lines[:2] == command.want.splitlines()[:2]
    at_first, *_, in_the_end = guesses(lines[2:])
    assert all(share < 0.1 for answers in at_first for _, share in answers)  # 1/24 = 0.042 each
    foods, sizes = in_the_end
    assert {word for word, _ in foods} == {"meat", "bones", "biscuits"}
    assert sizes[0][0] == "big" and sizes[0][1] > 0.9


@pytest.mark.slow
def test_the_first_mask_learns_to_look_at_the_dog():
    rows = attention.record()["steps"]
    dog, bee = 3, 9  # their positions in the question
    assert [row["step"] for row in rows] == list(attention.STEPS)
    assert all(sum(row["weights"]) == pytest.approx(1, abs=0.01) for row in rows)
    assert max(rows[0]["weights"]) < 0.2
    assert rows[1]["weights"][dog] + rows[1]["weights"][bee] > 0.5
    assert rows[-1]["weights"][dog] > 0.8

"""README, docs and code are written in plain English. (Old entries of the log stay as they are.)"""
import doctest

from book_helpers import ROOT, load_script

readability = load_script("benchmarks/readability")
FOLDERS = ("minibert", "tokenizer", "data", "docs", "exercises", "benchmarks", "notebooks")
LEFT_OUT = {ROOT / "docs/log.md", ROOT / "benchmarks/readability.py"}


def test_no_page_and_no_file_of_code_has_a_phrase_of_a_translation():
    files = [ROOT / "README.md", ROOT / "train.py"]
    for folder in FOLDERS:
        files += [*(ROOT / folder).rglob("*.md"), *(ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    found = {str(file): phrases for file in files if file not in LEFT_OUT
             if (phrases := readability.banned_phrases(file.read_text(encoding="utf-8")))}
    assert not found


def test_the_examples_of_the_check_are_true():
    num_failed, num_tried = doctest.testmod(readability)
    assert num_tried > 0 and num_failed == 0

"""The benchmark of the two criteria: a row worked by hand, and the command."""
import json

import pytest
from commands import ROOT, run_command
from tokenizer_samples import STORY

from tokenizer import WordPiece

SCRIPT = ROOT / "benchmarks" / "wordpiece_criteria.py"


def run(*args):
    return run_command(SCRIPT, *args)


def test_a_row_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from wordpiece_criteria import measure
    tok = WordPiece(["[UNK]", "a", "##b", "ab"], ["[UNK]"])
    row = measure(tok, {"ab": 3, "a": 1}, {"ab": 1, "abb": 1, "c": 2})
    # Validation: ab | ab ##b | [UNK] | [UNK], so 5 tokens of 4 words and 7 characters.
    # Training: ab 3, a 1. With one added to each of the 4 entries, ab has 4 / 8, and ##b and
    # [UNK] have 1 / 8: 2 * 1 + 3 * 3 bits.
    assert row == {"vocabulary": 4, "tokens_per_word": 1.25, "characters_per_token": 1.4,
                   "unk_share": 0.5, "bits_per_character": pytest.approx(11 / 7), "in_use": 0.5}


def test_the_command_prints_a_table_and_writes_json(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(STORY, encoding="utf-8")
    out = tmp_path / "r" / "result.json"
    done = run(tmp_path / "one.txt", tmp_path / "two.txt", "--held-out", "two",
               "--vocab-sizes", 140, "--out", out)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["criterion"] for row in rows] == ["frequency", "likelihood"]
    assert rows[0]["vocabulary"] == 140
    assert f"| 140 | likelihood | 140 | {rows[1]['tokens_per_word']:.4f} |" in done.stdout
    assert str(tmp_path) not in out.read_text()  # file names without their folders

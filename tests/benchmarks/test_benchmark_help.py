"""Every benchmark says what it is for, and how."""
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(path for path in FOLDER.glob("*.py") if "ArgumentParser" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", COMMANDS, ids=lambda path: path.stem)
def test_help(script, monkeypatch, capsys):
    """A "%" in a help text that is not doubled ends in an error there."""
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    assert done.value.code in (0, None) and capsys.readouterr().out.startswith(f"usage: {script.name}")

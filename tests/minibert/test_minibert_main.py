"""``python -m minibert``: the list of commands, help, and exit codes."""
import re

import pytest

from minibert.__main__ import COMMANDS, main

FLAGS_OF_TRAIN = {"--objective", "--corpus", "--examples", "--sentences"}  # help names them too


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(args, capsys):
    assert main(args) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


def test_an_unknown_command_suggests_the_nearest(capsys):
    assert main(["fillmask"]) == 2
    assert "error: unknown command fillmask: did you mean fill-mask?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_gives_its_own_name(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m minibert {name}" in shown
    assert ("  --out " in shown) == ("  --overwrite " in shown)
    own = set(re.findall("^  (?:-h, )?(--[a-z-]+)", shown, re.MULTILINE))
    named = {flag.replace("--no-", "--") for flag in re.findall(r"(?<![\w-])--[a-z-]+", shown)}
    assert named - own <= FLAGS_OF_TRAIN

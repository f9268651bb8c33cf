"""Nothing in the README is stale: files, flags, presets and targets that it names are there, and none that is there is missing."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from commands import run_command

from minibert.finetuning import command as finetune
from minibert.model import BertForMaskedLM, BertForPreTraining
from minibert.presets import PRESETS
from minibert.training import cli as options
from tokenizer import ByteLevelBPE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_map_names_every_module_and_no_other():
    the_map = re.search(r"## The map\n(.*?)\n## ", README, re.S)[1]
    named = set(re.findall(r"\b\w+\.py\b", the_map))
    there = {path.name for room in ("tokenizer", "data", "minibert") for path in (ROOT / room).glob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == there | {"train.py"}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_stands_in_the_table_with_its_size(preset):
    model, training = PRESETS[preset]
    with torch.device("meta"):
        count = (BertForPreTraining if training.examples == "pairs" else BertForMaskedLM)(model).num_parameters()
    row = next(line for line in README.splitlines() if line.startswith(f"| `{preset}` |"))
    assert f"{count:,}" in row and f"{training.batch_size:,} a step" in row


@pytest.mark.parametrize("command, parser", [("train.py", options.parser), ("minibert.finetuning.command", finetune.parser)])
def test_the_flags_of_a_command_exist(command, parser):
    known = parser().flags()
    for line in README.splitlines():
        if command in line:
            assert all(flag in known for flag in re.findall(r"--[a-z-]+", line.split(command, 1)[1])), line


def test_the_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"make ([a-z-]+)", README)) - {"does"} <= set(targets)


@pytest.mark.parametrize("page, script, tables", [("tokenizers.md", "tokenizer_speed.py", 1), ("engine.md", "step_time.py", 1),
                                                  ("engine.md", "speedrun.py", 2), ("recipes.md", "objectives.py", 2)])
def test_the_table_of_speeds_is_the_one_that_its_command_prints(page, script, tables):
    page = (ROOT / "docs" / page).read_text(encoding="utf-8")
    commands = re.findall(rf"python (benchmarks/{script} --table [\w./-]+)", page)
    assert len(commands) == tables
    for command in commands:
        table = run_command(*command.split()).stdout
        assert table.count("\n") > 2 and f"\n{table}\n" in page
        cells = {row.count("|") for row in table.splitlines()}
        assert len(cells) == 1  # a heading for each column


def test_the_index_of_the_docs_names_every_page():
    named = set(re.findall(r"\]\(([^)#]+)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= named


def test_the_tokens_of_the_example_are_true(tmp_path):
    """Any corpus with these words often enough gives whole words; what matters are the byte-level spaces and the frame."""
    tokenizer = ByteLevelBPE.train_from_iterator(["The Critique of Pure Reason."] * 5, vocab_size=400, show_progress=False)
    tokens = tokenizer.encode("The Critique of Pure Reason.").tokens
    assert tokens == ["<s>", "The", "ĠCritique", "Ġof", "ĠPure", "ĠReason", ".", "</s>"]
    assert str(tokens) in README


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_each_make_target_has_its_rules():
    """What make would do, without doing it: no rule missing, none given twice."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr

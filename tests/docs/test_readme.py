"""The README and the guide name files, flags, presets and make targets that exist."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from commands import run_command

from minibert.finetuning import command as finetune
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM
from minibert.presets import PRESETS
from minibert.training import cli as options
from tokenizer import ByteLevelBPE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_has_each_preset_with_its_size(preset):
    model, training = PRESETS[preset]
    with torch.device("meta"):
        count = (BertForPreTraining if training.examples == "pairs" else BertForMaskedLM)(model).num_parameters()
    row = next(line for line in README.splitlines() if line.startswith(f"| `{preset}` |"))
    assert f"{count:,}" in row and f"{training.batch_size:,} a step" in row


@pytest.mark.parametrize("command, parser", [
    (" train.py ", options.parser),
    ("minibert finetune ", finetune.parser),
])
def test_the_flags_of_a_command_exist(command, parser):
    known = parser().flags()
    lines = [line for line in (README + GUIDE).splitlines() if command in line]
    assert lines
    for line in lines:
        flags = re.findall(r"--[a-z-]+", re.split(r"[`#]", line.split(command, 1)[1])[0])
        assert set(flags) <= set(known), line


def test_the_make_targets_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", README + GUIDE, re.M)
    assert named and set(named) <= set(targets)


@pytest.mark.parametrize("page, script, tables", [("tokenizers.md", "tokenizer_speed.py", 1), ("engine.md", "step_time.py", 1),
                                                  ("engine.md", "speedrun.py", 2), ("recipes.md", "objectives.py", 2)])
def test_a_table_is_what_its_command_prints(page, script, tables):
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


def test_the_tokens_of_the_example(tmp_path):
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

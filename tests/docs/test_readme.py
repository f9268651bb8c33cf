"""The README and the guide name files, flags, presets and make targets that exist."""
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from commands import ROOT, run_command

from minibert.analysis import embed
from minibert.finetuning import command as finetune
from minibert.heads import BertForPreTraining
from minibert.model import BertForMaskedLM
from minibert.presets import PRESETS, QUICKSTART_RESULT
from minibert.training import cli
from tokenizer import ByteLevelBPE

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE_PAGES = {page.name: page.read_text(encoding="utf-8") for page in DOCS.glob("guide/*.md")}
GUIDE = "\n".join(GUIDE_PAGES.values())
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_has_each_preset_with_its_size(preset):
    model_config, training = PRESETS[preset]
    model_class = BertForPreTraining if training.examples == "pairs" else BertForMaskedLM
    with torch.device("meta"):
        num_parameters = model_class(model_config).num_parameters()
    page = GUIDE_PAGES["presets.md"]
    row = next(line for line in page.splitlines() if line.startswith(f"| `{preset}` |"))
    assert f"{num_parameters:,}" in row
    assert f"{training.batch_size:,} per step" in row


@pytest.mark.parametrize("command, parser", [
    (" train.py ", cli.parser),
    ("minibert finetune ", finetune.parser),
    ("minibert embed ", embed.parser),
])
def test_the_flags_of_a_command_exist(command, parser):
    known = set(parser().flags())
    text = (README + GUIDE).replace("\\\n", " ")  # a command may continue on the next line
    lines = [line for line in text.splitlines() if command in line]
    assert lines
    for line in lines:
        arguments = re.split(r"[`#]", line.split(command, 1)[1])[0]
        assert set(re.findall(r"--[a-z-]+", arguments)) <= known, line


def test_the_make_targets_exist():
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", README + GUIDE, re.M)
    assert named
    assert set(named) <= set(TARGETS)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_each_make_target_can_be_made():
    """With --dry-run: no rule is missing, none is given twice."""
    done = subprocess.run(["make", "--dry-run", *TARGETS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "warning" not in done.stderr


def test_the_result_that_train_prints_is_that_of_the_readme():
    result = QUICKSTART_RESULT
    for text in (f"loss {result['loss']:.3f} nats", f"masked accuracy {result['accuracy']:.1%}",
                 f"{result['steps']:,} steps in 4.9 minutes", result["date"],
                 result["text_fingerprint"]):
        assert text in README


@pytest.mark.parametrize("page, script, num_tables", [
    ("tokenizers.md", "tokenizer_speed.py", 1), ("engine.md", "step_time.py", 1),
    ("engine.md", "speedrun.py", 2), ("recipes.md", "objectives.py", 2)])
def test_a_table_is_what_its_command_prints(page, script, num_tables):
    text = (DOCS / page).read_text(encoding="utf-8")
    commands = re.findall(rf"python (benchmarks/{script} --table [\w./-]+)", text)
    assert len(commands) == num_tables
    for command in commands:
        table = run_command(*command.split()).stdout
        assert table.count("\n") > 2
        assert f"\n{table}\n" in text


def test_the_index_of_the_docs_names_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    pages |= {"guide/README.md", "book/README.md"}
    assert pages <= set(re.findall(r"\]\(([^)#]+)", index))


def test_the_contents_of_the_guide_name_every_page():
    pages = set(GUIDE_PAGES) - {"README.md"}
    assert pages <= set(re.findall(r"^\| \[[^]]+\]\(([^)#]+)\)", GUIDE_PAGES["README.md"], re.M))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_command_of_the_guide_makes_a_table_of_metrics(tmp_path):
    command = re.search(r"```bash\n(python -c .*?)```", GUIDE, re.S)[1]
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/metrics.jsonl").write_text(
        '{"ln_vocab": 9.0}\n{"step": 1, "loss": 8.5}\n{"step": 2, "eval_loss": 8.25}\n')
    command = command.replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    table = (tmp_path / "metrics.csv").read_text()
    assert table == "step,loss,eval_loss\n1,8.5,\n2,,8.25\n"


def test_the_tokens_of_the_example_are_right():
    sentence = "The Critique of Pure Reason."
    tokenizer = ByteLevelBPE.train_from_iterator([sentence] * 5, vocab_size=400,
                                                 show_progress=False)
    tokens = tokenizer.encode(sentence).tokens
    assert tokens == ["<s>", "The", "ĠCritique", "Ġof", "ĠPure", "ĠReason", ".", "</s>"]
    assert str(tokens) in README

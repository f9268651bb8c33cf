"""Nothing that comes from a file or the command line controls the terminal, in any command."""
import io
import json
import re

import pytest
import torch
from commands import ROOT, run_command

from minibert.config import BertConfig
from minibert.formats.huggingface import save_pretrained
from minibert.model import BertForMaskedLM
from tokenizer import WordPiece
from tokenizer.__main__ import main
from tokenizer.utils.terminal import SafeStream, safe

# Clears the screen (CSI), sets the title (OSC), overwrites the line, CSI in one byte, reversed text
EVIL = "a\x1b[2J\x1b]0;t\x07\rb\x08\x7f\x9b31m\x85\u202ec\u2066"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run whose every answer is an evil token, and evil files."""
    folder = tmp_path_factory.mktemp("evil") / EVIL
    folder.mkdir()
    tokenizer = WordPiece([*SPECIAL, EVIL, "a", "b", "\x1b", "\u202e"])
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(
        vocab_size=tokenizer.vocab_size, pad_token_id=0, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=40))
    model.head.bias.data[5] = 50
    save_pretrained(model, folder / "run" / "model")
    tokenizer.save(folder / "run" / "tokenizer")
    (folder / "labels.tsv").write_text(
        "sentence\tlabel\n" + "".join(f"a b\t{label}\n" for label in ("x\x1b[31m", "y\u202e") * 10),
        newline="")
    (folder / "text.txt").write_text("a b\n" * 50 + EVIL + "\n", newline="")
    return folder


# Each program wraps all that it prints: a few commands of each are enough. FOLDER and EVIL are
# replaced.
SUCCEED = [
    "train.py --corpus FOLDER/text.txt --out FOLDER/trained --max-steps 2 --device cpu"
    " --vocab-size 300 --hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    " --intermediate-size 16 --batch-size 2 --max-length 16",
    "tokenizer decode FOLDER/run 5 6",
    "tokenizer inspect FOLDER/run EVIL",
    "tokenizer inspect FOLDER/run EVIL --json",
    "data inspect FOLDER/text.txt",
    "data inspect FOLDER/text.txt --json",
    "minibert fill-mask FOLDER/run aEVIL[MASK]",
    "minibert fill-mask FOLDER/run a[MASK] --json",
    "minibert finetune FOLDER/run --train FOLDER/labels.tsv --epochs 1 --seeds 1 --predict"
    " FOLDER/labels.tsv --out FOLDER/tuned",
]
FAIL = [
    "train.py --corpus FOLDER/missing --out FOLDER/new",
    "train.py --EVIL",
    "tokenizer encode FOLDER EVIL",
    "tokenizer EVIL",
    "data download EVIL",
    "minibert EVIL",
    "minibert fill-mask FOLDER/run a[MASK] --targets EVIL",
    "exercises/check.py --only EVIL",
    "docs/book/run.py --only EVIL",
]


@pytest.mark.parametrize("command", SUCCEED + FAIL)
def test_a_command_prints_no_control_characters(folder, command):
    words = [word.replace("FOLDER", str(folder)).replace("EVIL", EVIL) for word in command.split()]
    if words[0].endswith(".py"):
        words[0] = ROOT / words[0]
    done = run_command(*words)
    errors = re.sub("\r(?!b)", "", done.stderr)  # without those of progress bars
    assert bool(done.returncode) == (command in FAIL) and "Traceback" not in errors
    assert not CONTROL.search(done.stdout), ascii(done.stdout)
    assert not CONTROL.search(errors), ascii(errors)
    if "--json" in words:
        json.loads(done.stdout)


def test_escaping_keeps_text_and_json_values():
    assert safe("naïve 日本\tعربي 👩‍💻 \u00a0x\n") == "naïve 日本\tعربي 👩‍💻 \u00a0x\n"
    written = json.dumps({EVIL: EVIL}, ensure_ascii=False)
    assert json.loads(safe(written)) == {EVIL: EVIL}


@pytest.mark.parametrize("text, shown", [
    ("\rhalf: 50%|\x1b[A", "\rhalf: 50%|\\u001b[A"), ("\x1b[A\x1b[A", "\x1b[A\x1b[A"),
    ("\x1b[A\x1b[2J", "\\u001b[A\\u001b[2J"), ("a\rb", "a\\u000db"),
])
def test_only_a_progress_bar_returns_to_the_start_of_its_line(text, shown):
    for has_bars in (False, True):
        stream = io.StringIO()
        SafeStream(stream, has_bars).write(text)
        assert stream.getvalue() == (shown if has_bars else safe(text))


def test_a_terminal_shows_the_colors_of_tokens_and_no_other_codes(folder, monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", SafeStream(terminal))
    for words in (["a" + EVIL], ["--word", EVIL], []):
        main(["inspect", str(folder / "run"), *words])
    colors = r"\x1b\[(0|2|30;\d+)m"
    assert re.search(colors, terminal.getvalue())
    assert not CONTROL.search(re.sub(colors, "", terminal.getvalue()))

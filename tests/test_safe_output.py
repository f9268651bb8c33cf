"""Nothing that comes from a file or the command line controls the terminal, in any command."""
import io
import json
import re

import pytest
import torch
from commands import run_command

import train
from minibert.config import BertConfig, TrainConfig
from minibert.formats.huggingface import save_pretrained
from minibert.formats.run_folder import write_config
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
    """A folder with a run whose every answer is an evil token, and evil files of all kinds."""
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
    write_config(folder / "run", EVIL, model.config, TrainConfig(corpus=EVIL, max_steps=1))
    metrics = [{"label": EVIL}, {"step": 1, "loss": 2.0, "elapsed": 1.0, EVIL: 1.0}]
    (folder / "run" / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    (folder / "labels.tsv").write_text(
        "sentence\tlabel\n" + "".join(f"a b\t{label}\n" for label in ("x\x1b[31m", "y\u202e") * 10),
        newline="")
    (folder / "columns.tsv").write_text("\x1b[31m\tlabel\na\tb\n")
    (folder / "text.txt").write_text("a b\n" * 50 + EVIL + "\n", newline="")
    (folder / "lines.jsonl").write_text(json.dumps({EVIL: "x"}) + "\n")
    for name in ("model", "train"):  # a key that no configuration has
        (folder / name).mkdir()
        config = json.loads((folder / "run" / "config.json").read_text())
        config[name][EVIL] = EVIL
        (folder / name / "config.json").write_text(json.dumps(config))
    (folder / "published").mkdir()
    (folder / "published" / "config.json").write_text(json.dumps({"model_type": EVIL}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": EVIL}}))
    return folder


COMMANDS = [  # FOLDER and EVIL are replaced
    "train.py --corpus FOLDER/missing --out FOLDER/new",
    "train.py --corpus FOLDER/lines.jsonl --out FOLDER/new",
    "train.py --corpus FOLDER/text.txt --out FOLDER/trained --max-steps 2 --device cpu --workers 1"
    " --vocab-size 300 --hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    " --intermediate-size 16 --batch-size 2 --max-length 16",
    "train.py --preset EVIL",
    "train.py --EVIL",
    "train.py --resume --out FOLDER/model",
    "train.py --resume --out FOLDER/train",
    "train.py --show --corpus EVIL",
    "train.py --init FOLDER/published --corpus FOLDER/text.txt --out FOLDER/new",
    "tokenizer train FOLDER/text.txt --out FOLDER/tok --vocab-size 300",
    "tokenizer train FOLDER/missing --out FOLDER/tok2",
    "tokenizer encode FOLDER EVIL",
    "tokenizer encode FOLDER/run EVIL --json",
    "tokenizer decode FOLDER/run 5 6",
    "tokenizer decode FOLDER/run 5 6 --json",
    "tokenizer decode FOLDER/run EVIL",
    "tokenizer inspect FOLDER/run",
    "tokenizer inspect FOLDER/run EVIL",
    "tokenizer inspect FOLDER/run EVIL --json",
    "tokenizer inspect FOLDER/run --word EVIL",
    "tokenizer EVIL",
    "data list --EVIL",
    "data download EVIL",
    "data inspect FOLDER/text.txt",
    "data inspect FOLDER/text.txt --json",
    "data inspect FOLDER/lines.jsonl",
    "data prepare FOLDER/text.txt --tokenizer FOLDER/run/tokenizer --out FOLDER/tokens",
    "data filter FOLDER/text.txt --out FOLDER/out.jsonl --filters EVIL",
    "data filter FOLDER/text.txt --out FOLDER/out.jsonl",
    "minibert EVIL",
    "minibert fill-mask FOLDER/run aEVIL[MASK]",
    "minibert fill-mask FOLDER/run a[MASK] --json",
    "minibert fill-mask FOLDER/run a[MASK] --targets EVIL",
    "minibert fill-mask FOLDER/published a[MASK]",
    "minibert compare FOLDER/run FOLDER/run aEVIL[MASK]",
    "minibert attention FOLDER/run EVIL",
    "minibert contexts FOLDER/run a aEVIL bEVIL",
    "minibert contexts FOLDER/run EVIL EVIL b",
    "minibert nearest FOLDER/run FOLDER/text.txt EVIL",
    "minibert perplexity FOLDER/run EVIL --tokens",
    "minibert plot FOLDER/run --out FOLDER/loss.png",
    "minibert plot FOLDER/missing",
    "minibert report FOLDER/run --out FOLDER/report.html",
    "minibert report FOLDER/run --json --out FOLDER/report.html",
    "minibert finetune FOLDER/run --train FOLDER/labels.tsv --epochs 1 --seeds 1 --predict"
    " FOLDER/labels.tsv --out FOLDER/tuned",
    "minibert finetune FOLDER/tuned --predict FOLDER/labels.tsv",
    "minibert finetune FOLDER/run --train FOLDER/columns.tsv",
    "minibert finetune FOLDER/run --train FOLDER/labels.tsv --task EVIL",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_no_control_characters(folder, command):
    words = [word.replace("FOLDER", str(folder)).replace("EVIL", EVIL) for word in command.split()]
    if words[0] == "train.py":
        words[0] = train.__file__
    done = run_command(*words)
    errors = re.sub("\r(?!b)", "", done.stderr)  # without those of progress bars
    assert (done.stdout + errors).strip() and "Traceback" not in errors
    assert not CONTROL.search(done.stdout), ascii(done.stdout)
    assert not CONTROL.search(errors), ascii(errors)
    if "--json" in words and not done.returncode:
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

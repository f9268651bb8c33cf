"""Nothing that comes from a file or the command line controls the terminal, in any command."""
import io
import json
import re

import pytest
import torch
from commands import ROOT, run_command

from minibert.config import BertConfig, TrainConfig
from minibert.formats import safetensors
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
    write_folders(folder, model, tokenizer)
    return folder


def write_folders(folder, model, tokenizer):
    """Write folders with a vocabulary, weights and a corpus whose names are evil."""
    for prefix, name in ((f"{EVIL}.", "wrapped"), ("", "foreign")):
        save_pretrained(model, folder / name, tokenizer)
        path = folder / name / "model.safetensors"
        tensors = safetensors.read(path) if prefix else {f"{EVIL}.weight": torch.ones(1)}
        safetensors.write({prefix + key: tensor for key, tensor in tensors.items()}, path)
    (folder / "vocab").mkdir()
    tokens = [*SPECIAL, "a", "b", "c\x1b[31m", "c\x1b[31m"]
    (folder / "vocab" / "vocab.txt").write_text("\n".join(tokens) + "\n")
    config = {"tokenizer_class": EVIL}
    (folder / "published" / "vocab.txt").touch()
    (folder / "published" / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "corpus").mkdir()
    for name in (f"{EVIL}.txt", f"x.{EVIL}", f"{EVIL}.npy"):
        (folder / "corpus" / name).write_text("a b\n" * 50)
    (folder / "tags.tsv").write_text("a\tB-X\n\x1b[31m\tO\x1b[31m\n\nb\tI-X\n\n" * 9, newline="")
    (folder / "bad.tsv").write_text((folder / "labels.tsv").read_text() + "a\t\x1b[31m\tb\n",
                                    newline="")


SUCCEED = [  # FOLDER and EVIL are replaced; some need the output of those before them
    "train.py --corpus FOLDER/text.txt --out FOLDER/trained --max-steps 2 --device cpu"
    " --vocab-size 300 --hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    " --intermediate-size 16 --batch-size 2 --max-length 16",
    "train.py --show --corpus EVIL",
    "train.py --init FOLDER/wrapped --corpus FOLDER/corpus --out FOLDER/continued --max-steps 1"
    " --device cpu --max-length 16",
    "train.py --profile --data FOLDER/trained/data --tokenizer FOLDER/trained/tokenizer --minutes 1"
    " --device cpu --hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2"
    " --intermediate-size 16 --batch-size 2 --max-length 16",
    "train.py --resume --out FOLDER/trained --max-steps 3",
    "tokenizer train FOLDER/text.txt --out FOLDER/tok3 --special-tokens EVIL",
    "tokenizer encode FOLDER/vocab EVIL",
    "tokenizer train FOLDER/text.txt --out FOLDER/tok --vocab-size 300",
    "tokenizer encode FOLDER/run EVIL --json",
    "tokenizer decode FOLDER/run 5 6",
    "tokenizer decode FOLDER/run 5 6 --json",
    "tokenizer inspect FOLDER/run",
    "tokenizer inspect FOLDER/run EVIL",
    "tokenizer inspect FOLDER/run EVIL --json",
    "tokenizer inspect FOLDER/run --word EVIL",
    "data inspect FOLDER/text.txt",
    "data inspect FOLDER/text.txt --json",
    "data prepare FOLDER/text.txt --tokenizer FOLDER/run/tokenizer --out FOLDER/tokens",
    "data filter FOLDER/text.txt --out FOLDER/out.jsonl --filters script",
    "data list",
    "data inspect FOLDER/corpus",
    "data inspect FOLDER/corpus --json",
    "data inspect FOLDER/lines.jsonl --text-field EVIL",
    "minibert fill-mask FOLDER/run aEVIL[MASK]",
    "minibert fill-mask FOLDER/run a[MASK] --json",
    "minibert fill-mask FOLDER/wrapped a[MASK]b[MASK] --all",
    "minibert compare FOLDER/run FOLDER/run aEVIL[MASK]",
    "minibert attention FOLDER/run EVIL",
    "minibert attention FOLDER/run EVIL --layer 1 --json --out FOLDER/map.svg",
    "minibert contexts FOLDER/run EVIL EVIL EVIL",
    "minibert contexts FOLDER/run b EVIL EVIL",
    "minibert nearest FOLDER/run FOLDER/text.txt EVIL",
    "minibert perplexity FOLDER/run EVIL --tokens",
    "minibert plot FOLDER/run --out FOLDER/loss.png",
    "minibert page FOLDER/run --out FOLDER/page.html",
    "minibert page FOLDER/run --json --out FOLDER/page.html --overwrite",
    "minibert finetune FOLDER/run --train FOLDER/labels.tsv --epochs 1 --seeds 1 --predict"
    " FOLDER/labels.tsv --out FOLDER/tuned",
    "minibert finetune FOLDER/tuned --predict FOLDER/labels.tsv",
    "minibert finetune FOLDER/run --train FOLDER/bad.tsv --skip-bad-rows --epochs 1 --seeds 1"
    " --tune lora --out FOLDER/lora",
    "minibert finetune FOLDER/run --adapter FOLDER/lora --predict FOLDER/labels.tsv",
    "minibert finetune FOLDER/run --task tokens --train FOLDER/tags.tsv --epochs 1 --seeds 1"
    " --out FOLDER/tags",
    "minibert finetune FOLDER/tags --predict FOLDER/tags.tsv",
    "minibert finetune FOLDER/tags --predict FOLDER/tags.tsv --out FOLDER/answers --json",
]
FAIL = [
    "train.py --corpus FOLDER/missing --out FOLDER/new",
    "train.py --corpus FOLDER/lines.jsonl --out FOLDER/new",
    "train.py --preset EVIL",
    "train.py --EVIL",
    "train.py --resume --out FOLDER/model",
    "train.py --resume --out FOLDER/train",
    "train.py --init FOLDER/published --corpus FOLDER/text.txt --out FOLDER/new",
    "train.py --init FOLDER/foreign --corpus FOLDER/text.txt --out FOLDER/new --max-steps 1",
    "train.py --corpus FOLDER/text.txt --text-suffix EVIL --out FOLDER/new",
    "train.py --data FOLDER/missing --out FOLDER/new",
    "train.py --resume --out FOLDER/trained --max-steps 3 --may-differ EVIL",
    "tokenizer encode FOLDER/published a",
    "tokenizer train FOLDER/missing --out FOLDER/tok2",
    "tokenizer encode FOLDER EVIL",
    "tokenizer decode FOLDER/run EVIL",
    "tokenizer EVIL",
    "data list --EVIL",
    "data download EVIL",
    "data inspect FOLDER/lines.jsonl",
    "data filter FOLDER/text.txt --out FOLDER/out.jsonl --filters EVIL",
    "minibert EVIL",
    "minibert fill-mask FOLDER/run a[MASK] --targets EVIL",
    "minibert fill-mask FOLDER/published a[MASK]",
    "minibert contexts FOLDER/run EVIL EVIL b",
    "minibert nearest FOLDER/run FOLDER/columns.tsv a --column EVIL",
    "minibert plot FOLDER/missing",
    "minibert finetune FOLDER/run --train FOLDER/columns.tsv",
    "minibert finetune FOLDER/run --train FOLDER/bad.tsv --columns sentence,label,EVIL",
    "minibert finetune FOLDER/run --train FOLDER/labels.tsv --task EVIL",
    "minibert finetune FOLDER/run --train FOLDER/lines.jsonl --task tokens",
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

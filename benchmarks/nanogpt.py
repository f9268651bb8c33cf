"""Train a causal model and nanoGPT's recipe, with the same size, tokens and minutes.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/nanogpt.py --nanogpt nanoGPT --corpus pydocs --runs FOLDER --out FILE
    python benchmarks/nanogpt.py --table FILE

minibert runs first: the preset quickstart with --objective causal. Then nanoGPT's train.py reads
the same token ids and trains a model with as many blocks, heads and hidden units. Its settings are
those that it publishes for a small model on a CPU: config/train_shakespeare_char.py, and the flags
of its README (no compilation, no dropout). Its schedule needs the number of steps, so a run of a
few steps first measures how many fit into the minutes.

Both are scored on all tokens of the validation text, in windows without overlap. In its first
position, minibert's model sees the start token, and nanoGPT's sees the token before the window.
"""
import importlib.util
import pickle
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from datetime import date
from math import exp
from pathlib import Path

import numpy as np
import torch
from common import add_result_flags, markdown, print_table, write_json
from shared_runs import pretrain

from data.token_file.reader import TokenFile
from minibert.examples import TokenStream
from minibert.formats.run_folder import load_run, read_metrics_lines
from minibert.generation.command import continue_texts
from tokenizer.utils.cli import Parser, run

BATCH, WINDOW = 16, 126  # of the preset quickstart: 128 tokens, two of them special
TIMED_STEPS, WARM_UP_STEPS = 60, 10
DATASET = "minibert_tokens"  # a folder in nanoGPT's data/


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    flags = ("--objective causal --eval-every 0 --save-every 0 "
             f"--minutes {args.minutes} {args.extra}")
    folder = pretrain(args.runs / "minibert", args.runs / "minibert", flags.split(),
                      ["--corpus", args.corpus, "--vocab-size", str(args.vocab_size)])
    model, tokenizer = load_run(folder)
    streams = {split: TokenStream(TokenFile(folder / "data" / split), tokenizer)
               for split in ("train", "eval")}
    stream = streams["eval"]
    validation = stream.read(0, len(stream))  # (T,)
    steps = read_metrics_lines(folder / "metrics.jsonl")[-1]["step"]
    start = torch.full((len(windows(validation)), 1), tokenizer.cls_token_id)
    loss = mean_loss(lambda ids: model(ids).logits, validation, start)
    rows = {"minibert": {"parameters": model.num_parameters(), "steps": steps, "loss": loss}}
    rows["nanoGPT"] = measure_nanogpt(model.config, streams, validation, args)
    for row in rows.values():
        row["bits_per_byte"] = bits_per_byte(row["loss"], folder, len(validation))
    sample, = continue_texts(model, tokenizer, [args.prompt], max_new_tokens=40, seed=1)
    result = {"date": str(date.today()), "corpus": Path(args.corpus).name, "minutes": args.minutes,
              "vocab_size": model.config.vocab_size, "threads": torch.get_num_threads(),
              "extra": args.extra, "python": platform.python_version(), "torch": torch.__version__,
              "rows": rows, "sample": args.prompt + sample}
    write_json(args.out, result)
    print(table(result), end="")


def parse(args):
    parser = Parser(description="Compare a causal model with nanoGPT's recipe.")
    parser.add_argument("--nanogpt", type=Path, default=Path("nanoGPT"),
                        help="a checkout of nanoGPT; its data/ and out/ get a folder each")
    parser.add_argument("--corpus", default="pydocs", help="a corpus that train.py accepts")
    parser.add_argument("--runs", type=Path, default=Path("runs/nanogpt"),
                        help="folder for the runs")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--prompt", default="Return a new", help="for the sample")
    parser.add_argument("--extra", default="", help="more flags for train.py")
    add_result_flags(parser, out=Path("benchmarks/results/nanogpt.json"))
    return parser.parse_args(args)


# ------------------------------------------------------------------------------------- nanoGPT


def measure_nanogpt(config, streams, validation, args):
    """Train nanoGPT for the same minutes. Return its row."""
    dataset = args.nanogpt / "data" / DATASET
    dataset.mkdir(parents=True, exist_ok=True)
    for name, stream in zip(("train", "val"), streams.values()):
        stream.read(0, len(stream)).astype(np.uint16).tofile(dataset / f"{name}.bin")
    (dataset / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": config.vocab_size}))
    milliseconds = train_nanogpt(config, TIMED_STEPS, args)
    step_seconds = statistics.median(milliseconds[WARM_UP_STEPS:]) / 1000
    steps = round(args.minutes * 60 / step_seconds)
    started = time.monotonic()
    train_nanogpt(config, steps, args)
    minutes = (time.monotonic() - started) / 60
    model = load_nanogpt(args.nanogpt)
    before = torch.zeros((len(windows(validation)), 1), dtype=torch.long)
    before[1:, 0] = windows(validation)[:-1, -1]  # the first window has no token before it
    # With targets, nanoGPT returns the logits of all positions.
    loss = mean_loss(lambda ids: model(ids, ids)[0], validation, before)
    return {"parameters": sum(p.numel() for p in model.parameters()), "steps": steps,
            "minutes": round(minutes, 2), "loss": loss}


def train_nanogpt(config, steps, args):
    """Run nanoGPT's train.py. Return the milliseconds of each step."""
    shutil.rmtree(args.nanogpt / "out" / DATASET, ignore_errors=True)
    (args.nanogpt / "out").mkdir(exist_ok=True)
    flags = {
        "dataset": DATASET, "out_dir": f"out/{DATASET}", "device": "cpu", "compile": False,
        "n_layer": config.num_hidden_layers, "n_head": config.num_attention_heads,
        "n_embd": config.hidden_size, "block_size": WINDOW, "batch_size": BATCH, "dropout": 0.0,
        "max_iters": steps, "lr_decay_iters": steps, "eval_interval": steps, "eval_iters": 1,
        "log_interval": 1, "always_save_checkpoint": True}
    command = [sys.executable, "train.py", "config/train_shakespeare_char.py",
               *(f"--{name}={value}" for name, value in flags.items())]
    output = subprocess.run(command, cwd=args.nanogpt, text=True, capture_output=True)
    if output.returncode:
        raise ValueError(f"nanoGPT's train.py failed: {output.stderr[-500:]}")
    return [float(value) for value in re.findall(r"time ([\d.]+)ms", output.stdout)]


def load_nanogpt(folder):
    """Return nanoGPT's trained model."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    stored = torch.load(folder / "out" / DATASET / "ckpt.pt", weights_only=True)
    model = module.GPT(module.GPTConfig(**stored["model_args"]))
    model.load_state_dict(stored["model"])
    return model.eval()


# ------------------------------------------------------------------------------------- scoring


def windows(ids):
    """Return a text as windows (n, 126). A shorter rest is dropped."""
    return torch.from_numpy(ids[: len(ids) // WINDOW * WINDOW]).view(-1, WINDOW)


@torch.no_grad()
def mean_loss(logits_of, ids, before):
    """Return the mean nats of all tokens of the windows.

    logits_of   a function from ids (B, 126) to logits (B, 126, V)
    before      (n, 1): the id before each window
    """
    total, targets = 0.0, windows(ids)
    inputs = torch.cat([before, targets[:, :-1]], dim=1)
    for asked, answers in zip(inputs.split(BATCH), targets.split(BATCH)):
        logits = logits_of(asked).float()
        total += torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), answers.flatten(), reduction="sum").item()
    return total / targets.numel()


def bits_per_byte(loss, folder, num_tokens):
    """Return bits per byte of the validation text. loss: nats per token."""
    return loss * num_tokens / np.log(2) / TokenFile(folder / "data" / "eval").num_bytes


def table(result):
    """Return the rows as Markdown, and the sample below."""
    rows = [[name, f"{row['parameters']:,}", f"{row['steps']:,}", f"{row['loss']:.3f}",
             f"{exp(row['loss']):.1f}", f"{row['bits_per_byte']:.3f}"]
            for name, row in result["rows"].items()]
    heading = ["recipe", "parameters", "steps", "validation loss (nats)", "perplexity",
               "bits per byte"]
    return markdown(heading, rows) + f"\n{' '.join(result['sample'].split())}\n"


if __name__ == "__main__":
    run(main)

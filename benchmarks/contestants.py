"""The contestants of contest.py: train.py and transformers' Trainer in several precisions.

    minibert                 train.py's defaults: bf16 if the hardware has it, AdamW, no dropout
    minibert, muon           the same with Muon, as in the presets
    minibert, compiled; minibert, fp16; minibert, fp16, compiled
    transformers             the Trainer's defaults: fp32, AdamW, dropout 0.1, shuffled lines
    transformers, bf16       the defaults in bf16
    transformers, tuned      bf16, fused AdamW, no dropout; on a GPU, batches from worker processes
    transformers, fp16; transformers, tuned, fp16     for GPUs without bf16

Run as a script, this file is the process of one contestant.
"""
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from trainers import run_minibert, run_transformers

from data import TokenFile, prepare
from minibert.config import BertConfig
from minibert.device import choose_device, peak_memory
from minibert.examples import make_examples
from minibert.presets import PRESETS
from tokenizer import ByteLevelBPE, load_tokenizer

STEPS = 12  # of a round
# train.py's own defaults, instead of the choices of the preset kant.
DEFAULTS = {"mlm_probability": 0.15, "optimizer": "adamw", "learning_rate": 1e-4,
            "adam_beta2": 0.98, "schedule": "linear"}


@dataclass(frozen=True)
class Shape:
    title: str
    model: BertConfig
    examples: str  # "lines" or "blocks"
    max_length: int
    batch_size: int


def roberta(**sizes):
    return BertConfig(family="roberta", type_vocab_size=1, pad_token_id=1,
                      hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)


KANTAIBERT = roberta(vocab_size=52_000, num_hidden_layers=6, max_position_embeddings=514)
SMALL = roberta(vocab_size=8192, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                intermediate_size=1024, max_position_embeddings=130)
BASE = roberta(vocab_size=30_522, max_position_embeddings=514)
# Rotary positions and a window: only for losses, not compared with transformers.
QUICKSTART = replace(PRESETS["quickstart"][0], pad_token_id=1)
TINY = roberta(vocab_size=600, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
               intermediate_size=32, max_position_embeddings=130)  # for the tests
SHAPES = {
    "kantaibert": Shape("KantaiBERT, 64 lines", KANTAIBERT, "lines", 128, 64),
    "small": Shape("4 x 256, 32 blocks of 128", SMALL, "blocks", 128, 32),
    "bert-base": Shape("BERT-base, 256 blocks of 128", BASE, "blocks", 128, 256),
    "bert-base at 512": Shape("BERT-base, 64 blocks of 512", BASE, "blocks", 512, 64),
    "bert-base, small card": Shape("BERT-base, 64 blocks of 128", BASE, "blocks", 128, 64),
    "bert-base at 512, small card": Shape("BERT-base, 16 blocks of 512", BASE, "blocks", 512, 16),
    "quickstart": Shape("quickstart, 16 blocks of 128", QUICKSTART, "blocks", 128, 16),
    "tiny": Shape("1 x 16, 4 lines", TINY, "lines", 32, 4),
}


def make_data(shape, documents, folder, tokenizer=None):
    """Write tokenizer/ and data/ of documents (list of str) to a folder.

    If the examples are lines, only those of one round are kept, so that all contestants train on
    the same ones.
    """
    shape = SHAPES[shape]
    if tokenizer is None:
        tokenizer = ByteLevelBPE.train_from_iterator(documents, vocab_size=shape.model.vocab_size)
    tokenizer.save(folder / "tokenizer")
    if shape.examples == "lines":
        lines = [line for document in documents for line in document.split("\n") if line.strip()]
        start = len(lines) // 3
        documents = list(islice(lines, start, start + STEPS * shape.batch_size))
    prepare(documents, tokenizer, folder / "data")


def make_shape_examples(shape, folder):
    """Return the examples of the first epoch, as a list of arrays of ids."""
    shape = SHAPES[shape]
    tokenizer = load_tokenizer(folder / "tokenizer")
    tokens = TokenFile(folder / "data")
    return list(make_examples(shape.examples, tokens, tokenizer, shape.max_length).at(0, 0))


class Turns:
    """The turns of this process. The parent starts one with "go"; the answer is its seconds.

    On CUDA, a waiting contestant frees its cached memory, so that the others have room; weights
    and optimizer state stay. Each turn therefore begins with untimed steps, which allocate again:
    one step of blocks, which all have one size, or a complete pass over lines, whose batches
    differ in length (then the timed steps are also exactly one pass).
    """

    def __init__(self, device, examples):
        self.device = device
        self.num_untimed = 0
        if device.type == "cuda":
            self.num_untimed = STEPS if examples == "lines" else 1
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # everything else that this process prints goes to stderr

    def wait(self):
        """Wait for the next turn; end the process if there is none."""
        if sys.stdin.readline() != "go\n":
            self.answer({"megabytes": peak_memory(self.device) / 1e6, "torch": torch.__version__,
                         "threads": torch.get_num_threads()})
            os._exit(0)
        self.steps = -self.num_untimed
        self.start = time.perf_counter()

    def step_done(self, *_):
        self.steps += 1
        if self.steps == 0:
            self.start = self.now()
        elif self.steps == STEPS:
            seconds = self.now() - self.start
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.answer({"seconds": seconds})
            self.wait()

    def now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()  # work is queued: wait until it is done
        return time.perf_counter()

    def answer(self, message):
        print(json.dumps(message), file=self.answers, flush=True)


def ours(shape, folder, turns, device, **recipe):
    """Run train.py on the prepared files. Return its run folder."""
    shape = SHAPES[shape]
    run = Path(tempfile.mkdtemp(dir=folder))
    (run / "splits").mkdir()
    for split in ("train", "eval"):
        (run / "splits" / split).symlink_to((folder / "data").resolve())
    flags = {"preset": "kant", "data": run / "splits", "tokenizer": folder / "tokenizer",
             "out": run / "run", **DEFAULTS, "max_steps": 10**9, "eval_every": 0, "save_every": 0,
             "examples": shape.examples, "max_length": shape.max_length,
             "batch_size": shape.batch_size, "device": device.type}
    # Only the fields that differ: train.py refuses flags without effect.
    preset = asdict(PRESETS["kant"][0])
    model = {name: value for name, value in asdict(shape.model).items()
             if value != preset[name] and name != "vocab_size"}  # it comes with the tokenizer
    run_minibert(flags | model | recipe, turns.wait, turns.step_done)
    return run / "run"


def theirs(shape, folder, turns, device, num_workers=0, **settings):
    """Run transformers' Trainer on the same examples. num_workers: on a GPU, for its batches."""
    if num_workers and device.type != "cpu":
        settings |= {"dataloader_num_workers": num_workers, "dataloader_persistent_workers": True}
    examples = [ids.tolist() for ids in make_shape_examples(shape, folder)]
    run_transformers(
        SHAPES[shape].model, folder / "tokenizer", examples, turns.wait, turns.step_done,
        output_dir=str(folder / "theirs"), max_steps=10**9, disable_tqdm=True,
        per_device_train_batch_size=SHAPES[shape].batch_size, use_cpu=device.type == "cpu",
        **settings)


def product(shape, folder, turns, device, dtype=torch.bfloat16):
    """Multiply large matrices, STEPS times a round: the rate that the machine can reach."""
    n = product_size(device)
    # Random numbers: a GPU is faster on zeros.
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    turns.wait()
    while True:
        a @ b
        turns.step_done()


def product_size(device):
    """Return the number of rows and columns of the matrices of ``product``."""
    return 8192 if device.type == "cuda" else 2048


TUNED = {"dropout": 0.0, "optim": "adamw_torch_fused", "num_workers": 4}
PRODUCTS = {"product": product, "product, fp16": partial(product, dtype=torch.float16)}
CONTESTANTS = {
    "minibert": ours,
    "minibert, compiled": partial(ours, compile=True),
    "minibert, fp16": partial(ours, precision="fp16"),
    "minibert, fp16, compiled": partial(ours, precision="fp16", compile=True),
    "minibert, muon": partial(ours, optimizer="muon"),
    "transformers": theirs,
    "transformers, bf16": partial(theirs, bf16=True),
    "transformers, tuned": partial(theirs, bf16=True, **TUNED),
    "transformers, fp16": partial(theirs, fp16=True),
    "transformers, tuned, fp16": partial(theirs, fp16=True, **TUNED),
}


def uses_fp16(name, auto_precision):
    """Return whether a contestant trains in fp16. auto_precision: train.py's own choice here."""
    return "fp16" in name or (auto_precision == "fp16" and name.startswith("minibert"))


if __name__ == "__main__":
    name, shape, folder, device_name = sys.argv[1:]
    device = choose_device(device_name)
    turns = Turns(device, SHAPES[shape].examples)
    (CONTESTANTS | PRODUCTS)[name](shape, Path(folder), turns, device)

"""How long a training step takes, how much memory, how near to the machine's rate: train.py against transformers' Trainer on the same tokens.

    python benchmarks/step_time.py CORPORA --out benchmarks/results/step-time.json [--shapes kantaibert small] [--rounds 5]
    python benchmarks/step_time.py --table benchmarks/results/step-time.json

CORPORA is a folder with kant/. Every contestant is a process of its own that stands still until it is its turn, so each has its own peak of
memory, none has the caches of another, and a slow spell of the machine meets all: a round is a few steps of each, one after another, and a ratio
is the median over the rounds. All run whole loops, batches and logging included: ours is train.py's, theirs is the Trainer's. Rates are tokens
a second, padding not counted. Utilisation: the operations that the step needs (``minibert/operations.py``), a second, over the rate of a large
matrix product in bf16 that takes its turn in each round.

    minibert             train.py as it comes: bf16 where the hardware has it, AdamW, no dropout
    minibert, muon       the same with Muon, as the presets have it
    transformers         its defaults: float32, AdamW, dropout 0.1, lines in random order
    transformers, tuned  bf16, fused AdamW, no dropout
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the product of this checkout, installed or not
import train  # noqa: E402
from data import TokenFile, open_corpus, prepare  # noqa: E402
from minibert.config import BertConfig, TrainConfig  # noqa: E402
from minibert.device import choose_device, choose_precision, peak_memory  # noqa: E402
from minibert.examples import make_examples  # noqa: E402
from minibert.operations import training_operations  # noqa: E402
from minibert.running import StopRequest  # noqa: E402
from tokenizer import ByteLevelBPE, load_tokenizer  # noqa: E402
from tokenizer.files import atomic_write  # noqa: E402

STEPS = 12  # of a round
ROBERTA = {"family": "roberta", "type_vocab_size": 1, "pad_token_id": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SHAPES = {  # name -> (model, examples, tokens of an example, examples of a step)
    "kantaibert": (BertConfig(**ROBERTA, vocab_size=52_000, num_hidden_layers=6, max_position_embeddings=514), "lines", 128, 64),
    "small": (BertConfig(**ROBERTA, vocab_size=8192, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
                         max_position_embeddings=130), "blocks", 128, 32),
    "bert-base": (BertConfig(**ROBERTA, vocab_size=30_522, max_position_embeddings=514), "blocks", 128, 64),
    "bert-base at 512": (BertConfig(**ROBERTA, vocab_size=30_522, max_position_embeddings=514), "blocks", 512, 32),
    "tiny": (BertConfig(**ROBERTA, vocab_size=600, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                        max_position_embeddings=130), "lines", 32, 4),  # for the test
}
TOLD = {"kantaibert": "KantaiBERT, 64 lines", "small": "4 x 256, 32 blocks of 128", "bert-base": "BERT-base, 64 blocks of 128",
        "bert-base at 512": "BERT-base, 32 blocks of 512", "tiny": "1 x 16, 4 lines"}


# In the process of a contestant

class Turns:
    """The steps of a contestant, in rounds: each begins when the parent says so, and its seconds are told when it ends."""

    def __init__(self, device):
        self.device, self.steps, self.answers = device, 0, os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever else is printed is no answer
        self.wait()

    def wait(self):
        if sys.stdin.readline() != "go\n":
            self.tell({"megabytes": peak_memory(self.device) / 1e6, "torch": torch.__version__, "threads": torch.get_num_threads()})
            os._exit(0)
        self.start = time.perf_counter()

    def step_done(self):
        self.steps += 1
        if self.steps % STEPS == 0:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            self.tell({"seconds": time.perf_counter() - self.start})
            self.wait()

    def tell(self, answer):
        print(json.dumps(answer), file=self.answers, flush=True)


def ours(shape, folder, turns, device, **recipe):
    """train.py's own loop on the prepared files."""
    model, examples, max_length, batch_size = SHAPES[shape]
    config = TrainConfig(examples=examples, max_length=max_length, batch_size=batch_size, max_steps=10 ** 9, eval_every=0, save_every=0, **recipe)
    config = replace(config, precision=choose_precision(config.precision, device))
    file, tokenizer = TokenFile(folder / "data"), load_tokenizer(folder / "tokenizer")

    class Measured(train.Trainer):
        def log(self, *arguments):
            super().log(*arguments)
            turns.step_done()

    trainer = Measured(folder / "run", "kant", model, config, tokenizer, file, file, device)
    trainer.load()
    trainer.metrics = SimpleNamespace(write=lambda values: None)
    with StopRequest() as stop:
        trainer.loop(stop)


def theirs(shape, folder, turns, device, dropout=0.1, **settings):
    """The Trainer on the same examples."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoTokenizer, DataCollatorForLanguageModeling, RobertaConfig, RobertaForMaskedLM, TrainerCallback, TrainingArguments
    from transformers import Trainer as TheirTrainer

    model, _, _, batch_size = SHAPES[shape]
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
             "type_vocab_size", "pad_token_id")
    config = RobertaConfig(**{name: getattr(model, name) for name in names}, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)

    class Measured(TrainerCallback):
        def on_step_end(self, *arguments, **named):
            turns.step_done()

    arguments = TrainingArguments(output_dir=str(folder / "theirs"), per_device_train_batch_size=batch_size, max_steps=10 ** 9,
                                  save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=device.type == "cpu", **settings)
    TheirTrainer(model=RobertaForMaskedLM(config), args=arguments, train_dataset=[{"input_ids": ids.tolist()} for ids in examples_of(shape, folder)],
                 data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15), callbacks=[Measured()]).train()


def product(shape, folder, turns, device):
    """A large matrix product in bf16, twelve times a round: what the machine can do."""
    size = product_size(shape)
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    while True:
        a @ b
        turns.step_done()


def product_size(shape):
    return 256 if shape == "tiny" else 2048


CONTESTANTS = {
    "minibert": ours,
    "minibert, muon": partial(ours, optimizer="muon"),
    "transformers": theirs,
    "transformers, tuned": partial(theirs, dropout=0.0, bf16=True, optim="adamw_torch_fused"),
    "product": product,
}


# The data, and the rounds

def make_data(shape, corpus, folder):
    """Tokenizer and token file: of lines exactly those of a round, so that all train on the same; of blocks more than enough."""
    model, examples, max_length, batch_size = SHAPES[shape]
    documents = list(open_corpus(corpus).documents("all"))
    tokenizer = ByteLevelBPE.train_from_iterator(documents, vocab_size=model.vocab_size)
    tokenizer.save(folder / "tokenizer")
    if examples == "lines":
        lines = [line for document in documents for line in document.split("\n") if line.strip()]
        documents = list(islice(lines, len(lines) // 3, len(lines) // 3 + STEPS * batch_size))
    prepare(documents, tokenizer, folder / "data")


def examples_of(shape, folder):
    """The examples of the first epoch: arrays of ids."""
    _, examples, max_length, _ = SHAPES[shape]
    tokenizer = load_tokenizer(folder / "tokenizer")
    return list(make_examples(examples, TokenFile(folder / "data"), tokenizer, max_length).at(0, 0))


def measure(shape, folder, who, rounds):
    """Rounds of all contestants, the first not counted -> a row of the results."""
    model, examples, _, batch_size = SHAPES[shape]
    lengths = [len(ids) for ids in examples_of(shape, folder)][: STEPS * batch_size]
    if len(lengths) < STEPS * batch_size:
        raise SystemExit(f"{shape}: the corpus has {len(lengths)} examples, a round needs {STEPS * batch_size}")
    operations = training_operations(model, lengths, masked=round(0.15 * (sum(lengths) - 2 * len(lengths))))
    processes = {name: subprocess.Popen([sys.executable, __file__, "--worker", name, shape, str(folder)], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE) for name in (*who, "product")}
    seconds = {name: [] for name in processes}
    for _ in range(1 + rounds):
        for name, process in processes.items():
            seconds[name].append(ask(name, process, "go")["seconds"])
    last = {name: ask(name, process, "end") for name, process in processes.items()}
    seconds = {name: values[1:] for name, values in seconds.items()}
    rate = STEPS * 2 * product_size(shape) ** 3 / statistics.median(seconds.pop("product"))
    return {"shape": shape, "tokens": sum(lengths), "operations": operations, "product_rate": rate, "torch": last["product"]["torch"],
            "threads": last["product"]["threads"], "seconds": seconds, "megabytes": {name: last[name]["megabytes"] for name in seconds}}


def ask(name, process, word):
    """Say a word to a contestant -> its answer."""
    try:
        process.stdin.write(word + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    except (OSError, ValueError):
        raise SystemExit(f"{name} failed (above)") from None  # the others end when nobody speaks to them any more


def table(results):
    """The rows as Markdown: each contestant beside minibert."""
    lines = ["| | seconds a step | tokens a second | minibert is | utilisation | peak memory |", "|---" * 6 + "|"]
    for row in results["rows"]:
        own = row["seconds"]["minibert"]
        lines.append(f"| **{TOLD[row['shape']]}** | | | | of {row['product_rate'] / 1e9:,.0f} GFLOP/s | |")
        for name, seconds in row["seconds"].items():
            middle = statistics.median(seconds)
            ratios = [b / a for a, b in zip(own, seconds)]
            times = "" if name == "minibert" else f"**{statistics.median(ratios):.2f} x** as fast ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| {name} | {middle / STEPS:.3f} | {row['tokens'] / middle:,.0f} | {times} | "
                         f"{row['operations'] / middle / row['product_rate']:.0%} | {row['megabytes'][name]:,.0f} MB |")
    return "\n".join(lines) + "\n"


def main(args=None):
    args = parse(args)
    if args.worker:
        name, shape, folder = args.worker
        device = choose_device("auto")
        return CONTESTANTS[name](shape, Path(folder), Turns(device), device)
    if args.table:
        return print(table(json.loads(args.table.read_text(encoding="utf-8"))), end="")
    results = {"date": time.strftime("%Y-%m-%d"), "command": "python benchmarks/step_time.py CORPORA " + " ".join(sys.argv[2:]), "rows": []}
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            make_data(shape, args.corpora / "kant", Path(folder))
            results["rows"].append(measure(shape, Path(folder), args.contestants, args.rounds))
        print(table({"rows": results["rows"][-1:]}), flush=True)
        if args.out:
            atomic_write(args.out, json.dumps(results, indent=1) + "\n")


def parse(args):
    names = [name for name in CONTESTANTS if name != "product"]
    parser = argparse.ArgumentParser(description="Seconds of a training step, by train.py and by transformers' Trainer.")
    parser.add_argument("corpora", nargs="?", type=Path, help="folder with kant/")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["kantaibert", "small"], metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--contestants", nargs="+", choices=names, default=names, metavar="WHO", help="; ".join(names))
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS} steps each (default 5), beside one to warm up")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of a results file, and measure nothing")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(args)
    if not (args.worker or args.table or args.corpora):
        parser.error("name the folder that holds kant/")
    return args


if __name__ == "__main__":
    main()

"""Contestants that train in turns on the same tokens: what step_time.py and gpu_suite.py share.

Every contestant is a process of its own that stands still until it is its turn, so each has its own peak of memory, none has the caches of
another, and a slow spell of the machine meets all: a round is a few steps of each, one after another, and a ratio is the median over the
rounds. All run whole loops, batches and logging included: ours is train.py's, theirs is the Trainer's. Rates are tokens a second, padding not
counted. Utilisation: the operations that the step needs (``minibert/training/flops.py``), a second, over the rate of a large matrix product of the
same type that takes its turn in each round.

    minibert             train.py as it comes: bf16 where the hardware has it, AdamW, no dropout
    minibert, muon       the same with Muon, as the presets have it
    minibert, compiled; minibert, fp16
    transformers         its defaults: float32, AdamW, dropout 0.1, lines in random order
    transformers, bf16   its defaults, in bf16
    transformers, tuned  bf16, fused AdamW, no dropout; on a GPU batches made by other processes
    transformers, fp16; transformers, tuned, fp16     for cards without bf16, on which minibert comes in fp16, too
"""
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from unittest import mock

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # the product of this checkout, installed or not
import train  # noqa: E402
from data import TokenFile, prepare  # noqa: E402
from minibert.config import BertConfig  # noqa: E402
from minibert.device import choose_device, choose_precision, peak_memory  # noqa: E402
from minibert.examples import make_examples  # noqa: E402
from minibert.presets import PRESETS
from minibert.training.flops import training_flops  # noqa: E402
from tokenizer import ByteLevelBPE, load_tokenizer  # noqa: E402

STEPS = 12  # of a round
ROBERTA = {"family": "roberta", "type_vocab_size": 1, "pad_token_id": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BASE = BertConfig(**ROBERTA, vocab_size=30_522, max_position_embeddings=514)
SHAPES = {  # name -> (model, examples, tokens of an example, examples of a step)
    "kantaibert": (BertConfig(**ROBERTA, vocab_size=52_000, num_hidden_layers=6, max_position_embeddings=514), "lines", 128, 64),
    "small": (BertConfig(**ROBERTA, vocab_size=8192, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024,
                         max_position_embeddings=130), "blocks", 128, 32),
    "bert-base": (BASE, "blocks", 128, 256),
    "bert-base at 512": (BASE, "blocks", 512, 64),
    "bert-base, small card": (BASE, "blocks", 128, 64),
    "bert-base at 512, small card": (BASE, "blocks", 512, 16),
    "quickstart": (replace(PRESETS["quickstart"][0], pad_token_id=1), "blocks", 128, 16),  # rotary, a window: for losses, not for the clock
    "tiny": (BertConfig(**ROBERTA, vocab_size=600, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                        max_position_embeddings=130), "lines", 32, 4),  # for the tests
}
TOLD = {"kantaibert": "KantaiBERT, 64 lines", "small": "4 x 256, 32 blocks of 128", "bert-base": "BERT-base, 256 blocks of 128",
        "bert-base at 512": "BERT-base, 64 blocks of 512", "bert-base, small card": "BERT-base, 64 blocks of 128",
        "bert-base at 512, small card": "BERT-base, 16 blocks of 512", "quickstart": "quickstart, 16 blocks of 128", "tiny": "1 x 16, 4 lines"}
TOO_LONG = "it took too long"


# In the process of a contestant

class Turns:
    """The turns of a contestant: each begins when the parent says so, and the seconds of its STEPS steps are told when it ends.

    On CUDA a contestant that stands still gives back the memory that it has only at hand, so that the others find room: weights and moments
    stay. A turn begins with steps that are not timed there, since memory is asked for anew: one of blocks, which are all alike; of lines,
    whose batches differ in length, a whole pass, so that the timed steps are exactly a pass, too.
    """

    def __init__(self, device, examples):
        self.device, self.answers = device, os.fdopen(os.dup(1), "w")
        self.untimed = 0 if device.type != "cuda" else STEPS if examples == "lines" else 1
        os.dup2(2, 1)  # whatever else is printed is no answer

    def wait(self):
        """Until it is its turn. A contestant calls this once it is built; later ``step_done`` does."""
        if sys.stdin.readline() != "go\n":
            self.tell({"megabytes": peak_memory(self.device) / 1e6, "torch": torch.__version__, "threads": torch.get_num_threads()})
            os._exit(0)
        self.steps, self.start = -self.untimed, time.perf_counter()

    def step_done(self):
        self.steps += 1
        if self.steps == 0:
            self.start = self.now()
        elif self.steps == STEPS:
            seconds = self.now() - self.start
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.tell({"seconds": seconds})
            self.wait()

    def now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()  # a GPU is given its work ahead: its clock is read when that is done
        return time.perf_counter()

    def tell(self, answer):
        print(json.dumps(answer), file=self.answers, flush=True)


def ours(shape, folder, turns, device, **recipe):
    """Run train.py on the prepared files. Return its run folder."""
    model, examples, max_length, batch_size = SHAPES[shape]
    config = {"max_steps": 10**9, "eval_every": 0, "save_every": 0, "examples": examples,
              "max_length": max_length, "batch_size": batch_size, "device": device.type} | recipe

    class Measured(train.Trainer):
        def fit(self):
            turns.wait()
            return super().fit()

        def uncount_skipped_steps(self):  # called once at the end of each step
            found = super().uncount_skipped_steps()
            turns.step_done()
            return found

    run = Path(tempfile.mkdtemp(dir=folder))
    for split in ("train", "eval"):
        (run / "splits").mkdir(exist_ok=True)
        (run / "splits" / split).symlink_to((folder / "data").resolve())
    flags = ["--preset", "kant", "--data", run / "splits", "--tokenizer", folder / "tokenizer",
             "--out", run / "run"]
    for name, value in (asdict(model) | config).items():
        flags += ["--" + name.replace("_", "-"), value]
    with mock.patch.object(train, "Trainer", Measured):
        train.main([str(flag) for flag in flags])
    return run / "run"


def theirs(shape, folder, turns, device, dropout=0.1, workers=0, **settings):
    """The Trainer on the same examples. workers: processes that make its batches, where there is a GPU."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import (
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        RobertaConfig,
        RobertaForMaskedLM,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as TheirTrainer

    model, _, _, batch_size = SHAPES[shape]
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
             "type_vocab_size", "pad_token_id")
    config = RobertaConfig(**{name: getattr(model, name) for name in names}, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)

    class Measured(TrainerCallback):
        def on_train_begin(self, *arguments, **named):
            turns.wait()

        def on_step_end(self, *arguments, **named):
            turns.step_done()

    cpu = device.type == "cpu"
    if workers and not cpu:
        settings |= {"dataloader_num_workers": workers, "dataloader_persistent_workers": True}
    arguments = TrainingArguments(output_dir=str(folder / "theirs"), per_device_train_batch_size=batch_size, max_steps=10 ** 9,
                                  save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=cpu, **settings)
    TheirTrainer(model=RobertaForMaskedLM(config), args=arguments, train_dataset=[{"input_ids": ids.tolist()} for ids in examples_of(shape, folder)],
                 data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15), callbacks=[Measured()]).train()


def product(shape, folder, turns, device, dtype=torch.bfloat16):
    """A large matrix product, STEPS times a round: what the machine can do. On random numbers: on zeros a GPU is faster."""
    n = product_size(device)
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    turns.wait()
    while True:
        a @ b
        turns.step_done()


def product_size(device):
    """Rows and columns of its matrices."""
    return 8192 if device.type == "cuda" else 2048


TUNED = {"dropout": 0.0, "optim": "adamw_torch_fused", "workers": 4}
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


def in_fp16(name, auto):
    """Whether a contestant trains in fp16. auto: what the precision "auto" is on the machine, with which minibert comes."""
    return "fp16" in name or (auto == "fp16" and name.startswith("minibert"))


# The data, and the rounds

def make_data(shape, documents, folder, tokenizer=None):
    """Tokenizer and token file of documents (list of str): of lines exactly those of a round, so that all train on the same; of blocks all."""
    model, examples, max_length, batch_size = SHAPES[shape]
    tokenizer = tokenizer or ByteLevelBPE.train_from_iterator(documents, vocab_size=model.vocab_size)
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


class Contestant:
    """A contestant's process, seen from outside. What goes wrong with it is a ContestantFailed; the others are not concerned.

    It sees one card alone, the first of those that are visible here: transformers' Trainer would take n times the batch on n cards.
    """

    def __init__(self, name, shape, folder, device):
        card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        self.process = subprocess.Popen([sys.executable, __file__, name, shape, str(folder), device], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=os.environ | {"CUDA_VISIBLE_DEVICES": card})

    def say(self, word):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: the answer will not come

    def answer(self, deadline):
        """What it answers, a dict, until ``time.monotonic()`` is ``deadline``; ContestantFailed where it does not."""
        if not select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self.end()
            raise ContestantFailed(TOO_LONG)
        try:
            return json.loads(self.process.stdout.readline())
        except ValueError:
            self.end()
            raise ContestantFailed("it ended (what it said stands above)") from None

    def ask(self, word, deadline):
        self.say(word)
        return self.answer(deadline)

    def end(self):
        """Ends it, and does not read on: the processes that make its batches end some seconds later, and have the pipe open until then."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class ContestantFailed(Exception):
    """Why a contestant is left out."""


def measure(shape, folder, who, rounds, device="auto", limit=86_400.0):
    """Rounds of all contestants, the first not counted -> a row of the results.

    who: names of CONTESTANTS; device: auto, cpu or cuda; limit: seconds for all of it. Who fails, or is not ready after seven tenths of the
    time, is left out, and "failed" says why; where the time does not suffice for another round, those so far count.
    """
    model, examples, _, batch_size = SHAPES[shape]
    lengths = [len(ids) for ids in examples_of(shape, folder)][: STEPS * batch_size]
    if len(lengths) < STEPS * batch_size:
        raise ValueError(f"{shape}: the corpus has {len(lengths)} examples, a round needs {STEPS * batch_size}")
    start, kind = time.monotonic(), choose_device(device)
    auto = choose_precision("auto", kind)
    products = [name for name in PRODUCTS if any(in_fp16(other, auto) == ("fp16" in name) for other in who)]
    there = {name: Contestant(name, shape, folder, device) for name in (*products, *who)}
    seconds, last, failed = {name: [] for name in there}, {}, {}

    def answers(work, order=list):
        """``work(contestant)`` of each that is still there -> {name: answer}"""
        done = {}
        for name in order(there):
            try:
                done[name] = work(there[name])
            except ContestantFailed as error:
                failed[name] = str(error)
                del there[name]
        return done

    try:
        if kind.type == "cuda":  # one after another: a card has no room for all; last those who compile, which takes long
            answers(lambda contestant: contestant.ask("go", start + 0.7 * limit), partial(sorted, key=lambda name: "compiled" in name))
        else:
            for contestant in there.values():
                contestant.say("go")
            answers(lambda contestant: contestant.answer(start + 0.7 * limit))
        begun = time.monotonic()
        for number in tqdm(range(rounds), desc=shape, unit="round", leave=False):
            now = time.monotonic()
            if number and now + 1.5 * (now - begun) / number > start + limit:
                break
            for name, answer in answers(lambda contestant: contestant.ask("go", start + limit)).items():
                seconds[name].append(answer["seconds"])
        last = answers(lambda contestant: contestant.ask("end", time.monotonic() + 60))
    finally:
        for contestant in there.values():
            contestant.end()
    operations = training_flops(model, lengths, num_masked=round(0.15 * (sum(lengths) - 2 * len(lengths))))
    rates = {"product_rate" + name.removeprefix("product").replace(", ", "_"): STEPS * 2 * product_size(kind) ** 3 / statistics.median(seconds[name])
             for name in products if seconds[name]}
    counted = {name: values for name, values in seconds.items() if name not in products and name in last}
    some = next(iter(last.values()), {"torch": torch.__version__, "threads": torch.get_num_threads()})
    return {"shape": shape, "precision": auto, "tokens": sum(lengths), "operations": operations, **rates, "torch": some["torch"],
            "threads": some["threads"], "seconds": counted, "megabytes": {name: last[name]["megabytes"] for name in counted},
            **({"failed": failed} if failed else {})}


def table(rows, gpu=False):
    """The rows as Markdown: each contestant beside minibert. gpu: milliseconds and TFLOP/s in place of seconds and GFLOP/s.

    Who trains in fp16 is held against a product in fp16, all others against one in bf16.
    """
    unit, times, digits, flops, per = ("milliseconds", 1000, 1, "TFLOP/s", 1e12) if gpu else ("seconds", 1, 3, "GFLOP/s", 1e9)
    lines = [f"| | {unit} a step | tokens a second | minibert is | utilisation | peak memory |", "|---" * 6 + "|"]
    for row in rows:
        own = row["seconds"].get("minibert")
        rate = ", ".join(f"of {row[key] / per:,.0f} {flops}{said}" for key, said in (("product_rate", ""), ("product_rate_fp16", " in fp16"))
                         if key in row)
        lines.append(f"| **{TOLD[row['shape']]}** | | | | {rate} | |")
        for name, seconds in row["seconds"].items():
            middle = statistics.median(seconds)
            ratios = [b / a for a, b in zip(own or (), seconds)]
            ratio = f"**{statistics.median(ratios):.2f} x** as fast ({min(ratios):.2f} to {max(ratios):.2f})" if ratios and name != "minibert" else ""
            fp16 = in_fp16(name, row.get("precision"))
            peak = row.get("product_rate_fp16" if fp16 else "product_rate")
            used = f"{row['operations'] / middle / peak:.0%}" if peak else ""
            told = f"{name} (fp16)" if fp16 and "fp16" not in name else name
            lines.append(f"| {told} | {middle / STEPS * times:.{digits}f} | {row['tokens'] / middle:,.0f} | {ratio} | {used} | "
                         f"{row['megabytes'][name]:,.0f} MB |")
        lines += [f"| {name} | left out: {why} | | | | |" for name, why in row.get("failed", {}).items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    who, shape, folder, kind = sys.argv[1:]
    machine = choose_device(kind)
    (CONTESTANTS | PRODUCTS)[who](shape, Path(folder), Turns(machine, SHAPES[shape][1]), machine)

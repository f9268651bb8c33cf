"""What each pre-training objective does to held-out loss and to a task: the same small BERT, text, steps and seed, once for each.

    python benchmarks/objectives.py --corpus books --tasks FOLDER --runs FOLDER --out benchmarks/results/objectives.json
    python benchmarks/objectives.py --table benchmarks/results/objectives.json

The corpus is one as train.py takes it, the folder of tasks holds sst2/ (train.tsv, dev.tsv). The first run trains the tokenizer and prepares the
text, the others take both from it. Rows are written as they are done; the same command again goes on where it was.

- masked tokens, whole words, spans: documents as examples; all select 30 % of the tokens (``minibert/masking.py``).
- pairs: two sentences, masked tokens, and does B follow A?  a fifth of NSP: that loss counts a fifth (BERT: as much as the other).
  pairs without NSP: the same examples, the second loss left out.
- held-out loss and masked accuracy: all models are asked the same, single masked tokens of held-out documents, 15 %.
- SST-2: accuracy after fine-tuning on the same 2,000 examples, mean and deviation of the seeds. From scratch: the same without pre-training, at
  the rate and dropout that were best for that.
  The rate rises for three tenths of the steps. With FinetuneConfig's one tenth some seeds never leave the constant answer, and a seed that learned
  nothing would decide mean and deviation; the table says where one did (docs/log.md).
"""
import argparse
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, installed or not
import train  # noqa: E402
from data import TokenFile  # noqa: E402
from minibert.evaluate import EVAL_SEED, evaluate  # noqa: E402
from minibert.examples import make_examples  # noqa: E402
from minibert.finetuning.config import FinetuneConfig  # noqa: E402
from minibert.finetuning.labeled_files import read_examples  # noqa: E402
from minibert.finetuning.seeds import finetune  # noqa: E402
from minibert.formats.run_folder import (
    load_run,  # noqa: E402
    read_metrics_lines,  # noqa: E402
)
from minibert.masking import Masker  # noqa: E402
from minibert.model import BertForMaskedLM  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

OBJECTIVES = {  # name -> flags of train.py
    "masked tokens": "--examples documents --masking tokens",
    "whole words": "--examples documents --masking words",
    "spans": "--examples documents --masking spans",
    "pairs and NSP": "--examples pairs",
    "pairs and a fifth of NSP": "--examples pairs --nsp-weight 0.2",
    "pairs without NSP": "--examples pairs",
}
MODEL = ("--family bert --vocab-size 8192 --hidden-size 128 --num-hidden-layers 4 --num-attention-heads 2 --intermediate-size 512 "
         "--max-position-embeddings 128 --type-vocab-size 2 --layer-norm-eps 1e-12 --tokenizer-kind wordpiece")
# The rest is quickstart's: Muon, warm-up, stable, decay. Twice BERT's share of masks, since so short a run learns more from more of them.
LENGTH = 32  # tokens of an example; twice as many stay on the plateau for all of 2,000 steps (docs/log.md)
RECIPE = f"--max-length {LENGTH} --batch-size 64 --mlm-probability 0.3 --eval-every 0 --save-every 0"
WARMUP = 0.3  # of fine-tuning: the fraction of the steps in which the rate rises
TUNED = {"learning_rate": 1e-3, "hidden_dropout_prob": 0.1}  # of weights that Muon has trained; the others below (docs/log.md)
FRESH = {"learning_rate": 5e-4, "hidden_dropout_prob": 0.1}


def main(args=None):
    args = parse(args)
    if args.table:
        print(table(json.loads(args.table.read_text(encoding="utf-8"))), end="")
        return
    result = {"date": str(date.today()), "python": platform.python_version(), "torch": torch.__version__, "model": MODEL,
              "recipe": RECIPE, "corpus": Path(args.corpus).name, "extra": args.extra, "steps": args.steps,
              "examples": args.examples, "epochs": args.epochs, "seeds": args.seeds,
              "tuned": TUNED, "fresh": FRESH, "warmup": WARMUP, "rows": {}}
    if args.out.is_file():
        stored = json.loads(args.out.read_text(encoding="utf-8"))
        result = stored if all(stored.get(name) == result[name] for name in result if name not in ("date", "rows")) else result
    for name in args.only or OBJECTIVES:
        if name in result["rows"]:
            continue
        run = pretrain(name, args)
        model, tokenizer = load_run(run)
        scores = held_out(model, tokenizer, first_run(args) / "data" / "eval")
        last = read_metrics_lines(run / "metrics.jsonl")[-1]
        row = {"loss": scores["loss"], "accuracy": scores["accuracy"], "nsp_accuracy": last.get("eval_nsp_accuracy"),
               "nsp_chance": last.get("eval_nsp_chance")}
        result["rows"][name] = row
        first = "from scratch" not in result["rows"]
        if args.seeds:
            row["sst2"] = fine_tuned(model, tokenizer, args, **TUNED)["pretrained"]["scores"]
        if args.seeds and first:
            found = fine_tuned(model, tokenizer, args, from_scratch=True, **FRESH)
            result["rows"]["from scratch"] = {"sst2": found["from_scratch"]["scores"]}
            result["constant"], result["dev"] = found["constant"], found["dev"]
        atomic_write(args.out, json.dumps(result, indent=1) + "\n")  # what is done stays, whatever happens to the rest
        print(table(result), flush=True)


def parse(args):
    texts = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora"))
    parser = argparse.ArgumentParser(description="One small BERT for each pre-training objective, compared.")
    parser.add_argument("--corpus", default=str(texts / "books"), help="what to learn from (default: the folder books/ of $MINIBERT_CORPORA)")
    parser.add_argument("--tasks", type=Path, default=texts.parent / "tasks", help="folder with sst2/")
    parser.add_argument("--runs", type=Path, default=Path("runs/objectives"), help="folder for the runs")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--extra", default="", help="more flags for each train.py")
    parser.add_argument("--examples", type=int, default=2000, help="of SST-2")
    parser.add_argument("--epochs", type=int, default=5, help="of fine-tuning")
    parser.add_argument("--seeds", type=int, default=3, help="of fine-tuning; 0: none")
    parser.add_argument("--only", nargs="+", choices=OBJECTIVES, metavar="NAME", help=", ".join(OBJECTIVES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/objectives.json"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of such a file, and nothing else")
    return parser.parse_args(args)


def first_run(args):
    """The run that has made the tokenizer and the token files."""
    return args.runs / next(iter(args.only or OBJECTIVES)).replace(" ", "-")


def pretrain(name, args):
    """The run of an objective, trained where it is not there yet -> its folder."""
    first, run = first_run(args), args.runs / name.replace(" ", "-")
    if (run / "model").is_dir():
        return run
    if (run / "config.json").is_file():
        flags = ["--resume"]
    else:
        source = {"--corpus": args.corpus} if run == first else {"--data": first / "data", "--tokenizer": first / "tokenizer"}
        flags = f"{MODEL} {RECIPE} {OBJECTIVES[name]} --max-steps {args.steps} {args.extra}".split()
        flags += [str(part) for pair in source.items() for part in pair]
    with mock.patch.object(train, "BertForPreTraining", without_nsp if name == "pairs without NSP" else train.BertForPreTraining):
        if code := train.main([*flags, "--out", str(run)]):
            sys.exit(code)  # stopped: no row for half a run
    return run


def without_nsp(config):
    """A model for the examples of pairs that does not hear whether B follows A."""
    model = BertForMaskedLM(config)
    forward = model.forward
    model.forward = lambda *tensors, next_sentence_label=None, **named: forward(*tensors, **named)
    return model


def held_out(model, tokenizer, folder):
    """Held-out loss and accuracy at single masked tokens of documents, the same for all models."""
    examples = make_examples("documents", TokenFile(folder), tokenizer, LENGTH).at(EVAL_SEED, 0)
    masker = Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 0.15)
    return evaluate(model, examples, masker, tokenizer.pad_token_id, limit=4096)


def fine_tuned(model, tokenizer, args, **settings):
    """Scores of the seeds on SST-2, with what a constant answer scores. settings: of FinetuneConfig, where the two kinds of weights want others."""
    learn, dev = (read_examples(args.tasks / "sst2" / f"{name}.tsv") for name in ("train", "dev"))
    return finetune(model, tokenizer, learn, dev, FinetuneConfig(epochs=args.epochs, patience=args.epochs, examples=args.examples, seeds=args.seeds,
                                                                 warmup=WARMUP, **settings))


def table(result):
    """The rows as Markdown."""
    lines = [f"| objective | held-out loss | masked accuracy | SST-2, {result['examples']:,} examples |", "|---|---|---|---|"]
    if "constant" not in result:  # no task
        lines = [line.rsplit("|", 2)[0] + "|" for line in lines]
    for name, row in result["rows"].items():
        told = f", NSP {row['nsp_accuracy']:.1%} (chance {row['nsp_chance']:.1%})" if row.get("nsp_accuracy") else ""
        asked = f"{row['loss']:.3f} | {row['accuracy']:.1%}{told}" if "loss" in row else "| "
        if "constant" not in result:
            lines.append(f"| {name} | {asked} |")
            continue
        scores = torch.tensor(row["sst2"])
        spread = f" ± {100 * scores.std():.1f}" if len(scores) > 1 else ""
        nothing = sum(score <= result["constant"] for score in row["sst2"])
        failed = f", {nothing} of {len(scores)} seeds learned nothing" if nothing else ""
        lines.append(f"| {name} | {asked} | {100 * scores.mean():.1f} %{spread}{failed} |")
    if "constant" in result:
        lines.append(f"| always the same answer | | | {result['constant']:.1%} |")
    return "\n".join(lines).replace("| |  |", "| | |") + "\n"


if __name__ == "__main__":
    main()

"""Compare pre-training objectives: the same small BERT, text, steps and seed for each.

    python benchmarks/objectives.py --corpus books --tasks FOLDER --runs FOLDER \\
        --out benchmarks/results/objectives.json
    python benchmarks/objectives.py --table benchmarks/results/objectives.json

The corpus is one that train.py accepts; the folder of tasks holds sst2/ (train.tsv, dev.tsv). The
first run trains the tokenizer and prepares the text for all. Each row is written when it is
finished; the same command continues after an interruption.

- masked tokens, whole words, spans: documents as examples; each masks 30 % of the tokens
  (``minibert/masking.py``)
- pairs and NSP: two sentences; masked tokens, and whether B follows A; "a fifth of NSP" weights the
  second loss by 0.2 (BERT: 1); "without NSP" has the same examples and only the first loss
- validation loss and masked accuracy: the same for all models, single masked tokens (15 %) of
  validation documents
- SST-2: accuracy after fine-tuning on the same 2,000 examples, mean and standard deviation over the
  seeds. From scratch: without pre-training, with the learning rate and dropout that are best then.

Fine-tuning warms up for three tenths of the steps. With FinetuneConfig's one tenth some seeds never
leave the constant answer, and such a seed would dominate mean and deviation; the table counts them
(docs/log.md).
"""
import os
import platform
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from shared_runs import pretrain

from data import TokenFile
from minibert.evaluate import EVAL_SEED, evaluate
from minibert.examples import make_examples
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import read_examples
from minibert.finetuning.seeds import finetune
from minibert.formats.run_folder import load_run, read_metrics_lines
from minibert.masking import Masker
from minibert.model import BertForMaskedLM
from minibert.training import objective
from tokenizer.utils.cli import Parser, run

OBJECTIVES = {  # name -> flags of train.py
    "masked tokens": "--examples documents --masking tokens",
    "whole words": "--examples documents --masking words",
    "spans": "--examples documents --masking spans",
    "pairs and NSP": "--examples pairs",
    "pairs and a fifth of NSP": "--examples pairs --nsp-weight 0.2",
    "pairs without NSP": "--examples pairs",
}
MODEL = ("--family bert --hidden-size 128 --num-hidden-layers 4 "
         "--num-attention-heads 2 --intermediate-size 512 --max-position-embeddings 128 "
         "--type-vocab-size 2 --layer-norm-eps 1e-12")
TOKENIZER = "--tokenizer-kind wordpiece --vocab-size 8192"  # trained by the first run
# The rest is the preset quickstart: Muon; warm up, stay, decay. So short a run learns more from
# twice BERT's share of masks.
LENGTH = 32  # tokens of an example; with 64 the loss stays on the plateau for 2,000 steps
RECIPE = (f"--max-length {LENGTH} --batch-size 64 --mlm-probability 0.3 --eval-every 0 "
          "--save-every 0")
WARMUP = 0.3  # of fine-tuning: fraction of the steps in which the learning rate rises


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    result = load_results(args)
    rows = result["rows"]
    for name in args.only or OBJECTIVES:
        if name in rows:
            continue
        run = pretrain_objective(name, args)
        model, tokenizer = load_run(run)
        scores = validate(model, tokenizer, first_run(args) / "data" / "eval")
        last = read_metrics_lines(run / "metrics.jsonl")[-1]
        is_first = "from scratch" not in rows
        rows[name] = {"loss": scores["loss"], "accuracy": scores["accuracy"],
                      "nsp_accuracy": last.get("eval_nsp_accuracy"),
                      "nsp_chance": last.get("eval_nsp_chance")}
        if args.seeds:
            tuned = fine_tuned(model, tokenizer, args)
            rows[name]["sst2"] = tuned["pretrained"]["scores"]
        if args.seeds and is_first:
            fresh = fine_tuned(model, tokenizer, args, from_scratch=True)
            rows["from scratch"] = {"sst2": fresh["from_scratch"]["scores"]}
            result["constant"] = fresh["constant"]
            result["dev"] = fresh["dev"]
        write_json(args.out, result)  # an interruption loses one row at most
        print(table(result), flush=True)


def parse(args):
    corpora = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora"))
    parser = Parser(
        description="Pre-train one small BERT for each objective and compare them.")
    parser.add_argument("--corpus", default=str(corpora / "books"),
                        help="a corpus that train.py accepts")
    parser.add_argument("--tasks", type=Path, default=corpora.parent / "tasks",
                        help="folder with sst2/")
    parser.add_argument("--runs", type=Path, default=Path("runs/objectives"),
                        help="folder for the runs")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--examples", type=int, default=2000, help="examples of SST-2")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of fine-tuning")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of fine-tuning; 0: skip it")
    parser.add_argument("--only", nargs="+", choices=OBJECTIVES, metavar="NAME",
                        help=", ".join(OBJECTIVES))
    add_result_flags(parser, out=Path("benchmarks/results/objectives.json"))
    return parser.parse_args(args)


def load_results(args):
    """Return the results in --out if they have the same settings, else empty ones."""
    settings = {"model": MODEL, "recipe": RECIPE, "corpus": Path(args.corpus).name,
                "extra": args.extra, "steps": args.steps, "examples": args.examples,
                "epochs": args.epochs, "seeds": args.seeds,
                "warmup": WARMUP}
    settings = {"python": platform.python_version(), "torch": torch.__version__, **settings}
    if args.out.is_file():
        stored = read_json(args.out)
        if all(stored.get(name) == value for name, value in settings.items()):
            return stored
    return {"date": str(date.today()), **settings, "rows": {}}


def first_run(args):
    """Return the run that trains the tokenizer and prepares the text."""
    first = next(iter(args.only or OBJECTIVES))
    return args.runs / first.replace(" ", "-")


def pretrain_objective(name, args):
    """Train the run of an objective, unless it is finished. Return its folder."""
    flags = f"{MODEL} {RECIPE} {OBJECTIVES[name]} --max-steps {args.steps} {args.extra}".split()
    model_class = without_nsp if name == "pairs without NSP" else objective.BertForPreTraining
    with mock.patch.object(objective, "BertForPreTraining", model_class):
        return pretrain(args.runs / name.replace(" ", "-"), first_run(args), flags,
                        ["--corpus", args.corpus, "--reflow", "no", *TOKENIZER.split()])


def without_nsp(config):
    """Return a model for pairs that ignores whether B follows A."""
    model = BertForMaskedLM(config)
    forward = model.forward

    def forward_without_nsp(*tensors, next_sentence_label=None, **named):
        return forward(*tensors, **named)

    model.forward = forward_without_nsp
    return model


def validate(model, tokenizer, folder):
    """Return loss and accuracy at single masked tokens of the validation documents."""
    examples = make_examples("documents", TokenFile(folder), tokenizer, LENGTH).at(EVAL_SEED, 0)
    masker = Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 0.15)
    return evaluate(model, examples, masker, tokenizer.pad_token_id, limit=4096)


def fine_tuned(model, tokenizer, args, **settings):
    """Fine-tune on SST-2. settings: fields of FinetuneConfig."""
    train_examples = read_examples(args.tasks / "sst2" / "train.tsv")
    dev_examples = read_examples(args.tasks / "sst2" / "dev.tsv")
    # No patience: some seeds need several epochs to leave the constant answer.
    config = FinetuneConfig(epochs=args.epochs, patience=args.epochs, examples=args.examples,
                            seeds=args.seeds, warmup=WARMUP, **settings)
    return finetune(model, tokenizer, train_examples, dev_examples, config)


def table(result):
    """Return the rows as Markdown."""
    heading = ["objective", "validation loss", "masked accuracy"]
    rows = [[name, *pretraining_cells(row)] for name, row in result["rows"].items()]
    if "constant" in result:  # fine-tuned too
        heading.append(f"SST-2, {result['examples']:,} examples")
        for cells, row in zip(rows, result["rows"].values()):
            cells.append(task_cell(row["sst2"], result["constant"]))
        rows.append(["always the same answer", "", "", f"{result['constant']:.1%}"])
    return markdown(heading, rows)


def pretraining_cells(row):
    """Return the cells of loss and accuracy, empty for the row from scratch."""
    if "loss" not in row:
        return ["", ""]
    accuracy = f"{row['accuracy']:.1%}"
    if row.get("nsp_accuracy"):
        accuracy += f", NSP {row['nsp_accuracy']:.1%} (chance {row['nsp_chance']:.1%})"
    return [f"{row['loss']:.3f}", accuracy]


def task_cell(scores, constant):
    """Return mean and deviation of the seeds, e.g. "81.2 % ± 0.4"."""
    values = torch.tensor(scores)
    cell = f"{100 * values.mean():.1f} %"
    if len(scores) > 1:
        cell += f" ± {100 * values.std():.1f}"
    num_failed = sum(score <= constant for score in scores)
    if num_failed:
        cell += f", {num_failed} of {len(scores)} seeds learned nothing"
    return cell


if __name__ == "__main__":
    run(main)

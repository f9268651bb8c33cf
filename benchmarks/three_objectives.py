"""Compare three ways to pre-train, with the same block, text, tokenizer and minutes.

    python benchmarks/three_objectives.py --corpus books --tasks FOLDER --runs FOLDER \\
        --out benchmarks/results/three-objectives.json
    python benchmarks/three_objectives.py --table benchmarks/results/three-objectives.json

The corpus is one that train.py accepts; the folder of tasks holds sst2/ (train.tsv, dev.tsv). The
first run trains the tokenizer and prepares the text for all. Each row is written when it is
finished; the same command continues after an interruption.

- masked (BERT): four blocks; each token sees all others
- causal (GPT): the same four blocks; each token sees earlier ones
- span-corruption (T5): two blocks in the encoder and two in the decoder, which also have
  cross-attention, so that the parameters are about as many

Each has its own validation loss: the three ask different questions, so only the unigram entropy
beside it compares them. Bits per byte exist for the causal model alone, whose predictions multiply
to the probability of the text. SST-2: accuracy after fine-tuning on the same examples; the sentence
is the mean of the encoder's vectors, for causal models of the decoder's.
"""
import os
import platform
from datetime import date
from pathlib import Path

import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from shared_runs import pretrain

from minibert.analysis.mask_filling import fill_all
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import read_examples
from minibert.finetuning.seeds import finetune
from minibert.formats.run_folder import load_run, read_metrics_lines
from minibert.generation.command import continue_texts, fill_spans
from tokenizer.utils.cli import Parser, run

OBJECTIVES = {  # name -> flags of train.py; the first one trains the tokenizer, with sentinels
    "span-corruption": "--num-hidden-layers 2",
    "masked": "--num-hidden-layers 4",
    "causal": "--num-hidden-layers 4",
}
# Otherwise the preset quickstart: a ModernBERT block, Muon, 5 minutes
RECIPE = "--eval-every 0 --save-every 0"
PROMPTS = {  # what each objective can do with a text
    "span-corruption": "He <extra_id_0> the door and <extra_id_1> the room.",
    "masked": "He <mask> the door and <mask> the room.",
    "causal": "He opened the door and",
}


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    result = load_results(args)
    for name in OBJECTIVES:
        if name not in result["rows"]:
            result["rows"][name] = measure(name, args)
            write_json(args.out, result)  # an interruption loses one row at most
    print(table(result))


def parse(args):
    corpora = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora"))
    parser = Parser(description="Pre-train one model for each objective and compare them.")
    parser.add_argument("--corpus", default=str(corpora / "books"),
                        help="a corpus that train.py accepts")
    parser.add_argument("--tasks", type=Path, default=corpora.parent / "tasks",
                        help="folder with sst2/")
    parser.add_argument("--runs", type=Path, default=Path("runs/three-objectives"),
                        help="folder for the runs")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each pre-training")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--examples", type=int, default=2000, help="examples of SST-2")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of fine-tuning")
    add_result_flags(parser, out=Path("benchmarks/results/three-objectives.json"))
    return parser.parse_args(args)


def load_results(args):
    """Return the results in --out if they have the same settings, else empty ones."""
    settings = {"objectives": OBJECTIVES, "recipe": RECIPE, "corpus": Path(args.corpus).name,
                "vocab_size": args.vocab_size, "extra": args.extra, "minutes": args.minutes,
                "examples": args.examples, "seeds": args.seeds,
                "python": platform.python_version(), "torch": torch.__version__}
    if args.out.is_file():
        stored = read_json(args.out)
        if all(stored.get(name) == value for name, value in settings.items()):
            return stored
    return {"date": str(date.today()), **settings, "rows": {}}


def measure(name, args):
    """Pre-train, fine-tune and ask the model of an objective. Return its row."""
    flags = (f"--objective {name} {RECIPE} {OBJECTIVES[name]} --minutes {args.minutes} "
             f"{args.extra}")
    folder = pretrain(args.runs / name, args.runs / next(iter(OBJECTIVES)), flags.split(),
                      ["--corpus", args.corpus, "--reflow", "no",
                       "--vocab-size", str(args.vocab_size)])
    model, tokenizer = load_run(folder)
    lines = read_metrics_lines(folder / "metrics.jsonl")
    last = lines[-1]
    return {"parameters": model.num_parameters(), "steps": last["step"],
            "unigram_entropy": lines[0].get("unigram_entropy"),
            "loss": last["eval_loss"], "accuracy": last["eval_accuracy"],
            "bits_per_byte": last.get("eval_bits_per_byte") if name == "causal" else None,
            "sst2": fine_tuned(model, tokenizer, args)["pretrained"]["scores"],
            "curve": [(line["elapsed"], line["loss"]) for line in lines if "loss" in line],
            "sample": sample(name, model, tokenizer)}


def fine_tuned(model, tokenizer, args):
    """Fine-tune on SST-2."""
    files = [read_examples(args.tasks / "sst2" / f"{part}.tsv") for part in ("train", "dev")]
    config = FinetuneConfig(examples=args.examples, seeds=args.seeds)
    return finetune(model, tokenizer, *files, config)


def sample(name, model, tokenizer):
    """Return what a model makes of its prompt, as one text."""
    prompt = PROMPTS[name]
    if name == "masked":
        return fill_all(model, tokenizer, prompt)[-1]["sequence"]
    if name == "causal":
        answer, = continue_texts(model, tokenizer, [prompt], max_new_tokens=16)
        return prompt + answer
    for sentinel, span in fill_spans(model, tokenizer, prompt).items():
        prompt = prompt.replace(sentinel, span.strip())
    return prompt


def table(result):
    """Return the rows as Markdown."""
    heading = ["objective", "parameters", "steps", "validation loss", "below unigram entropy",
               "accuracy", "bits per byte", f"SST-2, {result['examples']:,} examples", "sample"]
    rows = []
    for name, row in result["rows"].items():
        below = "not defined"  # sentinels are targets, too
        if entropy := row["unigram_entropy"]:
            below = f"{entropy - row['loss']:.3f}"
        scores = torch.tensor(row["sst2"])
        bits = f"{row['bits_per_byte']:.3f}" if row["bits_per_byte"] else "not defined"
        rows.append([
            name, f"{row['parameters']:,}", f"{row['steps']:,}", f"{row['loss']:.3f}",
            below, f"{row['accuracy']:.1%}", bits,
            f"{100 * scores.mean():.1f} % ± {100 * scores.std():.1f}",
            " ".join(row["sample"].split())])
    return markdown(heading, rows)


if __name__ == "__main__":
    run(main)

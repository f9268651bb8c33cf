"""Train sentence vectors, write those of a file, and compare them with people's judgments.

    python -m minibert embed runs/books --train my_texts/ --out runs/vectors
    python -m minibert embed runs/vectors sentences.txt --out vectors.npy
    python -m minibert embed runs/vectors --pairs-file docs/samples/pairs.tsv
    python -m minibert nearest runs/vectors sentences.txt "He broke the record."

``finetuning/contrastive.py`` has the training. Only the encoder is trained, not the head.
"""
import json
import math
import random

import numpy as np
import torch
from torch.nn import functional as F

from data.corpora import open_corpus
from data.corpus_flags import add_corpus_flags, corpus_options
from minibert.analysis.command import analysis_parser
from minibert.analysis.sentence_vectors import rows_of_text, sentence_vectors
from minibert.device import describe
from minibert.finetuning.command import line_printer, load_encoder, out_folder
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.contrastive import (
    POSITIVES,
    retrieval_accuracy,
    sentence_pairs,
    train_vectors,
)
from minibert.finetuning.labeled_files import Layout, read_rows
from minibert.finetuning.metrics import listed, spearman
from minibert.formats.huggingface import save_pretrained
from tokenizer.utils.cli import add_flags, at_least, errors_name_flags, explicit_flags, flag
from tokenizer.utils.files import atomic_file, atomic_lines, check_free
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.signals import StopRequest
from tokenizer.utils.terminal import plural

DEFAULTS = {"batch_size": 64}  # where they are not those of fine-tuning
FLAGS = ("batch_size", "learning_rate", "hidden_dropout_prob", "device", "precision")
TRAINING_ONLY = ("batch_size", "learning_rate", "hidden_dropout_prob", "positives", "temperature",
                 "max_steps", "seed")
CANDIDATES = 64  # validation searches the second sentence of a pair among so many
MAX_VALIDATION = 1024  # pairs
TOO_LITTLE = "too little text to measure"


def main(args=None):
    """Run the command. Return the exit status."""
    command = parser()
    args = command.parse_args(args)
    if not (args.train or args.file or args.pairs_file):
        raise ValueError("nothing to do: give --train TEXT, FILE or --pairs-file FILE")
    if args.train and args.file:
        raise ValueError(f"--train and the file {args.file}: train first, then give the file and "
                         "the trained model to a second command")
    if not args.train:
        useless = [name for name in TRAINING_ONLY
                   if getattr(args, name) not in (None, command.get_default(name))]
        if useless:
            flags = ", ".join(map(flag, useless))
            raise ValueError(f"{flags}: only for training: add --train TEXT or leave it out")
    if args.file:
        args.out = args.out or "vectors.npy"
        for path in (args.out, f"{args.out}.jsonl"):
            check_free(path, args.overwrite, inputs=[args.file])
    with errors_name_flags(FLAGS):
        config = FinetuneConfig(**DEFAULTS | explicit_flags(args, FinetuneConfig)).resolve_device()
    model, tokenizer = load_encoder(args.run)
    model.to(config.device)
    scored = read_scored_pairs(args.pairs_file, args.columns) if args.pairs_file else []

    say = line_printer(args)
    results = {"run": args.run}
    if args.train:
        results |= train(args, model, tokenizer, config, scored, say)
    elif scored:
        results["scores"] = evaluate(model, tokenizer, [], scored)
        say(f"scores       {listed(results['scores'])} ({len(scored):,} pairs)")
    if args.file:
        results |= write_vectors(model, tokenizer, args.file, args.column, args.out)
        say(f"vectors      {args.out}: {results['texts']:,} x {model.config.hidden_size}")
    if args.json:
        print(json.dumps(results))
    return 130 if results.get("stopped") else 0


def parser():
    """Return the parser: RUN, FILE, and some of the flags of fine-tuning."""
    out = analysis_parser(
        "embed", "Train sentence vectors (--train), write those of a file, or compare their "
        "cosines with people's judgments (--pairs-file).",
        epilog="python -m minibert embed runs/books --train my_texts/ --out runs/vectors\n"
        "python -m minibert embed runs/vectors sentences.txt --out vectors.npy",
        out="with FILE: a .npy (default: vectors.npy); its texts go to PATH.jsonl. With --train: "
        "folder for the model (default: RUN/vectors, or the next free name)")
    add = out.add_argument
    add("file", metavar="FILE", nargs="?", help="write the vectors of these texts: .txt (one per "
        "line), .tsv, .csv, .jsonl, also .gz, .bz2")
    add("--column", default="sentence", help="column or field of the texts in FILE")
    add("--pairs-file", metavar="FILE", help="print Spearman's correlation of cosines and scores; "
        "the columns are sentence1, sentence2 and score, as in STS-B")
    add("--columns", default="", help="for --pairs-file without a header row: the names of all its "
        "columns, separated by commas")
    group = out.add_argument_group("training")
    add = group.add_argument
    add("--train", metavar="TEXT", help="train on this corpus, as --corpus of train.py")
    add("--positives", choices=POSITIVES, default=POSITIVES[0], help="a pair is two consecutive "
        "sentences of a paragraph, or a sentence twice with different dropout")
    add("--temperature", type=float, default=0.05, help="divides the cosines in the loss")
    add("--max-steps", type=at_least(0), default=0, help="0: one pass over the pairs")
    add("--seed", type=at_least(0), default=0, help="of dropout and of the order of the pairs")
    add_flags(group, FinetuneConfig, FLAGS, shown=FinetuneConfig(**DEFAULTS))
    add_corpus_flags(group)
    return out


def train(args, model, tokenizer, config, scored, say):
    """Run --train: train the model, save it, and return the results."""
    if not args.temperature > 0:
        raise ValueError(f"--temperature {args.temperature:g}: it must be above 0")
    if args.positives == "dropout" and not config.hidden_dropout_prob:
        raise ValueError("--hidden-dropout-prob 0: without dropout the two vectors of a sentence "
                         "are equal, and there is nothing to learn")
    if config.batch_size < 2:
        raise ValueError("--batch-size 1: a pair is compared with the others of its batch, so it "
                         "must be at least 2")
    out = out_folder(args, "vectors")
    corpus = open_corpus(args.train, **corpus_options(args))
    pairs = sentence_pairs(corpus, "train", args.positives)
    if len(pairs) < 2:
        raise ValueError(f"{args.train}: {plural(len(pairs), 'pair')} of sentences for training, "
                         "but at least two are needed (blank lines separate paragraphs)")
    validation = sentence_pairs(corpus, "eval")
    validation = random.Random(0).sample(validation, min(MAX_VALIDATION, len(validation)))
    say(f"pairs        {len(pairs):,} for training ({args.positives}), {len(validation):,} of "
        f"consecutive sentences for validation, each among {min(CANDIDATES, len(validation))}")
    say(f"dropout      {config.hidden_dropout_prob:g} after embeddings, attention and MLP; "
        f"{model.config.hidden_dropout_prob:g} in pre-training")
    say(f"device       {describe(torch.device(config.device), config.precision)}")
    before = evaluate(model, tokenizer, validation, scored)
    say(f"before       {listed(before) or TOO_LITTLE}")
    with StopRequest() as stop:
        steps, loss = train_vectors(model, tokenizer, pairs, config, args.temperature,
                                    args.max_steps, args.seed, stop)
    save_pretrained(model, out, tokenizer)
    say(f"model        {out}")
    after = evaluate(model, tokenizer, validation, scored)
    say(f"after        {listed(after) or TOO_LITTLE}; {plural(steps, 'step')} of "
        f"{config.batch_size} pairs, mean loss {loss:.3f}")
    return {"pairs": len(pairs), "validation": len(validation), "before": before, "after": after,
            "steps": steps, "loss": loss, "stopped": stop.requested, "out": str(out)}


def evaluate(model, tokenizer, pairs, scored):
    """Return {"accuracy", "spearman"}, each if there are texts for it.

    pairs: (text, text), for ``retrieval_accuracy``; scored: (text, text, score)
    """
    scores = {}
    if len(pairs) > 1:  # the second sentence of one pair is always the nearest
        first, second = (sentence_vectors(model, tokenizer, texts) for texts in zip(*pairs))
        scores["accuracy"] = retrieval_accuracy(first, second, min(CANDIDATES, len(pairs)))
    if scored:
        firsts, seconds, judgments = zip(*scored)
        cosines = F.cosine_similarity(sentence_vectors(model, tokenizer, firsts),
                                      sentence_vectors(model, tokenizer, seconds))
        scores["spearman"] = spearman(judgments, cosines.tolist())
    return scores


def read_scored_pairs(path, columns=""):
    """Return [(sentence1, sentence2, score), ...] from a .tsv, .csv or .jsonl file."""
    names = ("sentence1", "sentence2", "score")
    scored = []
    for line, row in read_rows(path, Layout(columns=columns), dict.fromkeys(names, "--columns")):
        for name in names[:2]:
            if not row[name].strip():
                raise ValueError(f"{path}:{line}: no text in {name!r}: add it, or remove the row")
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise ValueError(f"{path}:{line}: the score {row['score']!r} is not a number")
        scored.append((row["sentence1"], row["sentence2"], score))
    if len(scored) < 2:
        raise ValueError(f"{path}: {plural(len(scored), 'pair')}, but a correlation needs two")
    return scored


def write_vectors(model, tokenizer, path, column, out):
    """Write the vectors of a file's texts to ``out``, the texts and their lines to out.jsonl."""
    rows = list(rows_of_text(path, column))
    texts = [text for _, text in rows]
    if not texts:
        raise ValueError(f"{path}: no text")
    with progress_bar(len(texts), "reading", "texts") as bar:
        vectors = sentence_vectors(model, tokenizer, texts, bar=bar)  # (N, H)
    with atomic_file(out) as temporary, open(temporary, "wb") as file:
        np.save(file, vectors.numpy())
    atomic_lines(f"{out}.jsonl", (json.dumps({"line": i, "text": text}) for i, text in rows))
    return {"texts": len(texts), "out": str(out)}

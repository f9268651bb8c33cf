"""Tiny runs, and a task they learn in seconds: does the text contain "good" or "bad"?"""
import random

import torch

from minibert.config import BertConfig
from minibert.finetuning.labeled_files import read_examples
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM
from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer

WORDS = "the a film story was is very quite long short actor plot scene and of".split()
QUICK = dict(learning_rate=2e-3, batch_size=8, seeds=1, device="cpu", precision="fp32")


def sentences(count, seed):
    """Return (text, label) pairs: every second text contains "good", the others "bad"."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        words = rng.choices(WORDS, k=rng.randrange(3, 9))
        words.insert(rng.randrange(len(words)), ("bad", "good")[i % 2])
        rows.append((" ".join(words), str(i % 2)))
    return rows


def table(rows, names=("sentence", "label")):
    return "\n".join("\t".join(row) for row in [names, *rows]) + "\n"


def make_run(family, folder):
    """Write a run with random weights, train.tsv and dev.tsv."""
    train = WordPiece.train_from_iterator if family == "bert" else ByteLevelBPE.train_from_iterator
    texts = [text for text, _ in sentences(100, 0)]
    tokenizer = train(texts, vocab_size=360, show_progress=False)
    config = BertConfig(
        family=family, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id,
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=34, initializer_range=0.1, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0)
    torch.manual_seed(0)
    save_pretrained(BertForMaskedLM(config), folder / "model")
    tokenizer.save(folder / "tokenizer")
    (folder / "train.tsv").write_text(table(sentences(160, 1)))
    (folder / "dev.tsv").write_text(table(sentences(40, 2)))
    return folder


def load_parts(run):
    """Return (model, tokenizer, training examples, dev examples)."""
    return (from_pretrained(run / "model"), load_tokenizer(run / "tokenizer"),
            read_examples(run / "train.tsv"), read_examples(run / "dev.tsv"))


def silent(line):
    pass


def flags(**options):
    """Return QUICK and more options as command-line words."""
    words = []
    for name, value in {**QUICK, **options}.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words

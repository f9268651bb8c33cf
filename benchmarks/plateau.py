"""The plateau of the loss, on a language with known entropies.

    python benchmarks/plateau.py --out benchmarks/results/plateau.json          # two minutes
    python benchmarks/plateau.py --table benchmarks/results/plateau.json

How long does a BERT know only word frequencies, and when does it begin to read context? The
language has 200 nouns, and for each an adjective that always precedes it. The k-th noun has the
weight 1/k (Zipf). Half of all words are adjectives, so the unigram entropy is that of nouns plus
ln 2; a model that reads its neighbors needs far less. Rows begin with either, so the position alone
says nothing. The same small encoder learns it with the blocks of 2018 and of 2024
(docs/book/08-loss.md).
"""
import argparse

import numpy as np
import torch
from common import add_result_flags, markdown, print_table, write_json
from tqdm import trange

from data.token_file.reader import entropy
from minibert.config import BertConfig
from minibert.evaluate import copying_loss
from minibert.masking import Masker
from minibert.model import BertForMaskedLM
from minibert.optim import lr_multiplier
from tokenizer.utils.cli import run

NOUNS = 200
SPECIAL = 5  # ids 0 to 4 are special tokens; then come the adjectives, then the nouns
VOCAB_SIZE = SPECIAL + 2 * NOUNS
MASK_ID = 4
LENGTH = 32
BATCH = 32
LEARNING_RATE = 1e-3
# A gated MLP has three matrices, so with 64 instead of 128 it has about as many weights.
FAMILIES = {"bert": {}, "modernbert": {"intermediate_size": 64}}


def rows(count, rng):
    """Return texts as ids (count, LENGTH): adjective, noun, ...; half start with a noun."""
    weights = 1 / np.arange(1, NOUNS + 1)
    choices = rng.choice(NOUNS, (count, LENGTH // 2 + 1), p=weights / weights.sum())  # (count, 17)
    adjectives = choices + SPECIAL
    text = np.stack((adjectives, adjectives + NOUNS), axis=2).reshape(count, -1)  # (count, 34)
    starts = rng.integers(2, size=(count, 1))
    return text[np.arange(count)[:, None], starts + np.arange(LENGTH)]


def masked(masker, text, seed):
    """Return (input ids, labels) as tensors."""
    return (torch.from_numpy(array) for array in masker(text, seed, 0, range(len(text))))


def curve(family, steps, every=25, seed=0):
    """Train a small encoder of a family. Return [[step, validation loss], ...]."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sizes = {"vocab_size": VOCAB_SIZE, "hidden_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": LENGTH,
             "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "local_attention": 16}
    model = BertForMaskedLM(BertConfig(family=family, **(sizes | FAMILIES[family])))
    masker = Masker(VOCAB_SIZE, MASK_ID, range(SPECIAL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98),
                                  weight_decay=0.01)
    eval_ids, eval_labels = masked(masker, rows(256, np.random.default_rng(1000)), seed=1000)
    points = []
    for step in trange(steps + 1, desc=family, leave=False):
        if step % every == 0:
            with torch.no_grad():
                loss = model(eval_ids, labels=eval_labels).loss.item()
            points.append([step, round(loss, 3)])
        ids, labels = masked(masker, rows(BATCH, rng), seed=step)
        multiplier = lr_multiplier((step + 0.5) / (steps + 1), "stable", 0.06, 0.3)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * multiplier
        model(ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return points


def expected():
    """Return ln V, the unigram entropy and the copying loss of the language, in nats."""
    weights = np.tile(1 / np.arange(1, NOUNS + 1), 2)  # adjectives, nouns
    return {"ln_vocab": round(float(np.log(VOCAB_SIZE)), 3),
            "unigram_entropy": round(entropy(weights), 3),
            "copying_loss": round(copying_loss(weights, 2 * NOUNS), 3)}


def table(result):
    """Return the points of the curves as a Markdown table."""
    curves = [dict(map(tuple, points)) for points in result["curves"].values()]
    rows = [[f"{step:,}", *(f"{points[step]:.3f}" for points in curves)] for step in curves[0]]
    return markdown(["step", *result["curves"]], rows)


def main(args=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    add_result_flags(parser)
    args = parser.parse_args(args)
    if args.table:
        return print_table(args.table, table)
    curves = {family: curve(family, args.steps) for family in FAMILIES}
    result = {**expected(), "steps": args.steps, "torch": torch.__version__, "curves": curves}
    write_json(args.out, result)
    print(table(result), end="")


if __name__ == "__main__":
    run(main)

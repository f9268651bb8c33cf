"""The plateau of a language whose numbers are known: how long a BERT knows frequencies only, and when it begins to read context.

    python benchmarks/plateau.py --out benchmarks/results/plateau.json          # two minutes
    python benchmarks/plateau.py --table benchmarks/results/plateau.json

The language has 200 nouns, and for each an adjective that always stands before it. Nouns are as frequent as words are: the k-th has the weight
1/k (Zipf). Half of all words are adjectives, so the unigram entropy is that of the nouns plus ln 2; a model that reads its neighbours needs far less.
Rows begin with either, so a place alone says nothing. The same small encoder learns it with the blocks of 2018 and of 2024 (docs/book/08-loss.md).
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import trange

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, installed or not
from data.token_file.reader import entropy  # noqa: E402
from minibert.config import BertConfig  # noqa: E402
from minibert.evaluate import copying_loss  # noqa: E402
from minibert.masking import Masker  # noqa: E402
from minibert.model import BertForMaskedLM  # noqa: E402
from minibert.optim import lr_multiplier  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

NOUNS, SPECIAL, LENGTH, BATCH = 200, 5, 32, 32  # ids 0 to 4 are special, then adjectives, then nouns
FAMILIES = {"bert": {}, "modernbert": {"intermediate_size": 64}}  # half as wide inside where it is gated: as many weights


def rows(number, rng):
    """Texts of the language as ids (number, LENGTH): adjective, noun, adjective, noun, ..., half of them from a noun on."""
    weights = 1 / np.arange(1, NOUNS + 1)
    words = rng.choice(NOUNS, (number, LENGTH // 2 + 1), p=weights / weights.sum()) + SPECIAL  # (number, 17): the adjectives
    text = np.stack((words, words + NOUNS), axis=2).reshape(number, -1)  # (number, 34)
    return text[np.arange(number)[:, None], rng.integers(2, size=(number, 1)) + np.arange(LENGTH)]


def masked(masker, text, seed):
    return (torch.from_numpy(array) for array in masker(text, seed, 0, range(len(text))))


def curve(family, steps, every=25, seed=0):
    """Train a small encoder of that family -> [[step, held-out loss], ...]"""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    sizes = {"vocab_size": SPECIAL + 2 * NOUNS, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
             "max_position_embeddings": LENGTH, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "local_attention": 16}
    model, masker = BertForMaskedLM(BertConfig(family=family, **{**sizes, **FAMILIES[family]})), Masker(SPECIAL + 2 * NOUNS, 4, range(SPECIAL))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    asked, answers = masked(masker, rows(256, np.random.default_rng(1000)), seed=1000)
    points = []
    for step in trange(steps + 1, desc=family, leave=False):
        if step % every == 0:
            with torch.no_grad():
                points.append([step, round(model(asked, labels=answers).loss.item(), 3)])
        ids, labels = masked(masker, rows(BATCH, rng), seed=step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * lr_multiplier((step + 0.5) / (steps + 1), "stable", 0.06, 0.3)
        model(ids, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return points


def expected():
    """ln V, the unigram entropy and the loss of copying, which the weights alone give, in nats."""
    weights = np.tile(1 / np.arange(1, NOUNS + 1), 2)  # adjectives, nouns
    return {"ln_vocab": round(float(np.log(SPECIAL + 2 * NOUNS)), 3), "unigram_entropy": round(entropy(weights), 3),
            "copying_loss": round(copying_loss(weights, 2 * NOUNS), 3)}


def table(result):
    """The points of the curves as a table in Markdown."""
    curves = [dict(map(tuple, points)) for points in result["curves"].values()]
    lines = ["| step | " + " | ".join(result["curves"]) + " |", "|---" * (1 + len(curves)) + "|"]
    return "\n".join(lines + [f"| {step:,} | " + " | ".join(f"{points[step]:.3f}" for points in curves) + " |" for step in curves[0]])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="the results, as JSON")
    parser.add_argument("--table", type=Path, help="print the table of such a file, and train nothing")
    args = parser.parse_args(arguments)
    if args.table:
        print(table(json.loads(args.table.read_text(encoding="utf-8"))))
        return
    result = {**expected(), "steps": args.steps, "torch": torch.__version__, "curves": {family: curve(family, args.steps) for family in FAMILIES}}
    if args.out:
        atomic_write(args.out, json.dumps(result) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()

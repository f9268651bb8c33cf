"""Record where the first [MASK] of the question looks while tiny_bert is trained.

    python docs/book/tiny_attention.py      # writes docs/book/results/tiny-attention.json

A picture of chapter 0 shows the result. The training is that of tiny_bert.py, step by step.
"""
import json
import math
import random
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import tiny_bert  # noqa: E402

RESULT = HERE / "results" / "tiny-attention.json"
QUESTION = "the small dog likes [MASK] but the [MASK] bee likes honey"
STEPS = (0, 50, 100, 150, 300)


@torch.no_grad()
def attention_of_first_mask(model):
    """Return the attention of the first [MASK] in block 2, the mean of its two heads: (T,)."""
    ids = torch.tensor([tiny_bert.encode(QUESTION)])  # (1, T)
    norm, first, second = model.encoder
    x = first(norm(model.token_embedding(ids) + model.position_embedding))  # (1, T, H)
    qkv = second.qkv(x).view(tiny_bert.T, 3, tiny_bert.nh, tiny_bert.hs)
    q, k, _ = qkv.permute(1, 2, 0, 3)  # each (nh, T, hs)
    weights = (q @ k.transpose(1, 2) / math.sqrt(tiny_bert.hs)).softmax(dim=-1)  # (nh, T, T)
    return weights.mean(dim=0)[ids[0].tolist().index(tiny_bert.MASK_ID)]


def record():
    """Return {"tokens": the question's, "steps": [{"step", "weights" (T), "guesses" (text)}]}."""
    random.seed(0)
    torch.manual_seed(0)
    model = tiny_bert.TinyBert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    tiny_bert.make_batch(100)  # the evaluation sentences, so that training draws the same ones
    rows = []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            weights = [round(weight, 3) for weight in attention_of_first_mask(model).tolist()]
            guesses = tiny_bert.guess(model, QUESTION).split(" | ")[0]
            rows.append({"step": step, "weights": weights, "guesses": guesses})
        seen, labels = tiny_bert.mask_tokens(tiny_bert.make_batch(50))
        loss = F.cross_entropy(model(seen).flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens = [tiny_bert.VOCAB[i] for i in tiny_bert.encode(QUESTION)]
    return {"tokens": tokens, "steps": rows}


if __name__ == "__main__":
    RESULT.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")

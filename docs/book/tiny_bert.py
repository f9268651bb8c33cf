"""A complete small BERT: a made-up language, masking, the model and the training loop.

    python docs/book/tiny_bert.py

Chapter 0 of the book explains it. In the comments: B sentences of T tokens, vectors of H numbers,
nh attention heads of hs = H / nh numbers each, V tokens in the vocabulary.
"""
import math
import random

import torch
from torch import nn
from torch.nn import functional as F

FOODS = {"cat": ["fish", "milk", "cream"], "dog": ["meat", "bones", "biscuits"],
         "cow": ["grass", "hay", "clover"], "bee": ["honey", "nectar", "pollen"]}


def make_sentence():
    size, other_size = random.sample(["small", "big"], 2)  # both, in a random order
    animal, other_animal = random.choices(list(FOODS), k=2)
    return (f"the {size} {animal} likes {random.choice(FOODS[animal])} but "
            f"the {other_size} {other_animal} likes {random.choice(FOODS[other_animal])}")


VOCAB = ["[CLS]", "[SEP]", "[MASK]", "the", "small", "big", "likes", "but", *FOODS]
VOCAB += [food for foods in FOODS.values() for food in foods]
MASK_ID, NUM_SPECIAL = 2, 3  # [CLS], [SEP] and [MASK] are the ids 0, 1 and 2
V, T, H, nh, hs = len(VOCAB), 13, 64, 2, 32


def encode(sentence):
    return [VOCAB.index(token) for token in ["[CLS]", *sentence.split(), "[SEP]"]]  # T ids


def make_batch(B):
    return torch.tensor([encode(make_sentence()) for _ in range(B)])  # (B, T)


def mask_tokens(ids):
    """Select 15% of the tokens. Return (what the model sees, labels), each (B, T)."""
    selected = (torch.rand(ids.shape) < 0.15) & (ids >= NUM_SPECIAL)
    labels = torch.where(selected, ids, -100)  # -100: ignored by cross_entropy
    action = torch.rand(ids.shape)
    seen = torch.where(selected & (action < 0.8), MASK_ID, ids)  # 80%
    is_random = selected & (action >= 0.8) & (action < 0.9)  # 10%; the last 10% stay
    return torch.where(is_random, torch.randint(NUM_SPECIAL, V, ids.shape), seen), labels


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(H, 3 * H)
        self.out_proj = nn.Linear(H, H)
        self.mlp = nn.Sequential(nn.Linear(H, 4 * H), nn.GELU(), nn.Linear(4 * H, H))
        self.norm1, self.norm2 = nn.LayerNorm(H), nn.LayerNorm(H)

    def attention(self, x):  # (B, T, H)
        qkv = self.qkv(x).view(-1, T, 3, nh, hs)  # (B, T, 3H) -> (B, T, 3, nh, hs)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, hs)
        weights = (q @ k.transpose(2, 3) / math.sqrt(hs)).softmax(dim=-1)  # (B, nh, T, T)
        heads = weights @ v  # (B, nh, T, hs)
        return self.out_proj(heads.transpose(1, 2).flatten(2))  # concatenated heads: (B, T, H)

    def forward(self, x):  # post-norm
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.mlp(x))  # (B, T, H)


class TinyBert(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embedding = nn.Embedding(V, H)
        nn.init.normal_(self.token_embedding.weight, std=0.02)  # small: a first loss near ln V
        self.position_embedding = nn.Parameter(torch.zeros(T, H))
        self.encoder = nn.Sequential(nn.LayerNorm(H), Block(), Block())
        self.mlm_head = nn.Sequential(nn.Linear(H, H), nn.GELU(), nn.LayerNorm(H), nn.Linear(H, V))
        self.mlm_head[-1].weight = self.token_embedding.weight  # tied

    def forward(self, ids):  # (B, T)
        x = self.token_embedding(ids) + self.position_embedding  # (B, T, H)
        return self.mlm_head(self.encoder(x))  # logits (B, T, V)


@torch.no_grad()
def evaluate(model, ids):
    """Return the mean loss if each word is hidden once, with all others visible."""
    losses = []
    for position in range(1, T - 1):
        seen = ids.clone()
        seen[:, position] = MASK_ID
        losses.append(F.cross_entropy(model(seen)[:, position], ids[:, position]))
    return sum(losses) / len(losses)


@torch.no_grad()
def guess(model, question):
    """Return the three likeliest tokens for each [MASK], with their probabilities, as text."""
    ids = torch.tensor([encode(question)])  # (1, T)
    guesses = []
    for probabilities in model(ids)[ids == MASK_ID].softmax(dim=-1):  # each (V,)
        top = probabilities.topk(3)
        guesses.append(", ".join(f"{VOCAB[i]} {p:.0%}" for i, p in zip(top.indices, top.values)))
    return " | ".join(guesses)


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    model = TinyBert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    eval_ids = make_batch(100)
    print(f"expect {math.log(V):.2f} (ln V) at first, {2 / 11 * math.log(3):.2f} in the end")
    question = "the small dog likes [MASK] but the [MASK] bee likes honey"
    print(question)
    for step in range(301):
        if step % 50 == 0:
            loss = evaluate(model, eval_ids)
            print(f"step {step:3}: loss {loss:.2f}   {guess(model, question)}")
        seen, labels = mask_tokens(make_batch(50))
        logits = model(seen)  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # (B * T, V), (B * T,)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

"""The exercises: what is checked, the solutions, and the inputs on which answers are compared.

The solutions are the project's own functions, called with the arguments of the exercises. Only the
last exercise has a solution of its own, which is made of such functions.
"""
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from minibert.attention import attention_biases, attention_by_hand
from minibert.config import BertConfig
from minibert.finetuning.adapters import LoRALinear
from minibert.generation.causal import score
from minibert.generation.span_corruption import replace_spans
from minibert.generation.t5 import relative_buckets
from minibert.masking import ACTION, IGNORE_INDEX, REPLACEMENT, SELECT, Masker, uniform
from minibert.optim import lr_multiplier
from tokenizer import reference
from tokenizer.trainers.likelihood import gain
from tokenizer.trainers.merges import TokenizedWords

PASSED = "passed"


@dataclass(frozen=True)
class Exercise:
    file: str
    function: str
    solution: Callable
    inputs: Callable  # returns a list of dicts of arguments
    # result -> PASSED, or what is wrong; without it, results are compared with the solution's
    judge: Callable = None


# The solutions: the project's functions with the arguments of the exercises


def count_pairs(words):
    """Count pairs with ``TokenizedWords``, which works with ids instead of tokens."""
    tokens = sorted({token for word in words for token in word})
    counts = [([tokens.index(token) for token in word], count) for word, count in words.items()]
    pairs = TokenizedWords(counts, len(tokens), min_frequency=1).all_pairs()
    return {(tokens[left], tokens[right]): -negative_count
            for negative_count, left, right, _ in pairs}


def mask_tokens(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    """Look up the masker's result: it draws its random numbers itself."""
    for arguments, result in mask_cases():
        if np.array_equal(arguments["select"], select):
            return result
    raise ValueError("no case has these random numbers")


def stable_schedule(progress, warmup, decay):
    return lr_multiplier(progress, "stable", warmup, decay)


def merge_lora(weight, a, b, alpha):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight
    layer = LoRALinear(linear, parts=[0], rank=len(a), alpha=alpha)
    layer.lora_a.data = a[None]  # (1, rank, in)
    layer.lora_b.data = b[None]  # (1, out, rank)
    return layer.merged_weight()


def next_token_loss(logits, input_ids, is_token):
    answers = logits[:, :-1].flatten(0, 1)
    targets = input_ids.masked_fill(~is_token, IGNORE_INDEX)[:, 1:].flatten()
    return score(lambda logits: logits, answers, targets).loss.item()


def relative_bucket(distance):
    return relative_buckets(torch.tensor(-distance), bidirectional=False).item()


def causal_mask(length, window):
    config = BertConfig("modernbert", causal=True, num_hidden_layers=2, local_attention=window or 2)
    bias, local_bias = attention_biases(config, None, length, torch.float32, "cpu")
    return (local_bias if window else bias) == 0


class TrainedBert(torch.nn.Module):
    """The model of the last exercise."""

    def __init__(self, V, T, H=64, num_heads=2):
        super().__init__()
        self.num_heads = num_heads
        self.token = torch.nn.Embedding(V, H)
        self.position = torch.nn.Parameter(torch.zeros(T, H))
        self.blocks = torch.nn.ModuleList(torch.nn.ModuleDict({
            "norm1": torch.nn.LayerNorm(H), "qkv": torch.nn.Linear(H, 3 * H),
            "norm2": torch.nn.LayerNorm(H), "up": torch.nn.Linear(H, 4 * H),
            "down": torch.nn.Linear(4 * H, H)}) for _ in range(2))
        self.norm = torch.nn.LayerNorm(H)
        self.out = torch.nn.Linear(H, V)

    def forward(self, ids):
        B, T = ids.shape
        mask = torch.zeros(B, 1, 1, T).masked_fill(ids[:, None, None] == 0, -1e9)
        x = self.token(ids) + self.position  # (B, T, H)
        for block in self.blocks:
            qkv = block["qkv"](block["norm1"](x)).view(B, T, 3, self.num_heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, nh, T, hs) each
            x = x + attention_by_hand(q, k, v, mask).transpose(1, 2).flatten(2)
            x = x + block["down"](torch.relu(block["up"](block["norm2"](x))))
        return self.out(self.norm(x))


def train_bert(sentences):
    split = [[tuple("_" + word) for word in sentence.split()] for sentence in sentences]
    counts = Counter(word for words in split for word in words)
    letters = sorted({letter for word in counts for letter in word})
    tokens, merges = reference.train(counts, letters, len(letters) + 60)
    rows = []
    for words in split:
        pieces = [piece for word in words for piece in reference.encode_word(word, merges)]
        rows.append([1, *(4 + tokens.index(piece) for piece in pieces), 2])
    T = max(map(len, rows))
    ids = torch.tensor([row + [0] * (T - len(row)) for row in rows])  # (B, T)
    torch.manual_seed(0)
    model = TrainedBert(4 + len(tokens), T)
    optimizer = torch.optim.AdamW(model.parameters())
    masker = Masker(4 + len(tokens), mask_token_id=3, special_ids=range(4), mlm_probability=0.3)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = 4e-3 * stable_schedule(step / 250, 0.1, 0.3)
        corrupted, labels = map(torch.from_numpy, masker(ids, 0, step, range(len(ids))))
        logits = model(corrupted)  # (B, T, V)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ids, model


@torch.no_grad()
def knows_its_sentences(trained):
    """Return PASSED if (ids, model) gives back 95 of 100 tokens, each masked alone."""
    if not isinstance(trained, (tuple, list)) or len(trained) != 2:
        return "the result is not (ids, model)"
    ids, model = trained
    if not isinstance(ids, torch.Tensor) or ids.dtype != torch.int64 or ids.shape[:-1] != (32,):
        return "ids is not a tensor of int64 of the shape (32, T)"
    right = asked = 0
    for t in range(ids.shape[1]):
        rows = ids[:, t] > 3  # not padding and special tokens
        if rows.any():
            seen = ids[rows].clone()
            seen[:, t] = 3
            logits = model(seen)
            if logits.shape[:-1] != seen.shape:
                return f"the model maps {(*seen.shape,)} to {(*logits.shape,)}, not to (B, T, V)"
            right += (logits[:, t].argmax(-1) == ids[rows, t]).sum().item()
            asked += len(seen)
    if asked < 32 * 10:
        return f"{asked} tokens in 32 sentences are too few"
    return PASSED if right >= 0.95 * asked else f"{right} of {asked} tokens are right"


# The inputs


def word_counts():
    cases = [{("n", "e", "t"): 4, ("n", "e", "t", "s"): 2}, {("a", "a", "a"): 5}, {("a",): 3}, {}]
    rng = random.Random(1)
    for _ in range(5):
        cases.append({tuple(rng.choices("abc", k=rng.randint(1, 6))): rng.randint(1, 9)
                      for _ in range(8)})
    return [{"words": words} for words in cases]


def merges():
    """Pairs of different tokens, of equal ones, absent ones, and of longer tokens."""
    cases = [(tuple("knot"), ("o", "t")), (tuple("aaa"), ("a", "a")), (tuple("aaaa"), ("a", "a")),
             ((), ("a", "b")), (("net", "s"), ("net", "s"))]
    rng = random.Random(2)
    for _ in range(12):
        word = tuple(rng.choices("ab", k=rng.randint(1, 9)))
        cases.append((word, ("a", rng.choice("ab"))))
    return [{"word": word, "pair": pair, "merged": "".join(pair)} for word, pair in cases]


def pair_statistics():
    """The three of chapter 4, and pairs with occurrences of one piece, of both or of none left."""
    cases = [(3, 3, 3, 40), (4, 8, 8, 40), (1, 1, 1, 40), (2, 2, 9, 40), (5, 7, 6, 13),
             (1000, 4000, 1500, 10**7)]
    return [{"k": k, "left": left, "right": right, "total": total}
            for k, left, right, total in cases]


def mask_cases():
    """Return [(arguments, the masker's result)], first a short row that is easy to read."""
    cases = []
    for seed, (rows, length, probability) in enumerate(((1, 8, 0.5), (4, 12, 0.15), (4, 12, 1.0))):
        ids = np.random.default_rng(seed).integers(5, 50, (rows, length))
        ids[:, 0] = 2  # [CLS]
        ids[:, -1] = 3  # [SEP]
        ids[3:, 1:] = 0  # the last row is all padding
        masker = Masker(vocab_size=50, mask_token_id=4, special_ids=range(5),
                        mlm_probability=probability)
        draw = uniform(seed, 0, range(rows), length, REPLACEMENT)
        choices = (draw * len(masker.ordinary_ids)).astype(np.int64)
        arguments = {
            "input_ids": ids,
            "is_special": masker.is_special[ids],
            "select": uniform(seed, 0, range(rows), length, SELECT),
            "action": uniform(seed, 0, range(rows), length, ACTION),
            "replacement": masker.ordinary_ids[choices],
            "mask_token_id": 4,
            "probability": probability,
        }
        cases.append((arguments, masker(ids, seed, 0, range(rows))))
    return cases


def mask_inputs():
    return [arguments for arguments, _ in mask_cases()]


def attention_inputs():
    """Queries, keys and values, without a mask or with one that hides the last keys."""
    generator = torch.Generator().manual_seed(3)
    cases = []
    for shape, num_hidden in (((1, 1, 2, 4), 0), ((2, 3, 5, 8), 0), ((2, 3, 5, 8), 2),
                              ((1, 2, 7, 16), 3)):
        case = {name: torch.randn(shape, generator=generator) for name in "qkv"}
        case["mask"] = None
        if num_hidden:
            mask = torch.zeros(shape[0], 1, 1, shape[2])
            mask[..., -num_hidden:] = torch.finfo(torch.float32).min / 2
            case["mask"] = mask
        cases.append(case)
    return cases


def schedule_inputs():
    """Moments of three schedules, including the ends of the run and the corners."""
    cases = []
    for warmup, decay in ((0.1, 0.2), (0.06, 0.3), (0.5, 0.5)):
        for progress in (0.0, 0.03, warmup, 0.3, 1 - decay, 0.9, 1.0):
            cases.append({"progress": progress, "warmup": warmup, "decay": decay})
    return cases


def lora_inputs():
    """Matrices of several shapes; the rank is not always 1, and alpha not always the rank."""
    generator = torch.Generator().manual_seed(4)
    cases = []
    for rows, columns, rank, alpha in ((2, 3, 1, 1.0), (4, 4, 2, 2.0), (6, 5, 2, 16.0),
                                       (8, 16, 4, 1.0)):
        cases.append({"weight": torch.randn(rows, columns, generator=generator),
                      "a": torch.randn(rank, columns, generator=generator),
                      "b": torch.randn(rows, rank, generator=generator), "alpha": alpha})
    return cases


def causal_inputs():
    """Logits of one short text, and of texts with padding."""
    generator = torch.Generator().manual_seed(5)
    cases = []
    for lengths, V in (((3,), 4), ((5, 5), 7), ((6, 2, 1), 9)):
        shape = (len(lengths), max(lengths))
        is_token = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
        cases.append({"logits": torch.randn(*shape, V, generator=generator),
                      "input_ids": torch.randint(V, shape, generator=generator),
                      "is_token": is_token})
    return cases


def distances():
    """Each single bucket, both ends, and distances that are not where a bucket begins."""
    return [{"distance": distance} for distance in (0, 1, 15, 17, 20, 30, 50, 100, 127, 129, 5000)]


def mask_sizes():
    """Without a window, with small ones, and with one that is longer than the text."""
    return [{"length": length, "window": window}
            for length, window in ((3, None), (1, None), (5, 4), (6, 2), (9, 6), (4, 10))]


def span_inputs():
    """Spans inside, at the start, at the end, next to each other, and none."""
    cases = [(range(10, 15), [(1, 3)]), (range(20, 30), [(2, 4), (7, 8)]),
             (range(30, 36), [(0, 2), (4, 6)]), (range(40, 46), [(1, 2), (2, 5)]), ([7, 7, 8], [])]
    return [{"ids": list(ids), "spans": spans, "sentinel_ids": [90, 91, 92]}
            for ids, spans in cases]


def sentences():
    """The first 32 sentences of the book's sample."""
    text = (Path(__file__).parents[1] / "docs/book/sample.txt").read_text(encoding="utf-8")
    lines = [" ".join(re.findall(r"\w+", line.lower())) for line in text.splitlines()]
    return [{"sentences": [line for line in lines if line][:32]}]


EXERCISES = (
    Exercise("1_count_pairs", "count_pairs", count_pairs, word_counts),
    Exercise("2_apply_merge", "apply_merge", reference.merge, merges),
    Exercise("3_score_pair", "score_pair", gain, pair_statistics),
    Exercise("4_mask_tokens", "mask_tokens", mask_tokens, mask_inputs),
    Exercise("5_attention", "attention", attention_by_hand, attention_inputs),
    Exercise("6_schedule", "lr_multiplier", stable_schedule, schedule_inputs),
    Exercise("7_merge_lora", "merge_lora", merge_lora, lora_inputs),
    Exercise("8_next_token_loss", "next_token_loss", next_token_loss, causal_inputs),
    Exercise("9_relative_bucket", "relative_bucket", relative_bucket, distances),
    Exercise("10_causal_mask", "causal_mask", causal_mask, mask_sizes),
    Exercise("11_corrupt_spans", "corrupt_spans", replace_spans, span_inputs),
    Exercise("12_train_bert", "train_bert", train_bert, sentences, knows_its_sentences),
)

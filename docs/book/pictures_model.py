"""The pictures of chapters 5 to 8: batches, masks, attention, the loss. One function each; what it draws, the product computes."""
import json
import math
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from drawing import COLORS, GREY, INK, PALE, PAPER, TINTS, Axes, Drawing

from data import prepare
from minibert.attention import attention_biases, rope_table
from minibert.batches import epoch_order
from minibert.config import BertConfig
from minibert.examples import make_examples
from minibert.masking import IGNORE_INDEX, Masker
from minibert.model import BertForMaskedLM
from tokenizer import WordPiece
from tokenizer.word_starts import WordStarts

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BLOCKS = {"bert": "post-norm, learned positions", "modernbert": "pre-norm, rotary positions"}
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def examples_of(kind, texts, words, max_length):
    """The examples of a few texts, by a vocabulary of just these words -> (tokenizer, list of arrays of ids)"""
    tokenizer = WordPiece([*SPECIAL, *words])
    with tempfile.TemporaryDirectory() as folder:
        tokens = prepare(texts, tokenizer, Path(folder, "tokens"), workers=1, show_progress=False)
        return tokenizer, [*make_examples(kind, tokens, tokenizer, max_length).at(0, 0)]


def chapter_05_batches():
    """Above: one small token file as three kinds of example. Below: lines as batches, in shuffled order and in buckets."""
    drawing = Drawing(760, 556, "The same ids as lines, documents and blocks; and what is padded with and without buckets")
    texts = ["the cat sat\nthe cat ran", "a dog slept"]
    words = ("a", "cat", "dog", "ran", "sat", "slept", "the")
    tint = {word: TINTS[word in texts[1]] for word in words}
    drawing.text(20, 28, "One token file, three kinds of example of at most six places", 15, bold=True)
    for row, kind in enumerate(("on disk", "lines", "documents", "blocks")):
        y = 44 + 40 * row
        drawing.text(20, y + 19, kind, 13)
        if kind == "on disk":
            examples = [text.split() for text in texts[0].split("\n") + texts[1:]]
        else:
            tokenizer, found = examples_of(kind, texts, words, 6)
            examples = [[tokenizer.id_to_token(int(i)) for i in example] for example in found]
        x = 104
        for example in examples:
            for token in example:
                drawing.box(x, y, 40, 28, token, tint.get(token, PAPER), 11, stroke=GREY, colour=INK if token in tint else GREY)
                x += 40
            x += 0 if kind == "on disk" else 12
        if kind == "blocks":
            drawing.text(x + 4, y + 19, "left out: dog slept [SEP]", 12, colour=GREY)
    padding(drawing)
    return drawing


def padding(drawing, top=232, batch_size=8, wide=5, high=2.6):
    """The lower half of chapter 5's picture: 96 lines as twelve batches, row by row."""
    rng = random.Random(0)
    texts = ["ran " * min(60, 2 + int(rng.expovariate(1 / 12))) for _ in range(96)]
    tokenizer = WordPiece([*SPECIAL, "ran"])
    with tempfile.TemporaryDirectory() as folder:
        lines = make_examples("lines", prepare(texts, tokenizer, Path(folder, "tokens"), workers=1, show_progress=False), tokenizer, 64)
        orders = {"as they come": np.split(np.arange(96), 12), "in buckets": list(epoch_order(lines.lengths, batch_size, seed=0, epoch=0))}
    for side, (name, order) in enumerate(orders.items()):
        left, y = 20 + 370 * side, top + 36
        computed = sum(len(numbers) * int(lines.lengths[numbers].max()) for numbers in order)
        drawing.text(left, top + 4, f"Twelve batches of eight lines, {name}:", 13, bold=True)
        drawing.text(left, top + 22, f"{computed:,} places computed for {int(lines.lengths.sum()):,} ids", 13, colour=GREY)
        for numbers in order:
            drawing.rect(left, y, wide * int(lines.lengths[numbers].max()), high * len(numbers), PALE)
            for number in numbers:
                drawing.rect(left, y, wide * int(lines.lengths[number]), high - 0.5, COLORS[0])
                y += high
    drawing.rect(20, 548 - 10, 12, 8, COLORS[0])
    drawing.text(38, 546, "ids", 12)
    drawing.rect(80, 548 - 10, 12, 8, PALE)
    drawing.text(98, 546, "padding: computed, and good for nothing", 12)


def chapter_06_masking():
    """One sentence in seven epochs under each objective: what the model sees, and what it is asked."""
    sentence = "em ##bed ##ding ##s give each to ##ken a vec ##tor of num ##bers that learn ##ing moves".split()
    tokenizer = WordPiece([*SPECIAL, *sentence, *(f"other{number}" for number in range(500))])  # a random one is hardly ever the true one
    ids = np.array([[tokenizer.token_to_id(token) for token in sentence]])
    cell, left, epochs = 39, 126, 7
    drawing = Drawing(left + cell * len(sentence) + 16, 470, "What is masked in seven epochs: tokens, whole words, spans of words")
    fills = {"[MASK]": COLORS[0], "a random token": COLORS[1], "unchanged, but asked": COLORS[2], "not asked": PALE}
    for column, token in enumerate(sentence):
        drawing.text(left + cell * column + cell / 2, 24, token, 11, "middle")
    for panel, objective in enumerate(("tokens", "words", "spans")):
        masker, top = Masker(tokenizer.vocab_size, 4, range(5), 0.3, objective, WordStarts(tokenizer)), 40 + 132 * panel
        drawing.text(16, top + 14, objective, 14, bold=True)
        for epoch in range(epochs):
            seen, labels = masker(ids, seed=26, epoch=epoch, examples=[0])
            y = top + 17 * epoch
            drawing.text(left - 8, y + 12, f"epoch {epoch}", 10, "end", GREY)
            for column in range(len(sentence)):
                told = seen[0, column]
                kind = "not asked" if labels[0, column] == IGNORE_INDEX else "[MASK]" if told == 4 else \
                    "unchanged, but asked" if told == ids[0, column] else "a random token"
                joined = column + 1 < len(sentence) and sentence[column + 1].startswith("##")
                drawing.rect(left + cell * column, y, cell - (0 if joined else 4), 14, fills[kind])
    x = left
    for kind, fill in fills.items():
        drawing.rect(x, 444, 14, 12, fill)
        drawing.text(x + 20, 455, kind, 12)
        x += 60 + 7 * len(kind)
    return drawing


def chapter_07_attention():
    """Above: which keys each query may see. Below: scores against distance under rotary positions; gradients under post-norm and pre-norm."""
    drawing = Drawing(760, 610, "Which keys a query may see; rotary positions: the score against the distance; the gradient of each block")
    config, tokens, cell = BertConfig(family="modernbert", local_attention=6), 16, 12
    real = torch.tensor([[1] * 12 + [0] * 4])
    titles = (("All see all but padding", "BERT; every third layer of ModernBERT"),
              ("A window of three to each side", "ModernBERT's other layers, made small"))
    for panel, mask in enumerate(attention_biases(config, real, tokens, torch.float32, "cpu")):
        left, top = 70 + 370 * panel, 62
        drawing.text(left, 28, titles[panel][0], 14, bold=True)
        drawing.text(left, 48, titles[panel][1], 12, colour=GREY)
        visible = (mask == 0).expand(1, 1, tokens, tokens)[0, 0].tolist()
        for query in range(tokens):
            for key in range(tokens):
                drawing.rect(left + cell * key, top + cell * query, cell - 1, cell - 1, COLORS[0] if visible[query][key] else PALE)
        drawing.text(left + cell * tokens / 2, top + cell * tokens + 18, "keys: 12 tokens, 4 of padding", 12, "middle", GREY)
        drawing.text(left - 10, top + cell * tokens / 2, "queries", 12, "middle", GREY, turn=-90)
    rotary_curves(drawing)
    gradient_curves(drawing)
    return drawing


def rotary_curves(drawing, left=70, top=350, distances=64):
    """The score of two equal vectors that rotary positions have turned, as a share of what it is side by side."""
    drawing.text(left, top - 22, "Rotary: the score of two equal vectors", 14, bold=True)
    axes = Axes(drawing, left, top, 270, 200, xs=(0, distances), ys=(0, 1), xticks=range(0, 65, 16), yticks=(0, 0.5, 1),
                xlabel="distance in tokens")
    for colour, base in zip(COLORS, (10_000, 160_000)):
        cos = rope_table(base, BertConfig(family="modernbert"))[0].double()  # (positions, hs/2)
        points = [(distance, round(cos[distance].mean().item(), 3)) for distance in range(distances + 1)]
        axes.curve(points, colour)
        axes.text(distances, points[-1][1] + (0.09 if base > 10_000 else -0.12), f"base {base:,}", size=12, anchor="end", colour=colour)


class PreNorm(BertConfig):
    """BERT with the norms of ModernBERT and nothing else of it."""
    pre_norm = True


def gradients(config_class, blocks=12, std=0.09):
    """The length of the gradient of each block's MLP in a fresh encoder of that kind; the same weights for each kind."""
    model = BertForMaskedLM(config_class(vocab_size=500, hidden_size=128, num_hidden_layers=blocks, num_attention_heads=4, intermediate_size=512,
                                         max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).double()
    random = torch.Generator().manual_seed(0)
    for weights in model.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=std, generator=random)
    ids = torch.randint(5, 500, (8, 32), generator=random)
    model(ids, labels=torch.where(torch.rand(8, 32, generator=random) < 0.15, ids, IGNORE_INDEX)).loss.backward()
    return [float(f"{block.mlp.down_proj.weight.grad.norm().item():.2g}") for block in model.bert.blocks]


def gradient_curves(drawing, left=440, top=350):
    """Lengths of gradients in fresh encoders, block by block."""
    drawing.text(left, top - 22, "Gradient of each block's mlp.down_proj.weight", 14, bold=True)
    axes = Axes(drawing, left, top, 270, 200, xs=(1, 12), ys=(0, 3), xticks=(1, 4, 8, 12), yticks=(0, 1, 2, 3), xlabel="block",
                ylabel="length of the gradient")
    for colour, name, config_class, height in zip(COLORS, ("post-norm", "pre-norm"), (BertConfig, PreNorm), (2.72, 0.95)):
        points = list(enumerate(gradients(config_class), start=1))
        axes.curve(points, colour)
        axes.dots(points, colour)
        axes.text(7, height, name, size=12, anchor="middle", colour=colour)


def chapter_08_loss():
    """Held-out loss on a language with known entropies, with two kinds of block (benchmarks/plateau.py)."""
    result = json.loads((RESULTS / "plateau.json").read_text(encoding="utf-8"))
    steps, top = result["steps"], math.ceil(result["ln_vocab"])
    drawing = Drawing(760, 380, "Held-out loss of two encoders on a made-up language")
    axes = Axes(drawing, 70, 30, 660, 280, xs=(0, steps), ys=(0, top), xticks=range(0, steps + 1, steps // 5), yticks=range(top + 1),
                xlabel="optimiser step", ylabel="held-out loss, nats")
    for name, height in (("ln V: nothing is known", result["ln_vocab"]), ("unigram entropy: frequencies are known", result["unigram_entropy"]),
                         ("copying: so is what was left unmasked", result["copying_loss"])):
        axes.curve([(0, height), (steps, height)], GREY, 1.5, dashed=True)
        above = 0.12 if height != result["copying_loss"] else -0.3
        axes.text(steps, height + above, f"{name}, {height:.2f}", size=12, anchor="end", colour=GREY)
    for colour, (name, points) in zip(COLORS, result["curves"].items()):
        axes.curve(points, colour)
        above = 0.4 if points[-1][1] < 2 else -0.45  # clear of the lines
        axes.text(points[-1][0], points[-1][1] + above, f"{name}: {BLOCKS[name]}", size=13, anchor="end", colour=colour)
    return drawing

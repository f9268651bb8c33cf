"""The pictures of chapters 5 to 8: batches, masks, attention, the loss.

There is one function per picture. What it draws is computed by the project's own functions.
"""
import json
import math
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from drawing import COLORS, GREY, INK, PALE, PAPER, TINTS, Axes, Drawing

from data import prepare
from minibert.attention import attention_biases, attention_weights, rope_table
from minibert.batches import epoch_order
from minibert.config import BertConfig
from minibert.examples import make_examples
from minibert.masking import IGNORE_INDEX, Masker
from minibert.model import BertForMaskedLM
from tokenizer import WordPiece
from tokenizer.word_starts import WordStarts

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MASK_ID = 4
BLOCK_TITLES = {"bert": "post-norm, learned positions",
                "modernbert": "pre-norm, rotary positions"}
PLATEAU = Path(__file__).parents[2] / "benchmarks" / "results" / "plateau.json"


def examples_of(kind, texts, words, max_length):
    """Return (tokenizer, list of ids) of a few texts, whose words are the vocabulary."""
    tokenizer = WordPiece([*SPECIAL, *words])
    with tempfile.TemporaryDirectory() as folder:
        tokens = prepare(texts, tokenizer, Path(folder, "tokens"), workers=1, show_progress=False)
        return tokenizer, list(make_examples(kind, tokens, tokenizer, max_length).at(0, 0))


def chapter_05_batches():
    """Above: a token file as three kinds of examples. Below: batches with and without buckets."""
    drawing = Drawing(760, 556, "The same ids as lines, documents and packed sequences; and the "
                                "padding with and without buckets")
    texts = ["the cat sat\nthe cat ran", "a dog slept"]
    words = ("a", "cat", "dog", "ran", "sat", "slept", "the")
    drawing.text(20, 28, "One token file, three kinds of examples of at most six tokens", 15,
                 bold=True)
    on_disk = [text.split() for text in texts[0].split("\n") + texts[1:]]
    draw_examples(drawing, 44, "on disk", on_disk, texts[1], gap=0)
    titles = {"lines": "lines", "documents": "documents", "blocks": "packed"}
    for row, (kind, title) in enumerate(titles.items(), start=1):
        tokenizer, ids = examples_of(kind, texts, words, 6)
        examples = [[tokenizer.id_to_token(int(i)) for i in example] for example in ids]
        end = draw_examples(drawing, 44 + 40 * row, title, examples, texts[1])
    drawing.text(end + 4, 44 + 40 * 3 + 19, "left out: dog slept [SEP]", 12, color=GREY)
    draw_padding(drawing)
    return drawing


def draw_examples(drawing, y, title, examples, second_text, gap=12):
    """Draw examples (lists of tokens) in a row. Return the x where it ends."""
    drawing.text(20, y + 19, title, 13)
    x = 104
    for example in examples:
        for token in example:
            is_special = token in SPECIAL
            fill = PAPER if is_special else TINTS[token in second_text]
            drawing.box(x, y, 40, 28, token, fill, 11, stroke=GREY,
                        color=GREY if is_special else INK)
            x += 40
        x += gap
    return x


def draw_padding(drawing, top=232, batch_size=8, width=5, height=2.6):
    """Draw 96 lines as twelve batches, row by row, in two orders."""
    rng = random.Random(0)
    texts = ["ran " * min(60, 2 + int(rng.expovariate(1 / 12))) for _ in range(96)]
    _, lines = examples_of("lines", texts, ["ran"], 64)
    lengths = np.array([len(line) for line in lines])
    orders = {"as they come": np.split(np.arange(96), 12),
              "in buckets": list(epoch_order(lengths, batch_size, seed=0, epoch=0))}
    for side, (name, batches) in enumerate(orders.items()):
        left = 20 + 370 * side
        y = top + 36
        num_computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
        drawing.text(left, top + 4, f"Twelve batches of eight lines, {name}:", 13, bold=True)
        drawing.text(left, top + 22,
                     f"{num_computed:,} positions computed for {int(lengths.sum()):,} ids", 13,
                     color=GREY)
        for batch in batches:
            longest = int(lengths[batch].max())
            drawing.rect(left, y, width * longest, height * len(batch), PALE)
            for i in batch:
                drawing.rect(left, y, width * int(lengths[i]), height - 0.5, COLORS[0])
                y += height
    drawing.rect(20, 538, 12, 8, COLORS[0])
    drawing.text(38, 546, "ids", 12)
    drawing.rect(80, 538, 12, 8, PALE)
    drawing.text(98, 546, "padding: computed, but not used", 12)


def chapter_06_masking():
    """One sentence in seven epochs under each objective: the inputs and the labels."""
    sentence = ("em ##bed ##ding ##s give each to ##ken a vec ##tor of num ##bers that learn ##ing "
                "moves").split()
    # With 500 other tokens, a random one is hardly ever the true one.
    tokenizer = WordPiece([*SPECIAL, *sentence, *(f"other{i}" for i in range(500))])
    ids = np.array([[tokenizer.token_to_id(token) for token in sentence]])
    cell = 39  # width of a token in pixels
    left = 126
    drawing = Drawing(left + cell * len(sentence) + 16, 470,
                      "Masks in seven epochs: tokens, whole words, spans of words")
    fills = {"[MASK]": COLORS[0], "a random token": COLORS[1], "unchanged": COLORS[2],
             "not selected": PALE}
    for column, token in enumerate(sentence):
        drawing.text(left + cell * column + cell / 2, 24, token, 9, "middle")
    for panel, masking in enumerate(("tokens", "words", "spans")):
        masker = Masker(tokenizer.vocab_size, MASK_ID, range(5), 0.3, masking,
                        WordStarts(tokenizer))
        top = 40 + 132 * panel
        drawing.text(16, top + 14, masking, 14, bold=True)
        for epoch in range(7):
            corrupted, labels = masker(ids, seed=26, epoch=epoch, examples=[0])
            y = top + 17 * epoch
            drawing.text(left - 8, y + 12, f"epoch {epoch}", 10, "end", GREY)
            for column in range(len(sentence)):
                kind = mask_kind(ids[0, column], corrupted[0, column], labels[0, column])
                next_token = sentence[column + 1] if column + 1 < len(sentence) else ""
                gap = 0 if next_token.startswith("##") else 4
                drawing.rect(left + cell * column, y, cell - gap, 14, fills[kind])
    x = left
    for kind, fill in fills.items():
        drawing.rect(x, 444, 14, 12, fill)
        drawing.text(x + 20, 455, kind, 12)
        x += 60 + 7 * len(kind)
    return drawing


def mask_kind(true_id, input_id, label):
    if label == IGNORE_INDEX:
        return "not selected"
    if input_id == MASK_ID:
        return "[MASK]"
    return "unchanged" if input_id == true_id else "a random token"


def chapter_07_visible_keys():
    """The keys that each query sees, in global and in local layers."""
    drawing = Drawing(760, 286, "The keys that each query sees, in global and in local layers")
    config = BertConfig(family="modernbert", local_attention=6)
    num_tokens = 16
    cell = 12
    attention_mask = torch.tensor([[1] * 12 + [0] * 4])
    titles = (("All but padding", "BERT; every third layer of ModernBERT"),
              ("A window of three to each side", "ModernBERT's other layers, made small"))
    biases = attention_biases(config, attention_mask, num_tokens, torch.float32, "cpu")
    for panel, bias in enumerate(biases):
        left = 70 + 370 * panel
        top = 62
        title, subtitle = titles[panel]
        drawing.text(left, 28, title, 14, bold=True)
        drawing.text(left, 48, subtitle, 12, color=GREY)
        visible = (bias == 0).expand(1, 1, num_tokens, num_tokens)[0, 0].tolist()
        for query in range(num_tokens):
            for key in range(num_tokens):
                fill = COLORS[0] if visible[query][key] else PALE
                drawing.rect(left + cell * key, top + cell * query, cell - 1, cell - 1, fill)
        size = cell * num_tokens
        drawing.text(left + size / 2, top + size + 18, "keys: 12 tokens, 4 of padding", 12,
                     "middle", GREY)
        drawing.text(left - 10, top + size / 2, "queries", 12, "middle", GREY, rotate=-90)
    return drawing


def chapter_07_one_query():
    """Attention of one query: scores, weights, and the weighted sum of the values."""
    tokens = ["the", "cat", "sleeps", ",", "it"]
    q = torch.tensor([2.0, 1.0])  # of the last token
    k = torch.tensor([[-0.5, 0.5], [1.5, 1.0], [0.5, -0.5], [-1.0, 0.0], [0.5, 0.5]])
    v = torch.tensor([[0.0, 1.0], [4.0, 2.0], [1.0, -3.0], [0.0, 0.0], [-1.0, 1.0]])
    weights = attention_weights(q[None, None, None], k[None, None]).flatten()  # (5,)
    output = weights @ v  # (2,)
    drawing = Drawing(760, 452, "One query against five keys: scores, weights, weighted sum")
    left, column = 190, 114  # the first column, and from one column to the next
    labels = ((40, "token", ""), (90, "key k", "from the token's vector"),
              (166, "score", "q · k / √2"), (216, "weight", "softmax of the scores"),
              (312, "value v", "from the token's vector"), (380, "weight × value", ""),
              (424, "output for “it”", "the sum"))
    for y, name, detail in labels:
        drawing.text(20, y, name, 14, bold=True)
        drawing.text(20, y + 17, detail, 11, color=GREY)

    def pair(vector, digits):
        return "(" + ", ".join(f"{number:.{digits}f}" for number in vector.tolist()) + ")"

    last = left + column * (len(tokens) - 1) + 45
    drawing.box(last - 50, 118, 100, 24, f"query q = {pair(q, 0)}", TINTS[1], 11)
    for i, token in enumerate(tokens):
        x = left + column * i
        score = (k[i] @ q).item() / math.sqrt(2)
        drawing.box(x, 22, 90, 26, token, TINTS[1] if i == len(tokens) - 1 else PALE)
        drawing.box(x, 76, 90, 26, pair(k[i], 1), TINTS[0], 12)
        if x + 90 < last - 50:
            drawing.line(last - 50, 130, x + 45, 104, GREY, 1, arrow=True)
        drawing.text(x + 45, 171, f"{score:.2f}", 14, "middle")
        height = 60 * weights[i].item()
        drawing.rect(x + 15, 252 - height, 60, height, COLORS[0])
        drawing.text(x + 45, 270, f"{weights[i]:.2f}", 14, "middle")
        drawing.box(x, 298, 90, 26, pair(v[i], 0), TINTS[2], 12)
        drawing.text(x + 45, 384, pair(weights[i] * v[i], 2), 12, "middle")
    drawing.box(left, 414, column * 4 + 90, 26, pair(output, 2), TINTS[2])
    return drawing


def chapter_07_rotary_scores(max_distance=64):
    """The score of two equal vectors by distance, relative to that at distance 0."""
    drawing = Drawing(460, 300, "Rotary positions: the score of two equal vectors by distance")
    drawing.text(70, 28, "Rotary: the score of two equal vectors", 14, bold=True)
    axes = Axes(drawing, 70, 50, 360, 200, x_range=(0, max_distance), y_range=(0, 1),
                x_ticks=range(0, 65, 16), y_ticks=(0, 0.5, 1), x_label="distance in tokens")
    for color, base in zip(COLORS, (10_000, 160_000)):
        cos = rope_table(base, BertConfig(family="modernbert"))[0].double()  # (positions, hs/2)
        points = [(distance, round(cos[distance].mean().item(), 3))
                  for distance in range(max_distance + 1)]
        axes.curve(points, color)
        label_y = points[-1][1] + (0.09 if base > 10_000 else -0.12)
        axes.text(max_distance, label_y, f"base {base:,}", size=12, anchor="end", color=color)
    return drawing


class PreNorm(BertConfig):
    """BERT with only one change: the norms are in the places of ModernBERT's."""
    pre_norm = True


def gradient_norms(config_class, num_blocks=12, std=0.09):
    """Return the gradient norm of each block's MLP in a fresh encoder with fixed weights."""
    config = config_class(
        vocab_size=500, hidden_size=128, num_hidden_layers=num_blocks, num_attention_heads=4,
        intermediate_size=512, max_position_embeddings=32, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0)
    model = BertForMaskedLM(config).double()
    generator = torch.Generator().manual_seed(0)
    for weights in model.parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=std, generator=generator)
    ids = torch.randint(5, 500, (8, 32), generator=generator)
    is_masked = torch.rand(8, 32, generator=generator) < 0.15
    model(ids, labels=torch.where(is_masked, ids, IGNORE_INDEX)).loss.backward()
    norms = [block.mlp.down_proj.weight.grad.norm().item() for block in model.bert.blocks]
    return [float(f"{norm:.2g}") for norm in norms]


def chapter_07_gradients():
    """The gradient norms of two fresh encoders by block."""
    drawing = Drawing(460, 300, "The gradient norm of each block, post-norm and pre-norm")
    drawing.text(70, 28, "Gradient norm of down_proj, by block", 14, bold=True)
    axes = Axes(drawing, 70, 50, 360, 200, x_range=(1, 12), y_range=(0, 3),
                x_ticks=(1, 4, 8, 12), y_ticks=(0, 1, 2, 3), x_label="block",
                y_label="gradient norm")
    kinds = (("post-norm", BertConfig, 2.72), ("pre-norm", PreNorm, 0.95))
    for color, (name, config_class, label_y) in zip(COLORS, kinds):
        points = list(enumerate(gradient_norms(config_class), start=1))
        axes.curve(points, color)
        axes.dots(points, color)
        axes.text(7, label_y, name, size=12, anchor="middle", color=color)
    return drawing


def chapter_08_loss():
    """The validation loss of two kinds of block on a language with known entropies."""
    result = json.loads(PLATEAU.read_text(encoding="utf-8"))
    steps = result["steps"]
    top = math.ceil(result["ln_vocab"])
    drawing = Drawing(760, 380, "Validation loss of two encoders on a made-up language")
    axes = Axes(drawing, 70, 30, 660, 280, x_range=(0, steps), y_range=(0, top),
                x_ticks=range(0, steps + 1, steps // 5), y_ticks=range(top + 1),
                x_label="optimizer step", y_label="validation loss, nats")
    levels = (("ln V: nothing is known", "ln_vocab", 0.12),
              ("unigram entropy: frequencies are known", "unigram_entropy", 0.12),
              ("copying loss: unmasked tokens are known too", "copying_loss", -0.3))
    for title, key, offset in levels:
        height = result[key]
        axes.curve([(0, height), (steps, height)], GREY, 1.5, dashed=True)
        axes.text(steps, height + offset, f"{title}, {height:.2f}", size=12, anchor="end",
                  color=GREY)
    for color, (family, points) in zip(COLORS, result["curves"].items()):
        axes.curve(points, color)
        step, loss = points[-1]
        offset = 0.4 if loss < 2 else -0.45  # away from the lines
        axes.text(step, loss + offset, f"{family}: {BLOCK_TITLES[family]}", size=13, anchor="end",
                  color=color)
    return drawing

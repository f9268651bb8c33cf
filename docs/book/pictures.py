"""Draw the pictures of the book.

    python docs/book/pictures.py [--only 03]

There is one function per picture, and the file is named after it: ``chapter_03_byte_pairs`` draws
docs/book/pictures/03-byte-pairs.svg. A function returns a ``Drawing`` or the bytes of a .png. It
depends only on the code and the results files of this repository, so a test can draw all pictures
again and compare. Chapters 0 to 4 are in this file, 5 to 8 in pictures_model.py, 9 to 12 in
pictures_training.py, and 13 and 14 in pictures_generation.py.
"""
import importlib
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # drawing.py and this checkout
import tiny_bert  # noqa: E402
import torch  # noqa: E402
from drawing import COLORS, GREY, INK, PALE, PAPER, TINTS, Axes, Drawing  # noqa: E402

from data.corpora import open_corpus  # noqa: E402
from data.splits import eval_lines_per_document  # noqa: E402
from tokenizer.normalize import BertNormalizer  # noqa: E402
from tokenizer.pretokenize import bert_words, gpt2_words  # noqa: E402
from tokenizer.reference import byte_symbols, merge, train  # noqa: E402
from tokenizer.trainers.likelihood import gain  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

FOLDER = HERE / "pictures"
MODULES = ("pictures", "pictures_model", "pictures_training", "pictures_generation")


class TokenColumns:
    """Stages of a model from top to bottom, with a column for each token.

    fills: the colors of the tokens
    """

    LEFT, COLUMN = 20, 53  # from one token to the next

    def __init__(self, drawing, fills):
        self.drawing, self.fills = drawing, fills
        self.right = self.LEFT + self.COLUMN * len(fills) - 3
        self.centers = [self.LEFT + self.COLUMN * i + 25 for i in range(len(fills))]

    def stage(self, y, title, shape=""):
        self.drawing.text(self.LEFT, y, title, 13, bold=True)
        self.drawing.text(self.right + 18, y, shape, 13, mono=True)

    def boxes(self, y, texts):
        for center, text, fill in zip(self.centers, texts, self.fills):
            self.drawing.box(center - 25, y, 50, 24, text, fill, 11)

    def vectors(self, y):
        for center, fill in zip(self.centers, self.fills):
            for i in range(4):
                self.drawing.rect(center - 7, y + 8 * i, 14, 8, fill, GREY)

    def arrows(self, y, length=14):
        for center in self.centers:
            self.drawing.line(center, y, center, y + length, arrow=True)

    def bar(self, y, text):
        self.drawing.box(self.LEFT + 6, y, self.right - self.LEFT - 12, 22, text, PAPER, 12)

    def frame(self, y, height):
        self.drawing.rect(self.LEFT - 8, y, self.right - self.LEFT + 16, height, PAPER, COLORS[0],
                          radius=6)


def chapter_00_bert_in_twenty_minutes():
    """The tiny BERT of the chapter with one masked sentence, and the shape at each stage."""
    drawing = Drawing(860, 634, "From token ids to the loss: embeddings, two blocks, the MLM head")
    ids = torch.tensor([tiny_bert.encode("the small cat likes fish but the big dog likes bones")])
    torch.manual_seed(2275)  # a seed with one token of each kind: masked, random, unchanged
    seen, labels = tiny_bert.mask_tokens(ids)
    tokens = [tiny_bert.VOCAB[i] for i in seen[0]]
    answers = [tiny_bert.VOCAB[i] if i >= 0 else "-100" for i in labels[0]]
    fills = [PALE] * tiny_bert.T
    for token, tint in zip(("[MASK]", "bee", "cat"), TINTS):
        fills[tokens.index(token)] = tint
    columns = TokenColumns(drawing, fills)
    columns.stage(22, "the sentence with its masks: token ids", "(B, T)")
    columns.boxes(32, tokens)
    columns.arrows(58)
    columns.stage(90, "token embedding + position embedding: a vector for each token",
                  "(B, T, H)")
    columns.vectors(100)

    columns.frame(146, 184)
    columns.stage(166, "block 1: attention, every token looks at all (drawn for [MASK])",
                  "(B, nh, T, T)")
    target = columns.centers[tokens.index("[MASK]")]
    for center in columns.centers:
        drawing.line(center, 176, target, 216, COLORS[0], 1.2)
    columns.bar(218, "add to the input of the attention (residual), LayerNorm")
    columns.stage(262, "the MLP, each token by itself", "(B, T, 4H)")
    for center, fill in zip(columns.centers, fills):
        drawing.box(center - 16, 270, 32, 18, "", fill)
    columns.bar(298, "add to the input of the MLP (residual), LayerNorm")
    columns.arrows(332)
    columns.frame(348, 36)
    columns.stage(371, "block 2: the same again, with its own weights", "(B, T, H)")
    columns.arrows(386)
    columns.vectors(404)
    columns.arrows(438)
    columns.bar(454, "MLM head: linear, GELU, LayerNorm, then a logit for each token of the "
                     "vocabulary")
    columns.arrows(478)
    columns.stage(512, "logits and their softmax: V probabilities for each token", "(B, T, V)")
    for center, answer in zip(columns.centers, answers):
        if answer != "-100":
            drawing.text(center, 536, f"p({answer})", 12, "middle")
            drawing.line(center, 542, center, 560, arrow=True)
    columns.stage(558, "labels", "(B, T)")
    columns.boxes(566, answers)
    columns.stage(616, "loss: the mean of -ln p(label) over the labels that are not -100", "()")
    return drawing


def chapter_00_where_mask_looks():
    """The attention of the first [MASK] of tiny_bert's question, row by row during training."""
    result = json.loads((HERE / "results" / "tiny-attention.json").read_text(encoding="utf-8"))
    drawing = Drawing(860, 296, "Where the first [MASK] looks, from step 0 to step 300")
    left, column, height = 82, 47, 40
    for i, token in enumerate(result["tokens"]):
        is_query = i == result["tokens"].index("[MASK]")
        drawing.box(left + column * i, 20, column - 3, 24, token, TINTS[0] if is_query else PALE,
                    11)
    drawing.text(left + column * len(result["tokens"]) + 8, 36, "best guesses", 12, bold=True)
    for row, record in enumerate(result["steps"]):
        y = 58 + height * row
        drawing.text(20, y + 22, f"step {record['step']}", 13, bold=True)
        for i, weight in enumerate(record["weights"]):
            x = left + column * i
            drawing.rect(x, y, column - 3, height - 6, PAPER, PALE)
            drawing.rect(x, y, column - 3, height - 6, COLORS[0], opacity=max(weight, 0.01))
            drawing.text(x + column / 2 - 1.5, y + 22, f"{weight:.2f}", 11, "middle",
                         PAPER if weight > 0.5 else INK)
        for line, guess in enumerate(record["guesses"].split(", ")[:2]):
            drawing.text(left + column * len(record["weights"]) + 8, y + 14 + 15 * line, guess, 12)
    drawing.text(20, 280, "A row is the softmax of the scores of the first [MASK], in the second "
                          "block, as the mean of its two heads. It sums to 1.", 12, color=GREY)
    return drawing


def chapter_01_loss():
    """The loss -ln p of a word by its probability, with the words of the example."""
    drawing = Drawing(460, 310, "The loss of a word by its probability: -ln p")
    drawing.text(20, 24, "The loss of a word: -ln p", 15, bold=True)
    axes = Axes(drawing, 70, 50, 360, 210, x_range=(0, 1), y_range=(0, 4),
                x_ticks=((0, "0"), (0.25, "1/4"), (0.5, "1/2"), (1, "1")), y_ticks=range(5),
                x_label="probability p of the word", y_label="nats")
    axes.curve([(percent / 100, -math.log(percent / 100)) for percent in range(2, 101)])
    for p, words in ((1 / 2, "the"), (1 / 4, "boat, net")):
        loss = -math.log(p)
        axes.dots([(p, loss)], COLORS[1], radius=5)
        axes.text(p + 0.03, loss + 0.15, f"{words}: {loss:.3f}", color=COLORS[1])
    return drawing


def chapter_01_text():
    """The documents of the sample, their lines as bars, and the validation lines."""
    drawing = Drawing(760, 348, "The sample: eight documents of five lines; the last line of each "
                                "of the last two is for validation")
    sample = open_corpus(HERE / "sample.txt")
    documents = [document.split("\n") for document in sample.documents("all")]
    num_eval_lines = eval_lines_per_document([len(lines) for lines in documents])
    for i, lines in enumerate(documents):
        x = 20 + 370 * (i // 4)
        y = 24 + 72 * (i % 4)
        drawing.text(x, y + 36, i + 1, 15, bold=True, color=GREY)
        first_eval_line = len(lines) - num_eval_lines[i]
        for j, line in enumerate(lines):
            fill, stroke = TINTS[0], COLORS[0]
            if j >= first_eval_line:
                fill = stroke = COLORS[1]
            drawing.rect(x + 24, y + 12 * j, 4.9 * len(line), 9, fill, stroke, radius=2)
    drawing.rect(44, 324, 28, 10, TINTS[0], COLORS[0], radius=2)
    drawing.text(80, 334, "training: each bar is as long as its line", 13)
    drawing.rect(414, 324, 28, 10, COLORS[1], COLORS[1], radius=2)
    drawing.text(450, 334, "validation", 13)
    return drawing


def chapter_02_words():
    """A sentence in columns; above it its words in GPT-2, below it those in BERT."""
    text = "Zoë isn't at the café."
    column = 31  # width of a character in pixels
    left = 40
    drawing = Drawing(760, 246, f"{text} as GPT-2 splits it, and as BERT does")
    drawing.text(left, 28, "GPT-2, RoBERTa: a word includes the space before it, and becomes bytes",
                 14, bold=True)
    start = 0
    for i, word in enumerate(gpt2_words(text)):
        x = left + column * start
        width = column * len(word) - 4
        drawing.box(x, 62, width, 30, word.replace(" ", "␣"), TINTS[i % 2], 17, mono=True)
        symbols = "".join(byte_symbols(word))
        drawing.text(x + width / 2, 54, symbols, 13, "middle", GREY, mono=True)
        start += len(word)
    for i, char in enumerate(text):
        x = left + column * i + column / 2 - 2
        drawing.text(x, 132, char, 22, "middle", mono=True)
        drawing.line(x, 106, x, 98, GREY, 1)
        if char != " ":
            drawing.line(x, 146, x, 156, GREY, 1)
    normalized, positions = BertNormalizer().normalize(text)
    for i, (start, end) in enumerate(bert_words(normalized)):
        x = left + column * positions[start]
        width = column * (positions[end - 1] + 1 - positions[start]) - 4
        drawing.box(x, 164, width, 30, normalized[start:end], TINTS[2 + i % 2], 17, mono=True)
    for i, char in enumerate(text):
        if char == " ":
            drawing.text(left + column * i + column / 2 - 2, 184, "×", 15, "middle", COLORS[1])
    drawing.text(left, 226, "BERT: no spaces, capitals or accents; each punctuation mark is a word",
                 14, bold=True)
    return drawing


def chapter_03_byte_pairs():
    """Four words, and their tokens after each merge."""
    words = {"net": 4, "nets": 2, "wet": 3, "knot": 2}
    counts = {tuple(word): count for word, count in words.items()}
    _, merges = train(counts, list("eknostw"), vocab_size=12)
    drawing = Drawing(800, 236, "net, nets, wet and knot, merge by merge")
    for row, count in enumerate(words.values()):
        drawing.text(18, 94 + 40 * row, f"{count} x", 15, color=GREY)
    drawing.text(70, 34, "letters", 15, bold=True)
    tokens_of = {word: list(word) for word in words}
    draw_tokens(drawing, 70, tokens_of)
    for step, pair in enumerate(merges, start=1):
        x = 70 + 122 * step
        merged = "".join(pair)
        occurrences = 0
        for word, tokens in tokens_of.items():
            occurrences += words[word] * list(zip(tokens, tokens[1:])).count(pair)
        drawing.text(x, 34, f"{step}. {pair[0]} + {pair[1]}", 15, bold=True)
        drawing.text(x, 54, f"{occurrences} times", 13, color=GREY)
        drawing.line(x - 16, 70, x - 16, 220, PALE, 2)
        tokens_of = {word: merge(tokens, pair, merged) for word, tokens in tokens_of.items()}
        draw_tokens(drawing, x, tokens_of, merged)
    return drawing


def draw_tokens(drawing, x, tokens_of, merged=None):
    """Draw the tokens of each word in a row; ``merged``, the new token, is highlighted."""
    for row, tokens in enumerate(tokens_of.values()):
        left = x
        for token in tokens:
            fill = TINTS[0] if len(token) > 1 else PALE
            if token == merged:
                fill = TINTS[1]
            width = 21 * len(token) + 1
            drawing.box(left, 74 + 40 * row, width, 28, token, fill, 15, mono=True)
            left += width + 3


def chapter_04_longest_piece(word="knet"):
    """A word, encoded by merges and by the longest pieces of a vocabulary."""
    drawing = Drawing(760, 246, "knet by merges: k, net; by the longest pieces: kn, ##et")
    drawing.text(30, 34, "Byte pairs: merges in the order of training", 14, bold=True)
    rows = {"letters": list(word)}
    for pair in (("e", "t"), ("n", "et")):
        *_, tokens = rows.values()
        rows[" + ".join(pair)] = merge(tokens, pair, "".join(pair))
    for row, label in enumerate(rows):
        drawing.text(30, 94 + 40 * row, label, 14, color=GREY)
    draw_tokens(drawing, 110, rows)

    left = 400
    drawing.text(left, 34, "WordPiece: the longest piece first", 14, bold=True)
    vocabulary = {"k", "kn", "##et", "##net"}
    drawing.text(left, 54, f"vocabulary: {' '.join(sorted(vocabulary))}", 12, color=GREY, mono=True)
    start = row = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            is_found = piece in vocabulary
            y = 74 + 40 * row
            drawing.box(left, y, 85, 28, piece, TINTS[0] if is_found else PAPER, 15, mono=True,
                        color=INK if is_found else GREY)
            drawing.text(left + 97, y + 19, "taken" if is_found else "not in the vocabulary", 13,
                         color=INK if is_found else GREY)
            row += 1
            if is_found:
                break
        start = end
    return drawing


def chapter_04_wordpiece():
    """Three pairs by three criteria, with each winner highlighted."""
    drawing = Drawing(760, 196, "Frequency selects as, the score of online courses my, the "
                                "likelihood ox")
    pairs = {"as": (4, 8, 8), "ox": (3, 3, 3), "my": (1, 1, 1)}
    criteria = {
        "frequency: how often": lambda k, left, right: k,
        "score of online courses": lambda k, left, right: k / (left * right),
        "likelihood: gain in nats": lambda k, left, right: gain(k, left, right, 40),
    }
    for column, (name, score) in enumerate(criteria.items()):
        x = 30 + 245 * column
        drawing.text(x, 34, name, 14, bold=True)
        scores = {word: score(*counts) for word, counts in pairs.items()}
        best = max(scores.values())
        for row, (word, value) in enumerate(scores.items()):
            y = 58 + 42 * row
            is_best = value == best
            width = 120 * value / best
            drawing.text(x, y + 19, word, 16, mono=True)
            drawing.rect(x + 34, y, width, 27, COLORS[1] if is_best else TINTS[0], radius=2)
            label = f"{value:.4g}" if value > 1 else f"{value:.3g}"
            drawing.text(x + 42 + width, y + 19, label, 14, bold=is_best,
                         color=INK if is_best else GREY)
    return drawing


def pictures():
    """Return {file name without its extension: function}, sorted, of all modules."""
    found = {}
    for name in MODULES:
        module = sys.modules[__name__] if name == "pictures" else importlib.import_module(name)
        for key, function in vars(module).items():
            if key.startswith("chapter_"):
                found[key.removeprefix("chapter_").replace("_", "-")] = function
    return dict(sorted(found.items()))


def render(function):
    """Return (extension, content) of a picture."""
    picture = function()
    return (".png", picture) if isinstance(picture, bytes) else (".svg", picture.svg())


def main(args=None):
    parser = Parser(prog="python docs/book/pictures.py",
                    description="Draw the pictures of the book.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN",
                        help="only pictures whose names begin with this")
    args = parser.parse_args(args)
    prefixes = tuple(args.only) or ("",)
    selected = {name: function for name, function in pictures().items()
                if name.startswith(prefixes)}
    if not selected:
        raise ValueError(f"no picture begins with {' or '.join(args.only)}: there are "
                         f"{', '.join(pictures())}")
    FOLDER.mkdir(exist_ok=True)
    for name, function in selected.items():
        extension, content = render(function)
        path = FOLDER / (name + extension)
        atomic_write(path, content)
        print(path.relative_to(HERE.parents[1]))


if __name__ == "__main__":
    run(main)

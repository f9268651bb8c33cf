"""The pictures of the book: one function each, the file named after the function.

    python docs/book/pictures.py [--only 03]      # chapter_03_byte_pairs() -> docs/book/pictures/03-byte-pairs.svg

A function returns a ``Drawing``, or the bytes of a .png. It depends on the code and the result files of this repository alone, so a test draws all of
them again and compares. Chapters 1 to 4 are drawn here, 5 to 8 in pictures_model.py, 9 to 12 in pictures_training.py.
"""
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
from drawing import COLORS, GREY, INK, PALE, TINTS, Drawing  # noqa: E402

from data.corpora import FileCorpus
from data.splits import eval_lines_per_document  # noqa: E402
from tokenizer.normalize import BertNormalizer  # noqa: E402
from tokenizer.pretokenize import bert_words, gpt2_words  # noqa: E402
from tokenizer.reference import byte_symbols, merge, train  # noqa: E402
from tokenizer.trainers.likelihood import gain  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

FOLDER = HERE / "pictures"


def chapter_01_text():
    """The sample: documents, their lines as bars, and which are held out."""
    drawing = Drawing(760, 348, "The sample: eight documents of five lines; the last line of each of the last two is held out")
    documents = [document.split("\n") for document in FileCorpus("sample", [HERE / "sample.txt"]).documents("all")]
    held = eval_lines_per_document([len(lines) for lines in documents])
    for number, (lines, last) in enumerate(zip(documents, held)):
        x, y = 20 + 370 * (number // 4), 24 + 72 * (number % 4)
        drawing.text(x, y + 36, number + 1, 15, bold=True, colour=GREY)
        for place, line in enumerate(lines):
            out = place >= len(lines) - last
            drawing.rect(x + 24, y + 12 * place, 4.9 * len(line), 9, COLORS[1] if out else TINTS[0], COLORS[1] if out else COLORS[0], radius=2)
    drawing.rect(44, 324, 28, 10, TINTS[0], COLORS[0], radius=2)
    drawing.text(80, 334, "a line for training, as long as it has characters", 13)
    drawing.rect(414, 324, 28, 10, COLORS[1], COLORS[1], radius=2)
    drawing.text(450, 334, "held out", 13)
    return drawing


def chapter_02_words():
    """A sentence between its words as GPT-2 cuts them, above, and as BERT does, below; each character has a column."""
    text, wide, left = "Zoë isn't at the café.", 31, 40
    drawing = Drawing(760, 246, f"{text} as GPT-2 cuts it, and as BERT does")
    drawing.text(left, 28, "GPT-2, RoBERTa: words hold the space before them, and become bytes", 14, bold=True)
    start = 0
    for number, word in enumerate(gpt2_words(text)):
        x, width = left + wide * start, wide * len(word) - 4
        drawing.box(x, 62, width, 30, word.replace(" ", "␣"), TINTS[number % 2], 17, mono=True)
        drawing.text(x + width / 2, 54, "".join(byte_symbols(word)), 13, "middle", GREY, mono=True)
        start += len(word)
    for place, char in enumerate(text):
        x = left + wide * place + wide / 2 - 2
        drawing.text(x, 132, char, 22, "middle", mono=True)
        drawing.line(x, 106, x, 98, GREY, 1)
        if char != " ":
            drawing.line(x, 146, x, 156, GREY, 1)
    normalized, position = BertNormalizer().normalize(text)
    for number, (start, end) in enumerate(bert_words(normalized)):
        x, width = left + wide * position[start], wide * (position[end - 1] + 1 - position[start]) - 4
        drawing.box(x, 164, width, 30, normalized[start:end], TINTS[2 + number % 2], 17, mono=True)
    for place, char in enumerate(text):
        if char == " ":
            drawing.text(left + wide * place + wide / 2 - 2, 184, "×", 15, "middle", COLORS[1])
    drawing.text(left, 226, "BERT: spaces go, capitals and accents too; each punctuation mark is a word", 14, bold=True)
    return drawing


def chapter_03_byte_pairs():
    """Four words, and what they are cut into after each merge."""
    words = {"net": 4, "nets": 2, "wet": 3, "knot": 2}
    _, merges = train({tuple(word): count for word, count in words.items()}, list("eknostw"), vocab_size=12)
    drawing = Drawing(800, 236, "net, nets, wet and knot, merge by merge")
    now, left = {word: list(word) for word in words}, 70
    for row, count in enumerate(words.values()):
        drawing.text(18, 94 + 40 * row, f"{count} x", 15, colour=GREY)
    for step in range(len(merges) + 1):
        x, merged = left + 122 * step, None
        if step:
            pair = merges[step - 1]
            merged = "".join(pair)
            times = sum(count * list(zip(now[word], now[word][1:])).count(pair) for word, count in words.items())
            drawing.text(x, 34, f"{step}. {pair[0]} + {pair[1]}", 15, bold=True)
            drawing.text(x, 54, f"{times} times", 13, colour=GREY)
            drawing.line(x - 16, 70, x - 16, 220, PALE, 2)
            now = {word: merge(tokens, pair, merged) for word, tokens in now.items()}
        else:
            drawing.text(x, 34, "letters", 15, bold=True)
        for row, tokens in enumerate(now.values()):
            here = x
            for token in tokens:
                width = 21 * len(token) + 1
                fill = TINTS[1] if token == merged else TINTS[0] if len(token) > 1 else PALE
                drawing.box(here, 74 + 40 * row, width, 28, token, fill, 15, mono=True)
                here += width + 3
    return drawing


def chapter_04_wordpiece():
    """Three pairs by three criteria, the winner of each in colour."""
    drawing = Drawing(760, 196, "Frequency takes at, the score of the courses my, the likelihood ox")
    pairs = {"at": (4, 8, 8), "ox": (3, 3, 3), "my": (1, 1, 1)}
    criteria = (("frequency: how often", lambda k, left, right: k),
                ("score of the courses", lambda k, left, right: k / (left * right)),
                ("likelihood: gain in nats", lambda k, left, right: float(gain(k, left, right, 40))))
    for column, (name, score) in enumerate(criteria):
        x = 30 + 245 * column
        drawing.text(x, 34, name, 14, bold=True)
        scores = {word: score(*numbers) for word, numbers in pairs.items()}
        for row, (word, value) in enumerate(scores.items()):
            y, best = 58 + 42 * row, value == max(scores.values())
            drawing.text(x, y + 19, word, 16, mono=True)
            drawing.rect(x + 34, y, 120 * value / max(scores.values()), 27, COLORS[1] if best else TINTS[0], radius=2)
            shown = f"{value:.4g}" if value > 1 else f"{value:.3g}"
            drawing.text(x + 42 + 120 * value / max(scores.values()), y + 19, shown, 14, bold=best, colour=INK if best else GREY)
    return drawing


def pictures():
    """{name of the file without its ending: function} of all modules with pictures, in order of names."""
    found = {}
    for name in ("pictures", "pictures_model", "pictures_training"):
        if (HERE / f"{name}.py").exists():
            module = sys.modules[__name__] if name == "pictures" else importlib.import_module(name)
            found |= {key.removeprefix("chapter_").replace("_", "-"): value for key, value in vars(module).items() if key.startswith("chapter_")}
    return dict(sorted(found.items()))


def render(function):
    """(ending, content) of a picture."""
    picture = function()
    return (".png", picture) if isinstance(picture, bytes) else (".svg", picture.svg())


def main(arguments=None):
    """Draw the pictures, and name the files."""
    parser = Parser(prog="python docs/book/pictures.py", description="Draw the pictures of the book.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NN", help="those whose names begin so")
    options = parser.parse_args(arguments)
    chosen = {name: function for name, function in pictures().items() if not options.only or name.startswith(tuple(options.only))}
    if not chosen:
        raise ValueError(f"no picture begins with {' or '.join(options.only)}: there are {', '.join(pictures())}")
    for name, function in chosen.items():
        ending, content = render(function)
        FOLDER.mkdir(exist_ok=True)
        atomic_write(FOLDER / (name + ending), content)
        print((FOLDER / (name + ending)).relative_to(HERE.parents[1]))


if __name__ == "__main__":
    run(main)

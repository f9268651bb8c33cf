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
from drawing import COLOURS, GREY, INK, MONO, PAPER, TINTS, Axes, Drawing  # noqa: E402, F401

from tokenizer.cli import Parser, run  # noqa: E402
from tokenizer.files import atomic_write  # noqa: E402

PLACE = HERE / "pictures"


def pictures():
    """{name of the file without its ending: function} of all modules with pictures, in order of names."""
    found = {}
    for name in ("pictures", "pictures_model", "pictures_training"):
        if (HERE / f"{name}.py").exists():
            module = sys.modules[__name__] if name == "pictures" else importlib.import_module(name)
            found |= {key.removeprefix("chapter_").replace("_", "-"): value for key, value in vars(module).items() if key.startswith("chapter_")}
    return dict(sorted(found.items()))


def drawn(function):
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
        ending, content = drawn(function)
        PLACE.mkdir(exist_ok=True)
        atomic_write(PLACE / (name + ending), content)
        print((PLACE / (name + ending)).relative_to(HERE.parents[1]))


if __name__ == "__main__":
    run(main)

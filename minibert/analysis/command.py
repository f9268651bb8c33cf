"""What the analysis commands share: the parser, the model that they load, and their texts."""
import sys

from minibert.device import choose_device
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser

RUN_HELP = "folder that train.py wrote, or one with a model and its tokenizer"


def analysis_parser(name, description, epilog=None, run=True, device=False, out=""):
    """Return the parser of ``python -m minibert NAME``, with --json and usually RUN.

    run       whether the command has the positional argument RUN
    device    whether it has --device: worth it for commands that read many texts
    out       the help text of --out, for commands that write files: they have --overwrite, too
    """
    parser = Parser(prog=f"python -m minibert {name}", description=description, epilog=epilog)
    if run:
        parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    if device:
        help_text = "auto, cpu, cuda or mps"
        parser.add_argument("--device", metavar="NAME", default="auto", help=help_text)
    if out:
        parser.add_argument("--out", metavar="PATH", help=out)
        parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def load_model(args):
    """Return (model, tokenizer) of the run in ``args``, on the device in ``args``."""
    model, tokenizer = load_run(args.run)
    return model.to(choose_device(getattr(args, "device", "cpu"))), tokenizer


def texts_or_stdin(texts):
    """Yield (source, text) for each text, or for each line of standard input if there are none.

    source is "" for an argument and "standard input:3: " for the third line, for error messages.
    """
    if texts and texts != ["-"]:
        for text in texts:
            yield "", text
        return
    for i, line in enumerate(sys.stdin, start=1):
        if line.strip():
            yield f"standard input:{i}: ", line.strip()


def add_texts(parser, description):
    """Add the positional arguments TEXT; ``texts_or_stdin`` reads them."""
    parser.add_argument("text", metavar="TEXT", nargs="*", default=[],
                        help=f"{description}; '-' or none: each line of standard input")


def answer_each(texts, answer):
    """Yield (text, answer(text)) for each of ``texts_or_stdin``; errors name the line."""
    for source, text in texts_or_stdin(texts):
        try:
            yield text, answer(text)
        except ValueError as error:
            raise ValueError(f"{source}{error}") from None

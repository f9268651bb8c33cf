"""The flags that say how a corpus is read; train.py has fields of the same names in its config."""
from data.lines import ENCODING_ERRORS, ENCODING_ERRORS_HELP
from data.reflow import REFLOW, REFLOW_HELP


def add_corpus_flags(command, reflow="no"):
    """Add the flags that say which files of a corpus are read, and how.

    reflow: the default of --reflow
    """
    command.add_argument("--text-field", default="text",
                         help="the field or column of .jsonl, .csv and .tsv with the text")
    command.add_argument("--text-suffix", default="", metavar=".py,.md,none",
                         help="extensions of more plain-text files; none: no extension")
    command.add_argument("--encoding-errors", choices=ENCODING_ERRORS, default="strict",
                         help=ENCODING_ERRORS_HELP)
    command.add_argument("--reflow", choices=REFLOW, default=reflow,
                         help=REFLOW_HELP + " (default: %(default)s)")


def corpus_options(args):
    """Return these flags as keyword arguments of ``open_corpus``."""
    names = ("text_field", "text_suffix", "encoding_errors", "reflow")
    return {name: getattr(args, name) for name in names}

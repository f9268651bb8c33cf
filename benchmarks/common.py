"""Shared by the benchmark scripts: results files, Markdown tables, and the path of this checkout.

Importing it puts this checkout first on sys.path, so that a script measures it even if another
version is installed.
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tokenizer.utils.files import atomic_write  # noqa: E402


def add_result_flags(parser, out=None, shown=None):
    """Add --out and --table. out: the default of --out; shown: the same in words."""
    default = f" (default {shown or out})" if shown or out else ""
    parser.add_argument("--out", type=Path, default=out, metavar="FILE",
                        help="write the results here, as JSON" + default)
    parser.add_argument("--table", type=Path, metavar="FILE",
                        help="only print the table of a results file")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def print_table(path, table):
    """Print what ``table`` returns for the content of a results file: --table."""
    try:
        text = table(read_json(path))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} has no results of this script ({error!r})") from None
    print(text, end="")


def write_json(path, results):
    """Write results as JSON if there is a path."""
    if path:
        atomic_write(path, json.dumps(results, indent=1) + "\n")


def markdown(heading, rows):
    """Return a Markdown table. heading: list of cells; rows: lists of cells.

    markdown(["step", "loss"], [["1", "4.6"]]) -> "| step | loss |\\n|---|---|\\n| 1 | 4.6 |\\n"
    """
    separator = "|---" * len(heading) + "|"
    return "\n".join([markdown_row(heading), separator, *map(markdown_row, rows)]) + "\n"


def markdown_row(cells):
    return "| " + " | ".join(cells) + " |"

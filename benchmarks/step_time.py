"""How long a training step takes, how much memory, how near to the machine's rate: train.py against transformers' Trainer on the same tokens.

    python benchmarks/step_time.py CORPORA --out benchmarks/results/step-time.json [--shapes kantaibert small] [--rounds 5]
    python benchmarks/step_time.py --table benchmarks/results/step-time.json

CORPORA is a folder with kant/. Who is measured, and how: contest.py. The suite for a GPU: gpu_suite.py.
"""
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the product of this checkout, installed or not
from contest import CONTESTANTS, SHAPES, STEPS, make_data, measure, table  # noqa: E402

from data import open_corpus  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

USUAL = ["minibert", "minibert, muon", "transformers", "transformers, tuned"]


def main(args=None):
    args = parse(args)
    if args.table:
        return print(table(json.loads(args.table.read_text(encoding="utf-8"))["rows"]), end="")
    results = {"date": time.strftime("%Y-%m-%d"), "command": "python benchmarks/step_time.py CORPORA " + " ".join(sys.argv[2:]), "rows": []}
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            make_data(shape, list(open_corpus(args.corpora / "kant").documents("all")), Path(folder))
            results["rows"].append(measure(shape, Path(folder), args.contestants, args.rounds))
        print(table(results["rows"][-1:]), flush=True)
        if args.out:
            atomic_write(args.out, json.dumps(results, indent=1) + "\n")


def parse(args):
    parser = Parser(description="Seconds of a training step, by train.py and by transformers' Trainer.")
    parser.add_argument("corpora", nargs="?", type=Path, help="folder with kant/")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["kantaibert", "small"], metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=USUAL, metavar="WHO", help="; ".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5, help=f"of {STEPS} steps each (default 5), beside one to warm up")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of a results file, and measure nothing")
    args = parser.parse_args(args)
    if not (args.table or args.corpora):
        parser.error("name the folder that holds kant/")
    return args


if __name__ == "__main__":
    run(main)

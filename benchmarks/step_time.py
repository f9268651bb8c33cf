"""Time and memory of a training step: train.py against transformers' Trainer on the same tokens.

    python benchmarks/step_time.py CORPORA --out benchmarks/results/step-time.json
    python benchmarks/step_time.py --table benchmarks/results/step-time.json

CORPORA is a folder with kant/. contestants.py lists the contestants, contest.py describes the
measurement, and gpu_suite.py measures the same on a GPU.
"""
import sys
import tempfile
import time
from pathlib import Path

from common import add_result_flags, print_table, write_json
from contest import measure, table
from contestants import CONTESTANTS, SHAPES, STEPS, make_data

from data import open_corpus
from tokenizer.utils.cli import Parser, run

DEFAULT_CONTESTANTS = ["minibert", "minibert, muon", "transformers", "transformers, tuned"]


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, lambda results: table(results["rows"]))
    command = "python benchmarks/step_time.py CORPORA " + " ".join(sys.argv[2:])
    results = {"date": time.strftime("%Y-%m-%d"), "command": command, "rows": []}
    for shape in args.shapes:
        documents = list(open_corpus(args.corpora / "kant").documents("all"))
        with tempfile.TemporaryDirectory() as folder:
            make_data(shape, documents, Path(folder))
            row = measure(shape, Path(folder), args.contestants, args.rounds)
        results["rows"].append(row)
        print(table([row]), flush=True)
        write_json(args.out, results)


def parse(args):
    parser = Parser(
        description="Seconds of a training step, by train.py and by transformers' Trainer.")
    parser.add_argument("corpora", nargs="?", type=Path, help="folder with kant/")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["kantaibert", "small"],
                        metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, metavar="NAME",
                        default=DEFAULT_CONTESTANTS, help="; ".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=5,
                        help=f"rounds of {STEPS} steps, after one to warm up")
    add_result_flags(parser)
    args = parser.parse_args(args)
    if not (args.table or args.corpora):
        parser.error("name the folder that holds kant/")
    return args


if __name__ == "__main__":
    run(main)

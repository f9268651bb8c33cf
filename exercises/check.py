"""Check your answers to the exercises against the project's own functions.

    python exercises/check.py [--only 3] [--json]      # make exercises

Each file in this folder describes a function that you write. This script calls your function and
the project's with the same inputs and prints done, not yet (not written), or wrong, with the first
input on which the two differ. (In the last exercise you train a model, which is tested instead.)
The solutions are the project's functions: see solutions.py. The exit code is 1 if an answer is
wrong.
"""
import copy
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # solutions.py and this checkout
from solutions import EXERCISES, PASSED  # noqa: E402

from tokenizer.utils.cli import Parser, run  # noqa: E402

MAX_SHOWN = 300  # characters of a value


def check_answer(exercise, answer):
    """Compare a function with the solution.

    Return {"state": done, not yet or wrong, "inputs": number of inputs that agreed}; if it is
    wrong also "input" (as {name: text}), "yours" and "expected".
    """
    cases = exercise.inputs()
    for num_agreed, arguments in enumerate(cases):
        own_arguments = copy.deepcopy(arguments)
        try:
            result = answer(*own_arguments.values())
            result = exercise.judge(result) if exercise.judge else result
        except NotImplementedError:
            return {"state": "not yet", "inputs": num_agreed}
        except Exception as error:
            result = error
        if exercise.judge:
            expected = PASSED
        else:
            expected = exercise.solution(*copy.deepcopy(arguments).values())
        if not equal(own_arguments, arguments):
            result = ValueError("your function has changed its arguments: make new ones")
        if isinstance(result, Exception) or not equal(result, expected):
            return {"state": "wrong", "inputs": num_agreed,
                    "input": {name: as_text(value) for name, value in arguments.items()},
                    "yours": as_text(result), "expected": as_text(expected)}
    return {"state": "done", "inputs": len(cases)}


def equal(result, expected):
    """Return whether two results are the same.

    Numbers agree to six digits, arrays also in shape; lists equal tuples, a Counter equals a dict.

    >>> equal([1, (2.0000001, 3)], (1, [2, 3])), equal({"a": 1}, {"a": 2})
    (True, False)
    >>> equal(np.zeros((2, 1)), torch.zeros(2)), equal(None, 0)
    (False, False)
    """
    if isinstance(expected, Mapping):
        return (isinstance(result, Mapping) and result.keys() == expected.keys()
                and all(equal(result[key], expected[key]) for key in expected))
    if isinstance(expected, (list, tuple)):
        return (isinstance(result, (list, tuple)) and len(result) == len(expected)
                and all(map(equal, result, expected)))
    if expected is None or isinstance(expected, str):
        return type(result) is type(expected) and result == expected
    if result is None or isinstance(result, (str, Mapping)):
        return False
    try:
        a = np.asarray(result)
        b = np.asarray(expected)
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))
    except (TypeError, ValueError, RuntimeError):
        return False


def as_text(value):
    """Return a value as short text. 10.6553792 -> '10.655379'"""
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, (np.ndarray, torch.Tensor)):
        text = np.array2string(np.asarray(value), precision=3, separator=", ", threshold=50)
        text = " ".join(text.split())
    elif isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):
        text = "(" + ", ".join(map(as_text, value)) + ")"
    elif isinstance(value, (float, np.floating)):
        text = str(round(float(value), 6))
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " ..."


def load(path, function):
    """Return the reader's function. ValueError if the file fails or does not define it."""
    spec = importlib.util.spec_from_file_location(f"answer_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path.name} cannot be run: {type(error).__name__}: {error}") from None
    if not inspect.isfunction(getattr(module, function, None)):
        raise ValueError(f"{path.name} defines no function {function}")
    return getattr(module, function)


def main(args=None, folder=HERE):
    """Check the exercises. Return the exit code."""
    parser = Parser(prog="python exercises/check.py",
                    description="Compare your answers to the exercises with the project's.")
    parser.add_argument("--only", nargs="+", default=[], metavar="N",
                        help="only the exercises with these numbers")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    args = parser.parse_args(args)
    selected = [exercise for exercise in EXERCISES
                if not args.only or exercise.file.split("_")[0] in args.only]
    if not selected:
        raise ValueError(f"no exercise has the number {' or '.join(args.only)}: there are 1 to "
                         f"{len(EXERCISES)}")
    results = []
    for exercise in selected:
        try:
            answer = load(Path(folder) / f"{exercise.file}.py", exercise.function)
            result = check_answer(exercise, answer)
        except ValueError as error:
            result = {"state": "wrong", "inputs": 0, "input": {}, "yours": str(error),
                      "expected": "(not run)"}
        results.append({"exercise": exercise.file, **result})
        if not args.json:
            print(report(results[-1]))
    if args.json:
        print(json.dumps(results))
    return 1 if any(result["state"] == "wrong" for result in results) else 0


def report(result):
    """Return a line for a result, with details below it if the answer is wrong."""
    details = {"done": f"{result['inputs']} inputs",
               "not yet": f"write exercises/{result['exercise']}.py",
               "wrong": f"{result['inputs']} inputs agree, this one does not"}
    lines = [f"{result['exercise']:<18}{result['state']:<10}{details[result['state']]}"]
    if result["state"] == "wrong":
        values = {**result["input"], "yours:": result["yours"],
                  "expected:": result["expected"]}
        lines += [f"    {name:<16}{value}" for name, value in values.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)

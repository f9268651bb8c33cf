"""Check your answers to the exercises against the product's own functions.

    python exercises/check.py [--only 3] [--json]      # make exercises

Each file in this folder describes a function that you write. This script calls your function and
the product's with the same inputs and prints done, not yet (not written), or wrong, with the first
input on which the two differ. The solutions are the product's functions: see ``EXERCISES``. The
exit code is 1 if an answer is wrong.
"""
import copy
import importlib.util
import inspect
import json
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from minibert.attention import attention_by_hand  # noqa: E402
from minibert.finetuning.adapters import LoRALinear  # noqa: E402
from minibert.generation.causal import score  # noqa: E402
from minibert.generation.t5 import relative_buckets  # noqa: E402
from minibert.masking import (  # noqa: E402
    ACTION,
    IGNORE_INDEX,
    REPLACEMENT,
    SELECT,
    Masker,
    uniform,
)
from minibert.optim import lr_multiplier  # noqa: E402
from tokenizer import reference  # noqa: E402
from tokenizer.trainers.likelihood import gain  # noqa: E402
from tokenizer.trainers.merges import PairCounts  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402

MAX_SHOWN = 300  # characters of a value


@dataclass(frozen=True)
class Exercise:
    file: str
    function: str
    solution: Callable
    inputs: Callable  # returns a list of dicts of arguments


# The solutions: the product's functions with the arguments of the exercises


def count_pairs(words):
    """Count pairs with ``PairCounts``, which works with ids instead of tokens."""
    tokens = sorted({token for word in words for token in word})
    counts = [([tokens.index(token) for token in word], count) for word, count in words.items()]
    pairs = PairCounts(counts, min_frequency=1)
    return {(tokens[ord(left)], tokens[ord(right)]): count
            for (left, right), count in pairs.counts.items()}


def mask_tokens(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    """Look up the masker's result: it draws its random numbers itself."""
    for arguments, result in mask_cases():
        if np.array_equal(arguments["select"], select):
            return result
    raise ValueError("no case has these random numbers")


def stable_schedule(progress, warmup, decay):
    return lr_multiplier(progress, "stable", warmup, decay)


def merge_lora(weight, a, b, alpha):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight
    layer = LoRALinear(linear, parts=[0], rank=len(a), alpha=alpha)
    layer.lora_a.data = a[None]  # (1, rank, in)
    layer.lora_b.data = b[None]  # (1, out, rank)
    return layer.merged_weight()


def next_token_loss(logits, input_ids, is_token):
    answers = logits[:, :-1].flatten(0, 1)
    targets = input_ids.masked_fill(~is_token, IGNORE_INDEX)[:, 1:].flatten()
    return score(lambda logits: logits, answers, targets).loss.item()


def relative_bucket(distance):
    return relative_buckets(torch.tensor(-distance), bidirectional=False).item()


# The inputs


def word_counts():
    cases = [{("n", "e", "t"): 4, ("n", "e", "t", "s"): 2}, {("a", "a", "a"): 5}, {("a",): 3}, {}]
    rng = random.Random(1)
    for _ in range(5):
        cases.append({tuple(rng.choices("abc", k=rng.randint(1, 6))): rng.randint(1, 9)
                      for _ in range(8)})
    return [{"words": words} for words in cases]


def merges():
    """Pairs of different tokens, of equal ones, absent ones, and of longer tokens."""
    cases = [(tuple("knot"), ("o", "t")), (tuple("aaa"), ("a", "a")), (tuple("aaaa"), ("a", "a")),
             ((), ("a", "b")), (("net", "s"), ("net", "s"))]
    rng = random.Random(2)
    for _ in range(12):
        word = tuple(rng.choices("ab", k=rng.randint(1, 9)))
        cases.append((word, ("a", rng.choice("ab"))))
    return [{"word": word, "pair": pair, "merged": "".join(pair)} for word, pair in cases]


def pair_statistics():
    """The three of chapter 4, and pairs with occurrences of one piece, of both or of none left."""
    cases = [(3, 3, 3, 40), (4, 8, 8, 40), (1, 1, 1, 40), (2, 2, 9, 40), (5, 7, 6, 13),
             (1000, 4000, 1500, 10**7)]
    return [{"k": k, "left": left, "right": right, "total": total}
            for k, left, right, total in cases]


def mask_cases():
    """Return [(arguments, the masker's result)], first a short row that is easy to read."""
    cases = []
    for seed, (rows, length, probability) in enumerate(((1, 8, 0.5), (4, 12, 0.15), (4, 12, 1.0))):
        ids = np.random.default_rng(seed).integers(5, 50, (rows, length))
        ids[:, 0] = 2  # [CLS]
        ids[:, -1] = 3  # [SEP]
        ids[3:, 1:] = 0  # the last row is all padding
        masker = Masker(vocab_size=50, mask_token_id=4, special_ids=range(5),
                        mlm_probability=probability)
        draw = uniform(seed, 0, range(rows), length, REPLACEMENT)
        choices = (draw * len(masker.ordinary_ids)).astype(np.int64)
        arguments = {
            "input_ids": ids,
            "is_special": masker.is_special[ids],
            "select": uniform(seed, 0, range(rows), length, SELECT),
            "action": uniform(seed, 0, range(rows), length, ACTION),
            "replacement": masker.ordinary_ids[choices],
            "mask_token_id": 4,
            "probability": probability,
        }
        cases.append((arguments, masker(ids, seed, 0, range(rows))))
    return cases


def mask_inputs():
    return [arguments for arguments, _ in mask_cases()]


def attention_inputs():
    """Queries, keys and values, without a mask or with one that hides the last keys."""
    generator = torch.Generator().manual_seed(3)
    cases = []
    for shape, num_hidden in (((1, 1, 2, 4), 0), ((2, 3, 5, 8), 0), ((2, 3, 5, 8), 2),
                              ((1, 2, 7, 16), 3)):
        case = {name: torch.randn(shape, generator=generator) for name in "qkv"}
        case["mask"] = None
        if num_hidden:
            mask = torch.zeros(shape[0], 1, 1, shape[2])
            mask[..., -num_hidden:] = torch.finfo(torch.float32).min / 2
            case["mask"] = mask
        cases.append(case)
    return cases


def schedule_inputs():
    """Moments of three schedules, including the ends of the run and the corners."""
    cases = []
    for warmup, decay in ((0.1, 0.2), (0.06, 0.3), (0.5, 0.5)):
        for progress in (0.0, 0.03, warmup, 0.3, 1 - decay, 0.9, 1.0):
            cases.append({"progress": progress, "warmup": warmup, "decay": decay})
    return cases


def lora_inputs():
    """Matrices of several shapes; the rank is not always 1, and alpha not always the rank."""
    generator = torch.Generator().manual_seed(4)
    cases = []
    for rows, columns, rank, alpha in ((2, 3, 1, 1.0), (4, 4, 2, 2.0), (6, 5, 2, 16.0),
                                       (8, 16, 4, 1.0)):
        cases.append({"weight": torch.randn(rows, columns, generator=generator),
                      "a": torch.randn(rank, columns, generator=generator),
                      "b": torch.randn(rows, rank, generator=generator), "alpha": alpha})
    return cases


def causal_inputs():
    """Logits of one short text, and of texts with padding."""
    generator = torch.Generator().manual_seed(5)
    cases = []
    for lengths, V in (((3,), 4), ((5, 5), 7), ((6, 2, 1), 9)):
        shape = (len(lengths), max(lengths))
        is_token = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
        cases.append({"logits": torch.randn(*shape, V, generator=generator),
                      "input_ids": torch.randint(V, shape, generator=generator),
                      "is_token": is_token})
    return cases


def distances():
    """Each single bucket, both ends, and distances that are not where a bucket begins."""
    return [{"distance": distance} for distance in (0, 1, 15, 17, 20, 30, 50, 100, 127, 129, 5000)]


EXERCISES = (
    Exercise("1_count_pairs", "count_pairs", count_pairs, word_counts),
    Exercise("2_apply_merge", "apply_merge", reference.merge, merges),
    Exercise("3_score_pair", "score_pair", gain, pair_statistics),
    Exercise("4_mask_tokens", "mask_tokens", mask_tokens, mask_inputs),
    Exercise("5_attention", "attention", attention_by_hand, attention_inputs),
    Exercise("6_schedule", "lr_multiplier", stable_schedule, schedule_inputs),
    Exercise("7_merge_lora", "merge_lora", merge_lora, lora_inputs),
    Exercise("8_next_token_loss", "next_token_loss", next_token_loss, causal_inputs),
    Exercise("9_relative_bucket", "relative_bucket", relative_bucket, distances),
)


# Checking


def check_answer(exercise, answer):
    """Compare a function with the solution.

    Return {"state": done, not yet or wrong, "inputs": number of inputs that agreed}; if it is
    wrong also "input" (as {name: text}), "yours" and "product".
    """
    cases = exercise.inputs()
    for num_agreed, arguments in enumerate(cases):
        expected = exercise.solution(*copy.deepcopy(arguments).values())
        own_arguments = copy.deepcopy(arguments)
        try:
            result = answer(*own_arguments.values())
        except NotImplementedError:
            return {"state": "not yet", "inputs": num_agreed}
        except Exception as error:
            result = error
        if not equal(own_arguments, arguments):
            result = ValueError("your function has changed its arguments: make new ones")
        if isinstance(result, Exception) or not equal(result, expected):
            return {"state": "wrong", "inputs": num_agreed,
                    "input": {name: as_text(value) for name, value in arguments.items()},
                    "yours": as_text(result), "product": as_text(expected)}
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
                    description="Compare your answers to the exercises with the product's.")
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
                      "product": "(not run)"}
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
                  "the product's:": result["product"]}
        lines += [f"    {name:<16}{value}" for name, value in values.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)

"""Your answers to the exercises, compared with the product's own functions.

    python exercises/check.py [--only 3] [--json]      # make exercises

Each file of this folder describes a function and leaves it out. Write it; this calls yours and the product's with the same inputs and says done,
not yet, or wrong, with the first input on which they differ. The solutions are the product itself: ``EXERCISES`` says where each stands.
Ends with 1 where something is wrong; what is not yet written is not wrong.
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
from minibert.masking import ACTION, REPLACEMENT, SELECT, Masker, uniform  # noqa: E402
from minibert.optim import lr_multiplier  # noqa: E402
from tokenizer import reference  # noqa: E402
from tokenizer.trainers.likelihood import gain  # noqa: E402
from tokenizer.trainers.merges import PairCounts  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402

SHOWN = 300  # characters of a value


@dataclass(frozen=True)
class Exercise:
    """file, function: where the reader's answer stands.  product: the right one.  inputs: makes a list of dicts of arguments."""
    file: str
    function: str
    solution: Callable
    inputs: Callable


# ------------------------------------------------------------------------------------- what the product says, with the exercise's arguments


def count_pairs(words):
    """The counts of ``PairCounts``, which works with ids, in tokens."""
    tokens = sorted({token for word in words for token in word})
    pairs = PairCounts([([tokens.index(token) for token in word], count) for word, count in words.items()], min_frequency=1)
    return {(tokens[ord(left)], tokens[ord(right)]): count for (left, right), count in pairs.counts.items()}


def mask_tokens(input_ids, is_special, select, action, replacement, mask_token_id, probability):
    """What ``masks`` has noted: the masker throws the dice itself."""
    return masks()[[np.array_equal(case["select"], select) for case, _ in masks()].index(True)][1]


def stable(progress, warmup, decay):
    """The factor of the schedule that the presets have."""
    return lr_multiplier(progress, "stable", warmup, decay)


def merge_lora(weight, a, b, alpha):
    """The merged weight of a ``LoRALinear`` with these matrices."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight
    layer = LoRALinear(linear, parts=[0], rank=len(a), alpha=alpha)
    layer.lora_a.data, layer.lora_b.data = a[None], b[None]  # (1, rank, in), (1, out, rank): one map
    return layer.merged_weight()


# ------------------------------------------------------------------------------------------------------ the inputs


def word_counts():
    """Words as tuples of tokens, with counts."""
    rng = random.Random(1)
    made = [{tuple(rng.choices("abc", k=rng.randint(1, 6))): rng.randint(1, 9) for _ in range(8)} for _ in range(5)]
    return [{"words": words} for words in ({("n", "e", "t"): 4, ("n", "e", "t", "s"): 2}, {("a", "a", "a"): 5}, {("a",): 3}, {}, *made)]


def merges():
    """Words, and a pair to merge: of different tokens, of equal ones, absent, of longer tokens."""
    rng = random.Random(2)
    made = [(tuple(rng.choices("ab", k=rng.randint(1, 9))), ("a", rng.choice("ab"))) for _ in range(12)]
    given = [(tuple("knot"), ("o", "t")), (tuple("aaa"), ("a", "a")), (tuple("aaaa"), ("a", "a")), ((), ("a", "b")), (("net", "s"), ("net", "s"))]
    return [{"word": word, "pair": pair, "merged": "".join(pair)} for word, pair in given + made]


def counts_of_pairs():
    """k, c(a), c(b), N: chapter 4's three; parts that are left over on one side, on none, on both."""
    given = [(3, 3, 3, 40), (4, 8, 8, 40), (1, 1, 1, 40), (2, 2, 9, 40), (5, 7, 6, 13), (1000, 4000, 1500, 10**7)]
    return [dict(zip(("k", "left", "right", "total"), numbers)) for numbers in given]


def masks():
    """[(arguments, what the masker makes of them)]: one short row, to be read; then several, of which the last is all padding."""
    cases = []
    for seed, (rows, length, probability) in enumerate(((1, 8, 0.5), (4, 12, 0.15), (4, 12, 1.0))):
        ids = np.random.default_rng(seed).integers(5, 50, (rows, length))
        ids[:, 0], ids[:, -1], ids[3:, 1:] = 2, 3, 0
        masker = Masker(vocab_size=50, mask_token_id=4, special_ids=range(5), probability=probability)
        select, action, draw = (uniform(seed, 0, range(rows), length, stream) for stream in (SELECT, ACTION, REPLACEMENT))
        cases.append(({"input_ids": ids, "is_special": masker.is_special[ids], "select": select, "action": action,
                       "replacement": masker.ordinary_ids[(draw * len(masker.ordinary_ids)).astype(np.int64)], "mask_token_id": 4,
                       "probability": probability}, masker(ids, seed, 0, range(rows))))
    return cases


def queries():
    """q, k, v, and no mask or one that hides some keys from all."""
    made = torch.Generator().manual_seed(3)
    cases = []
    for shape, hidden in (((1, 1, 2, 4), 0), ((2, 3, 5, 8), 0), ((2, 3, 5, 8), 2), ((1, 2, 7, 16), 3)):
        q, k, v = (torch.randn(shape, generator=made) for _ in range(3))
        mask = torch.zeros(shape[0], 1, 1, shape[2])
        mask[..., shape[2] - hidden:] = torch.finfo(torch.float32).min / 2
        cases.append({"q": q, "k": k, "v": v, "mask": mask if hidden else None})
    return cases


def moments():
    """Moments of runs, their ends and the corners of the schedule included."""
    return [{"progress": progress, "warmup": warmup, "decay": decay} for warmup, decay in ((0.1, 0.2), (0.06, 0.3), (0.5, 0.5))
            for progress in (0.0, 0.03, warmup, 0.3, 1 - decay, 0.9, 1.0)]


def matrices():
    """W, A, B of several shapes; the rank is never 1 alone, and alpha never only the rank."""
    made = torch.Generator().manual_seed(4)
    return [{"weight": torch.randn(rows, columns, generator=made), "a": torch.randn(rank, columns, generator=made),
             "b": torch.randn(rows, rank, generator=made), "alpha": alpha}
            for rows, columns, rank, alpha in ((2, 3, 1, 1.0), (4, 4, 2, 2.0), (6, 5, 2, 16.0), (8, 16, 4, 1.0))]


EXERCISES = (
    Exercise("1_count_pairs", "count_pairs", count_pairs, word_counts),
    Exercise("2_apply_merge", "apply_merge", reference.merge, merges),
    Exercise("3_score_pair", "score_pair", gain, counts_of_pairs),
    Exercise("4_mask_tokens", "mask_tokens", mask_tokens, lambda: [case for case, _ in masks()]),
    Exercise("5_attention", "attention", attention_by_hand, queries),
    Exercise("6_schedule", "lr_multiplier", stable, moments),
    Exercise("7_merge_lora", "merge_lora", merge_lora, matrices),
)


# ------------------------------------------------------------------------------------------------------- checking


def check_answer(exercise, answer):
    """{"state": done | not yet | wrong, "inputs": how many agreed}; where it is wrong also "input" {name: text}, "yours", "product"."""
    for agreed, arguments in enumerate(exercise.inputs()):
        right = exercise.solution(*copy.deepcopy(arguments).values())
        given = copy.deepcopy(arguments)
        try:
            yours = answer(*given.values())
        except NotImplementedError:
            return {"state": "not yet", "inputs": agreed}
        except Exception as error:
            yours = error
        if not equal(given, arguments):
            yours = ValueError("your function has changed its arguments: make new ones")
        elif not isinstance(yours, Exception) and equal(yours, right):
            continue
        return {"state": "wrong", "inputs": agreed, "input": {name: shown(value) for name, value in arguments.items()},
                "yours": f"{type(yours).__name__}: {yours}" if isinstance(yours, Exception) else shown(yours), "product": shown(right)}
    return {"state": "done", "inputs": len(exercise.inputs())}


def equal(yours, right):
    """Whether two results are the same: numbers to six digits, arrays also in shape, lists as tuples, a Counter as a dict.

    >>> equal([1, (2.0000001, 3)], (1, [2, 3])), equal({"a": 1}, {"a": 2}), equal(np.zeros((2, 1)), torch.zeros(2)), equal(None, 0)
    (True, False, False, False)
    """
    if isinstance(right, Mapping):
        return isinstance(yours, Mapping) and yours.keys() == right.keys() and all(equal(yours[key], right[key]) for key in right)
    if isinstance(right, (list, tuple)):
        return isinstance(yours, (list, tuple)) and len(yours) == len(right) and all(map(equal, yours, right))
    if right is None or isinstance(right, str):
        return type(yours) is type(right) and yours == right
    if isinstance(yours, (str, Mapping)) or yours is None:
        return False
    try:
        a, b = np.asarray(yours), np.asarray(right)
        return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))
    except (TypeError, ValueError, RuntimeError):
        return False


def shown(value):
    """A value as a short text. 10.6553792 -> '10.655379'"""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        text = " ".join(np.array2string(np.asarray(value), precision=3, separator=", ", threshold=50).split())
    elif isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):
        text = "(" + ", ".join(map(shown, value)) + ")"
    else:
        text = str(round(float(value), 6) if isinstance(value, (float, np.floating)) else value)
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def load(path, function):
    """The reader's function. ValueError where the file cannot be run, or does not define it."""
    spec = importlib.util.spec_from_file_location(f"answer_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path.name} cannot be run: {type(error).__name__}: {error}") from None
    if not inspect.isfunction(getattr(module, function, None)):
        raise ValueError(f"{path.name} defines no function {function}: that is the name that is looked for")
    return getattr(module, function)


def main(arguments=None, folder=HERE):
    """Check the exercises; returns the exit code."""
    parser = Parser(prog="python exercises/check.py", description="Compare your answers to the exercises with the product's.")
    parser.add_argument("--only", nargs="+", default=[], metavar="N", help="the exercises of these numbers")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args(arguments)
    chosen = [exercise for exercise in EXERCISES if not options.only or exercise.file.split("_")[0] in options.only]
    if not chosen:
        raise ValueError(f"no exercise has the number {' or '.join(options.only)}: there are 1 to {len(EXERCISES)}")
    results = []
    for exercise in chosen:
        try:
            result = check_answer(exercise, load(Path(folder) / f"{exercise.file}.py", exercise.function))
        except ValueError as error:
            result = {"state": "wrong", "inputs": 0, "input": {}, "yours": str(error), "product": "(not asked)"}
        results.append({"exercise": exercise.file, **result})
        if not options.json:
            print(as_text(results[-1]))
    if options.json:
        print(json.dumps(results))
    return 1 if any(result["state"] == "wrong" for result in results) else 0


def as_text(result):
    """One line; where the answer is wrong, more below it."""
    more = {"done": f"{result['inputs']} inputs", "not yet": f"write exercises/{result['exercise']}.py",
            "wrong": f"{result['inputs']} inputs agree, this one does not"}[result["state"]]
    lines = [f"{result['exercise']:<16}{result['state']:<10}{more}"]
    if result["state"] == "wrong":
        more = {**result["input"], "yours:": result["yours"], "the product's:": result["product"]}
        lines += [f"    {name:<16}{value}" for name, value in more.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)

"""Which documents are held out for validation."""
import hashlib

from tokenizer.utils.cli import suggestion

EVAL_ONE_IN = 20


def eval_lines_per_document(lines):
    """How many lines at the end of each document are held out of a small corpus, from the lines that each has.

    >>> eval_lines_per_document([40, 40, 1, 1]), eval_lines_per_document([10, 20, 30]), eval_lines_per_document([50, 50, 50, 50])
    ([0, 2, 1, 1], [0, 0, 3], [0, 0, 5, 5])
    """
    held, left = [0] * len(lines), max(1, sum(lines) // EVAL_ONE_IN)
    for place in range(len(lines) - 1, -1, -1):
        held[place] = min(left, lines[place])
        left -= held[place]
    if len(lines) >= 4 and not held[-2]:  # half of it from each of the last two, so that each part has two documents
        held[-2] = min(max(1, held[-1] // 2), lines[-2])
        held[-1] = max(1, held[-1] - held[-2])
    return held


def check_split(split):
    """ValueError unless ``split`` is "train", "eval" or "all"."""
    if split not in ("train", "eval", "all"):
        raise ValueError(f"split {split!r} is none of train, eval, all{suggestion(str(split), ['train', 'eval', 'all'])}")


def is_eval_document(text):
    """Whether a document belongs to the eval part: one in 20, decided by its text (blake2b: the same on every machine)."""
    return stable_hash(text) % EVAL_ONE_IN == 0


def stable_hash(text):
    """A 64-bit hash of a text that, unlike ``hash``, is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")

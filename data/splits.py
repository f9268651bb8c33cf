"""Split a corpus into a training and a validation set, called "train" and "eval" in code and paths.

The text of a document decides its split. So the split is the same on every machine and in every
run, whatever the order of the files, and copies of a document are never in different splits:
a model cannot score well on validation text because it has seen a copy in training.
"""
import hashlib

SPLITS = ("train", "eval", "all")
EVAL_ONE_IN = 20  # one document in 20 is for validation


def is_eval_document(text):
    """Return whether a document belongs to the validation set."""
    # A hash is as good as a random number, but the same in every run.
    return stable_hash(text) % EVAL_ONE_IN == 0


def stable_hash(text):
    """Return a 64-bit hash of a string. Python's ``hash`` would differ from process to process."""
    # JSON can contain lone surrogates, which plain UTF-8 cannot encode.
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def eval_lines_per_document(num_lines):
    """Return how many lines at the end of each document are for validation, in a small corpus.

    num_lines: the number of lines in each document. With few documents, a hash might choose none
    of them or half of the text, so one line in 20 is taken instead, from the end of the corpus.

    >>> eval_lines_per_document([10, 30]), eval_lines_per_document([40, 40, 1, 1])
    ([0, 2], [0, 2, 1, 1])
    >>> eval_lines_per_document([50, 50, 50, 50])  # half from each of the last two
    [0, 0, 5, 5]
    """
    num_eval = [0] * len(num_lines)
    # Take the last lines of the corpus: all of the last document, if need be, and so on.
    remaining = max(1, sum(num_lines) // EVAL_ONE_IN)
    for i in reversed(range(len(num_lines))):
        num_eval[i] = min(remaining, num_lines[i])
        remaining -= num_eval[i]

    # Sentence pairs need two documents in each split. If the last document has all the validation
    # lines, the second to last takes half of them (given four documents: two for each split).
    if len(num_lines) >= 4 and num_eval[-2] == 0:
        half = max(1, num_eval[-1] // 2)
        num_eval[-2] = min(half, num_lines[-2])
        num_eval[-1] = max(1, num_eval[-1] - num_eval[-2])
    return num_eval


def check_split(split):
    """Raise ValueError unless ``split`` is "train", "eval" or "all"."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")

"""Runs of train.py that share one tokenizer and one tokenized text."""
import sys

import common  # noqa: F401 (puts this checkout first on sys.path)

import train


def pretrain(folder, first, flags, text):
    """Train a run, unless it is finished; continue it if it was stopped. Return its folder.

    first     the run that makes the tokenizer and the tokens; the others take them from there
    flags     a list of flags of every run
    text      a list of flags of the first run alone: --corpus, --vocab-size and the like
    """
    if (folder / "model").is_dir():
        return folder
    if (folder / "config.json").is_file():
        flags = ["--resume"]
    elif folder == first:
        flags = [*flags, *text]
    else:
        flags = [*flags, "--data", str(first / "data"), "--tokenizer", str(first / "tokenizer")]
    if code := train.main([*flags, "--out", str(folder)]):
        sys.exit(code)  # stopped: half a run gives no row
    return folder

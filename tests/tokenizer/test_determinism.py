"""The same corpus gives the same files, byte for byte: under any hash seed (the order of Python's sets), for any order of the files."""
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
from tokenizer_samples import STORY, wild_texts

ROOT = Path(__file__).parents[2]
CAPPED = ["--max-words", "200"]  # what is forgotten under a cap depends on the order of the text, and on nothing else
KINDS = {"bpe": [], "wordpiece": ["--kind", "wordpiece"], "likelihood": ["--kind", "wordpiece", "--criterion", "likelihood"]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files, with many pairs that are equally frequent, and more rare characters than WordPiece keeps: ties show an order."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = STORY.splitlines(keepends=True) + [text.replace("\n", " ") + "\n" for text in wild_texts(200, seed=41)]
    lines += ["".join(map(chr, range(0x4E00 + 400 * n, 0x4E00 + 400 * n + 400))) + "\n" for n in range(3)]
    for number in range(3):
        (folder / f"{number}.txt").write_bytes("".join(lines[number::3]).encode())
    return sorted(folder.glob("*.txt"))


def trained_files(folder, kind, files, seed, *options):
    """{name: bytes} of a training in a process of its own."""
    subprocess.run([sys.executable, "-m", "tokenizer", "train", *KINDS[kind], *options, "--vocab-size", "3000", "--out", folder, *files],
                   cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(seed)}, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_do_not_depend_on_hash_seed_or_order_of_files(tmp_path, corpus, kind):
    first, *others = [trained_files(tmp_path / str(seed), kind, order, seed) for seed, order in enumerate(list(permutations(corpus))[::2])]
    assert len(first) >= 3 and all(files == first for files in others)


def test_nor_under_a_cap_on_hash_seed_or_number_of_workers(tmp_path, corpus):
    first, *others = [trained_files(tmp_path / str(seed), "bpe", corpus, seed, *CAPPED, "--workers", str(1 + seed)) for seed in range(2)]
    assert all(files == first for files in others)
    assert first != trained_files(tmp_path / "all", "bpe", corpus, 0)

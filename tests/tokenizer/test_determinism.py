"""The same corpus gives the same files, for any hash seed (order of sets) and order of files."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizer_samples import STORY, random_texts

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files with many ties: equal pairs, and more rare characters than are kept."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = STORY.splitlines(keepends=True)
    lines += [text.replace("\n", " ") + "\n" for text in random_texts(200, seed=41)]
    for start in (0x4E00, 0x4F90, 0x5120):
        lines.append("".join(map(chr, range(start, start + 400))) + "\n")
    for i in range(3):
        (folder / f"{i}.txt").write_bytes("".join(lines[i::3]).encode())
    return sorted(folder.glob("*.txt"))


def trained_files(folder, files, seed, *options):
    """Train in a process of its own and return {name: bytes}."""
    command = [sys.executable, "-m", "tokenizer", "train", *options, "--vocab-size", "3000",
               "--out", folder, *files]
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_files_depend_on_neither_hash_seed_nor_order(tmp_path, corpus, kind):
    first = trained_files(tmp_path / "first", corpus, 0, "--kind", kind)
    assert len(first) >= 3
    assert trained_files(tmp_path / "second", corpus[::-1], 1, "--kind", kind) == first


def test_under_a_word_limit_files_depend_on_neither_hash_seed_nor_workers(tmp_path, corpus):
    # Which words are dropped depends on the order of the text, and on nothing else.
    one, two = (trained_files(tmp_path / str(workers), corpus, workers, "--max-words", "200",
                              "--workers", str(workers)) for workers in (1, 2))
    assert one == two

"""Preparing a token file. Resuming one is tested in token_file/test_writer.py."""
import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from data_helpers import Characters

from data import TokenFile, prepare

MODULE = sys.modules[prepare.__module__]  # ``data.prepare`` is the function
DOCUMENTS = [f"document {i}\n" + f"line {i * i} of it\n" * (i % 7) for i in range(300)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_number_of_workers_does_not_change_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(MODULE, "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(MODULE, "NUM_INLINE_BATCHES", 2)
    for workers in (1, 2, 3):
        folder = tmp_path / str(workers)
        prepare(iter(DOCUMENTS), Characters(), folder, workers, show_progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")
    text = "".join(line.strip() for document in DOCUMENTS for line in document.split("\n"))
    assert bytes(TokenFile(tmp_path / "2").ids[:].tolist()).decode() == text


def test_lines_and_documents_without_ids_are_left_out(tmp_path):
    class WithoutDots(Characters):
        def encode_texts(self, texts):
            return super().encode_texts([text.replace(".", "") for text in texts])
    documents = ["ab\n...\n\nc", "..", "d."]
    tokens = prepare(documents, WithoutDots(), tmp_path / "tokens", show_progress=False)
    assert (tokens.num_documents, tokens.num_segments, tokens.num_tokens) == (2, 3, 4)
    assert [tokens.segment(i).tolist() for i in range(3)] == [[97, 98], [99], [100]]
    meta = json.loads((tmp_path / "tokens/meta.json").read_text())
    assert meta["num_bytes"] == 3 + 2 + 3


PROGRAM = """
import signal, sys
sys.path[:0] = {path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from data_helpers import Characters
from data import prepare
sys.modules["data.prepare"].NUM_INLINE_BATCHES = 1

def documents():
    for i in range(10 ** 9):
        if i == 5_000:
            print("started", flush=True)
        yield "some text here\\n" * 50

prepare(documents(), Characters(), {folder!r}, workers=2, show_progress=False)
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_preparation_leaves_no_token_file(tmp_path, stop):
    path = [os.path.dirname(__file__), os.getcwd()]
    program = PROGRAM.format(path=path, folder=str(tmp_path / "tokens"))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"started\n"
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # to all processes of the group, as a terminal does
    else:
        process.send_signal(stop)
    try:
        # Returns when the last worker has ended: each of them has the pipe open.
        _, errors = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(ValueError, match="no such folder"):
        TokenFile(tmp_path / "tokens")
    assert b"ForkProcess" not in errors  # no tracebacks of workers
    if stop == signal.SIGINT:
        assert b"KeyboardInterrupt: kept: " in errors
        assert [path.name for path in tmp_path.iterdir()] == [".tokens.part"]

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from data_helpers import Characters

from data import TokenFile, prepare
from data import prepare as prepare_function

DOCUMENTS = [f"document {number}\n" + f"line {number * number} of it\n" * (number % 7) for number in range(300)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "BATCH_CHARACTERS", 500)
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "FIRST_HERE", 2)


def test_any_number_of_workers_gives_the_same_bytes_and_all_of_them(tmp_path, small_batches):
    for workers in (1, 2, 3):
        prepare(iter(DOCUMENTS), Characters(), tmp_path / str(workers), workers=workers, show_progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")
    text = "".join(line.strip() for document in DOCUMENTS for line in document.split("\n"))
    assert bytes(TokenFile(tmp_path / "2").ids[:].tolist()).decode() == text


def test_a_killed_worker_is_one_line_with_the_remedy(monkeypatch, tmp_path):
    def killed(function, items, shared, workers, advice, first_here):
        raise ChildProcessError(f"one of 2 worker processes was killed: {advice}")
    monkeypatch.setattr(sys.modules[prepare_function.__module__], "map_in_order", killed)
    with pytest.raises(OSError, match="killed: prepare the text in one process, python -m data prepare .*--workers 1.*train.py --data"):
        prepare(iter(DOCUMENTS), Characters(), tmp_path / "tokens", workers=2, show_progress=False)


def test_lines_and_documents_without_ids_are_left_out(tmp_path):
    class WithoutDots(Characters):
        def encode_texts(self, texts):
            return super().encode_texts([text.replace(".", "") for text in texts])
    made = prepare(["ab\n...\n\nc", "..", "d."], WithoutDots(), tmp_path / "tokens", show_progress=False)
    assert (made.num_documents, made.num_segments, made.num_tokens) == (2, 3, 4)
    assert [made.segment(i).tolist() for i in range(3)] == [[97, 98], [99], [100]]
    assert json.loads((tmp_path / "tokens/meta.json").read_text())["num_bytes"] == 3 + 2 + 3


def test_what_is_replaced_is_said(tmp_path, capsys):
    for expected in ("", f"{tmp_path / 'tokens'} holds a token file already: it is made anew, and replaced when that is done"):
        prepare(["a"], Characters(), tmp_path / "tokens", workers=1)
        assert "".join(line for line in capsys.readouterr().err.strip("\r").splitlines(keepends=True) if "tokenize" not in line).strip() == expected


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_there_is_no_token_file(tmp_path, stop):
    program = f"""
import signal, sys; sys.path[:0] = {[os.path.dirname(__file__), os.getcwd()]!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
from data_helpers import Characters
from data import prepare
sys.modules["data.prepare"].FIRST_HERE = 1
def documents():
    for number in range(10 ** 9):
        if number == 5_000:
            print("going", flush=True)
        yield "some text here\\n" * 50
prepare(documents(), Characters(), {str(tmp_path / "tokens")!r}, workers=2, show_progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"going\n"
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does: to all processes of the group
    else:
        process.send_signal(stop)
    try:
        _, errors = process.communicate(timeout=30)  # ends when the last worker, which holds the pipe, has ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with pytest.raises(ValueError, match="no such folder"):
        TokenFile(tmp_path / "tokens")
    assert b"ForkProcess" not in errors  # no tracebacks of workers
    if stop == signal.SIGINT:
        assert b"KeyboardInterrupt: kept: " in errors and b"; preparing the same again goes on from there" in errors
        assert [path.name for path in tmp_path.iterdir()] == [".tokens.part"]

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from data_helpers import Characters

from data import TokenFile, prepare
from data import prepare as prepare_function
from data.workers import map_in_order

DOCUMENTS = [f"document {number}\n" + f"line {number * number} of it\n" * (number % 7) for number in range(300)]


def square(offset, number):
    return offset + number * number


def fail_at_seven(_, number):
    if number == 7:
        raise ValueError("seven")
    return number


def die_at_seven(_, number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def small_batches(monkeypatch):
    module = sys.modules[prepare_function.__module__]
    original = module.batches
    monkeypatch.setattr(module, "batches", lambda documents: original(documents, size=500))


def test_any_number_of_workers_gives_the_same_bytes_and_all_of_them(tmp_path, small_batches):
    for workers in (1, 2, 3):
        prepare(iter(DOCUMENTS), Characters(), tmp_path / str(workers), workers=workers, show_progress=False)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")
    text = "".join(line.strip() for document in DOCUMENTS for line in document.split("\n"))
    assert bytes(TokenFile(tmp_path / "2").ids.tolist()).decode() == text


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_order_and_none_is_lost(workers, count):
    assert list(map_in_order(square, range(count), shared=5, workers=workers)) == [5 + n * n for n in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers):
    with pytest.raises(ValueError, match="seven"):
        list(map_in_order(fail_at_seven, range(20), workers=workers))


def test_a_worker_that_is_killed_is_one_line_with_the_remedy_and_no_endless_wait():
    remedy = r"memory ran out: prepare the text in one process, python -m data prepare .*--workers 1.*train.py --data"
    with pytest.raises(OSError, match=f"^one of 2 worker processes was killed.*{remedy}") as raised:
        list(map_in_order(die_at_seven, range(20), workers=2))
    assert "\n" not in str(raised.value)


def test_only_a_few_items_are_in_flight():
    taken = []
    results = map_in_order(square, (taken.append(n) or n for n in range(1000)), shared=0, workers=2)
    next(results)
    assert len(taken) <= 2 * 2 + 1
    results.close()


def test_no_workers_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        list(map_in_order(square, [1], workers=0))


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_there_is_no_token_file(tmp_path, stop):
    program = f"""
import sys; sys.path[:0] = {[os.path.dirname(__file__), os.getcwd()]!r}
from data_helpers import Characters
from data import prepare
def documents():
    for number in range(10 ** 9):
        if number == 3000:
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
        assert not list(tmp_path.iterdir())

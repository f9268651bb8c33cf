"""Worker processes: results in order, errors passed on, bounded reading ahead, no endless waits."""
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT

from tokenizer.utils.workers import map_in_order


def add_square(offset, i):
    return offset + i * i


def remember(seen, i):
    seen.append(i)
    return os.getpid(), list(seen)


def fail_at_seven(_, i):
    if i == 7:
        raise ValueError("seven")
    return i


def die_at_seven(_, i):
    if i == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def make_large_result(_, i):
    return bytes(5_000_000)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_order(workers, count):
    results = list(map_in_order(add_square, range(count), shared=5, workers=workers))
    assert results == [5 + i * i for i in range(count)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork")
def test_forked_workers_know_what_the_inline_items_have_cached():
    results = list(map_in_order(remember, range(6), shared=[], workers=2, inline_seconds=0))
    me = os.getpid()
    assert results[0] == (me, [0])
    assert me not in {process for process, _ in results[1:]}
    assert all(seen[0] == 0 for _, seen in results[1:])


@pytest.mark.parametrize("count, inline_seconds", [(2, 0), (6, 600)])
def test_short_work_needs_no_workers(count, inline_seconds):
    """A single item is left, or no item."""
    results = map_in_order(remember, range(count), [], workers=2, inline_seconds=inline_seconds)
    assert {process for process, _ in results} == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_in_the_parent(workers):
    with pytest.raises(ValueError, match="seven"):
        list(map_in_order(fail_at_seven, range(20), workers=workers))


def test_a_killed_worker_raises_an_error_with_advice():
    with pytest.raises(OSError, match="one of 2 worker processes was killed.*: buy memory$"):
        list(map_in_order(die_at_seven, range(20), workers=2, advice="buy memory"))


@pytest.mark.parametrize("kill", [True, False])
def test_a_worker_that_ends_while_it_sends_a_result_blocks_nothing(kill):
    results = map_in_order(make_large_result, range(20), workers=2)
    next(results)
    time.sleep(0.5)  # both workers are writing, and their pipes are full
    if kill:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(OSError, match="was killed"):
            list(results)
    results.close()
    assert not multiprocessing.active_children()


def test_only_a_few_items_are_in_flight():
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i
    results = map_in_order(add_square, items(), shared=0, workers=2)
    next(results)
    assert len(taken) <= 2 * 2 + 1
    results.close()


SCRIPT = """
import multiprocessing
import operator
from tokenizer.utils.workers import map_in_order

get_context = multiprocessing.get_context
multiprocessing.get_context = lambda method=None: get_context("{method}")  # as on other systems

def work(_=0):
    zeros = bytes(1_000_000)  # more than fits into a pipe: a dead worker would block the parent
    print(list(map_in_order(operator.contains, [0, 1, 0], shared=zeros, workers=2)), flush=True)

{main}
"""
WITH_GUARD = 'if __name__ == "__main__":\n    work()'
WITHOUT_GUARD = "work()"
IN_A_DAEMON = 'if __name__ == "__main__":\n    multiprocessing.Pool(1).map(work, [0])'
METHODS = [method for method in multiprocessing.get_all_start_methods() if method != "fork"]


def run_script(tmp_path, method, main):
    """Run the script with Python, for at most a minute."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(method=method, main=main))
    return subprocess.run([sys.executable, path], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("method, main", [
    *((method, WITH_GUARD) for method in METHODS), (METHODS[-1], IN_A_DAEMON)])
def test_a_script_with_a_guard_works_with_every_start_method(tmp_path, method, main):
    done = run_script(tmp_path, method, main)
    assert done.stdout == "[True, False, True]\n"
    assert done.returncode == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_script_without_a_guard_ends_with_one_sentence(tmp_path, method):
    done = run_script(tmp_path, method, WITHOUT_GUARD)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("Traceback") == 1  # none of a worker
    assert done.stderr.splitlines()[-1].endswith(
        'put its work under `if __name__ == "__main__":`, or pass workers=1')

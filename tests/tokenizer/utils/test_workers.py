"""Worker processes: results in order, errors passed on, bounded reading ahead, no endless waits."""
import multiprocessing
import os
import signal
import sys
import time

import pytest

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
    return bytes(50_000_000)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_order(workers, count):
    results = list(map_in_order(add_square, range(count), shared=5, workers=workers))
    assert results == [5 + i * i for i in range(count)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork")
def test_forked_workers_know_what_the_inline_items_have_cached():
    results = list(map_in_order(remember, range(6), shared=[], workers=2, num_inline=2))
    me = os.getpid()
    assert results[:2] == [(me, [0]), (me, [0, 1])]
    assert me not in {process for process, _ in results[2:]}
    assert all(seen[:2] == [0, 1] for _, seen in results[2:])


def test_a_single_item_needs_no_workers():
    results = map_in_order(remember, range(3), shared=[], workers=2, num_inline=2)
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

"""Work shared out to processes: results in order, errors passed on, nothing read far ahead, nobody waits for the dead."""
import multiprocessing
import os
import signal
import sys
import time

import pytest

from tokenizer.utils.workers import map_in_order


def square(offset, number):
    return offset + number * number


def remember(seen, number):
    seen.append(number)
    return os.getpid(), list(seen)


def fail_at_seven(_, number):
    if number == 7:
        raise ValueError("seven")
    return number


def die_at_seven(_, number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_order_and_none_is_lost(workers, count):
    assert list(map_in_order(square, range(count), shared=5, workers=workers)) == [5 + n * n for n in range(count)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers that are not forked know nothing of their parent")
def test_the_first_items_are_done_here_and_workers_know_what_was_learned_from_them():
    results = list(map_in_order(remember, range(6), shared=[], workers=2, num_inline=2))
    here = os.getpid()
    assert results[:2] == [(here, [0]), (here, [0, 1])] and here not in {process for process, _ in results[2:]}
    assert all(seen[:2] == [0, 1] for _, seen in results[2:])
    assert [process for process, _ in map_in_order(remember, range(3), shared=[], workers=2, num_inline=2)] == [here] * 3  # one is left: no workers


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers):
    with pytest.raises(ValueError, match="seven"):
        list(map_in_order(fail_at_seven, range(20), workers=workers))


def test_a_worker_that_is_killed_is_one_line_with_advice_and_no_endless_wait():
    with pytest.raises(OSError, match="^one of 2 worker processes was killed.*memory ran out: buy memory$"):
        list(map_in_order(die_at_seven, range(20), workers=2, advice="buy memory"))


def large(_, number):
    return bytes(50_000_000)


@pytest.mark.parametrize("kill", [True, False])
def test_a_worker_that_ends_in_the_middle_of_a_result_keeps_nobody_waiting(kill):
    results = map_in_order(large, range(20), workers=2)
    next(results)
    time.sleep(0.5)  # both are writing, and the pipe is full
    if kill:
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(OSError, match="was killed"):
            list(results)
    results.close()
    assert not multiprocessing.active_children()


def test_only_a_few_items_are_in_flight():
    taken = []
    results = map_in_order(square, (taken.append(n) or n for n in range(1000)), shared=0, workers=2)
    next(results)
    assert len(taken) <= 2 * 2 + 1
    results.close()


def test_no_workers_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        list(map_in_order(square, [1], workers=0))

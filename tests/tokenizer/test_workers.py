"""Work shared out to processes: results in order, errors passed on, nothing read far ahead, nobody waits for the dead."""
import os
import signal

import pytest

from tokenizer.workers import map_in_order


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


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_come_in_order_and_none_is_lost(workers, count):
    assert list(map_in_order(square, range(count), shared=5, workers=workers)) == [5 + n * n for n in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here(workers):
    with pytest.raises(ValueError, match="seven"):
        list(map_in_order(fail_at_seven, range(20), workers=workers))


def test_a_worker_that_is_killed_is_one_line_with_advice_and_no_endless_wait():
    with pytest.raises(OSError, match="^one of 2 worker processes was killed.*memory ran out: buy memory$"):
        list(map_in_order(die_at_seven, range(20), workers=2, advice="buy memory"))


def test_only_a_few_items_are_in_flight():
    taken = []
    results = map_in_order(square, (taken.append(n) or n for n in range(1000)), shared=0, workers=2)
    next(results)
    assert len(taken) <= 2 * 2 + 1
    results.close()


def test_no_workers_is_an_error():
    with pytest.raises(ValueError, match="at least 1"):
        list(map_in_order(square, [1], workers=0))

"""Work in several processes."""

from __future__ import annotations

import pytest

from sameo_model.data.parallel import chunked, default_workers, ordered_map


def square(number: int) -> int:
    if number == 99:
        raise ValueError("99 fails")
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    # abs is importable in every process.
    assert list(ordered_map(abs, range(-20, 0), workers)) == list(range(20, 0, -1))


def test_jobs_are_not_drawn_far_ahead():
    drawn = []

    def jobs():
        for number in range(1000):
            drawn.append(number)
            yield number

    results = ordered_map(abs, jobs(), 2)
    next(results)
    assert len(drawn) <= 8
    results.close()


def test_an_error_in_a_job_reaches_the_caller():
    with pytest.raises(ValueError, match="99 fails"):
        list(ordered_map(square, [1, 99], 1))


def test_chunks_hold_everything_once():
    assert list(chunked(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked([], 3)) == []


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1

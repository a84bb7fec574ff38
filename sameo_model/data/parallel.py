"""Work on all cores with results in order and a bounded number of jobs in flight."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def chunked(items: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Yield consecutive lists of `size` items, the last one possibly shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def ordered_map(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """Yield `function(job)` for each job, in the order of the jobs.

    Jobs are drawn only as far ahead as keeps the workers busy, so that neither jobs nor results
    pile up in memory.

    Args:
        function: Importable function, or a `partial` of one whose fixed arguments each process
            gets once; it and the jobs must be picklable if `workers` > 1.
        jobs: Consumed lazily.
        workers: Number of processes; 1 works in this process.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    # Fresh processes: a fork would copy the threads' locks of OpenCV and of inference engines.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(function,)
    ) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                pending.append(pool.submit(_work, job))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


_function: Callable[[Any], Any] | None = None


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    end_with_parent()


def end_with_parent() -> None:
    """End this process when the one that started it is killed; it would wait or work for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Any) -> Any:
    assert _function is not None
    return _function(job)

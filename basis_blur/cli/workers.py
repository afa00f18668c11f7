"""Photos in several processes of this computer: each takes the next one that nobody has begun.

A worker has its own deblurrer, and its share of the cores unless OMP_NUM_THREADS says how many. What it tells is handed
back with the result of each photo, so that lines of two photos do not mix, and the log has them too.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """The outcome of one task.

    Args:
        told: text that was printed on the standard output.
        warned: text that was printed on the standard error.
        result: result of the work.
    """

    told: str
    warned: str
    result: Any


_work: Callable[[Any], Any]  # the function of a worker process, made when it starts


def in_workers(
    make_work: Callable[..., Callable[..., Any]], arguments: Sequence[Any], tasks: Sequence[Any], number: int
) -> Iterator[Outcome]:
    """Do tasks in processes, and give the outcomes as they come.

    Args:
        make_work: function that each process calls with `arguments`; it returns the function that is called with each
            task. All of these, and the results, can be pickled.
        arguments: arguments of `make_work`.
        tasks: tasks, in the order in which they are begun.
        number: number of processes.

    Raises:
        Exception: what the work of a task raises; those that are not begun are then left.
    """
    threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, (os.cpu_count() or 1) // number))
    before = os.environ.get('OMP_NUM_THREADS')
    os.environ['OMP_NUM_THREADS'] = threads  # read when torch is loaded
    pool = ProcessPoolExecutor(
        number, multiprocessing.get_context('spawn'), initializer=_begin, initargs=(make_work, tuple(arguments))
    )
    try:
        futures: list[Future[Any]] = [pool.submit(_do, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BaseException:
        processes = list((getattr(pool, '_processes', None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    finally:
        pool.shutdown()
        if before is None:
            del os.environ['OMP_NUM_THREADS']


def _begin(make_work: Callable[..., Callable[..., Any]], arguments: Sequence[Any]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process too, which ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # files that are half written are removed on the way
    _work = make_work(*arguments)


def _do(task: Any) -> Outcome:
    told, warned = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(warned):
        result = _work(task)
    return Outcome(told.getvalue(), warned.getvalue(), result)

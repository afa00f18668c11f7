"""Worker processes for preparations: few jobs under way at a time, results in order, no orphans."""

from __future__ import annotations

import multiprocessing.util
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

import cv2

from basis_blur.foundation.errors import InputError

Job = TypeVar('Job')
Result = TypeVar('Result')

UNDER_WAY_PER_WORKER = 4  # largest number of jobs for each worker that are begun and not yet taken
MOST_WORKERS = 1024  # largest number of workers


class WorkerPool:
    """Processes that are not forked from this one, and so inherit neither its files nor its locks.

    Args:
        workers: number of processes; 0 works in this one. A script that asks for processes needs
            `if __name__ == '__main__':`, as with any use of `multiprocessing`.

    Raises:
        InputError: `workers` is negative or above `MOST_WORKERS`.
    """

    def __init__(self, workers: int):
        if not 0 <= workers <= MOST_WORKERS:
            raise InputError(f'the number of workers is {workers}, expected 0 to {MOST_WORKERS}; one per core is best.')
        self._bound = workers * UNDER_WAY_PER_WORKER
        self._executor = None
        if workers:
            # A forked worker inherits the locks that threads of this process hold, and can wait for them for ever.
            context = get_context('forkserver' if 'forkserver' in get_all_start_methods() else 'spawn')
            if context.get_start_method() == 'forkserver':
                context.set_forkserver_preload([__name__])
            with _nothing_imported_from_the_current_folder():
                self._executor = ProcessPoolExecutor(workers, context, initializer=_begin_worker)
                self._executor.submit(int)  # the first job starts the processes

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield work(job) in the order of the jobs; memory does not grow with their number.

        Raises:
            OSError: a worker process died. What `work` raises is raised here.
        """
        if self._executor is None:
            yield from map(work, jobs)
            return
        under_way: deque[Future[Any]] = deque()
        try:
            for job in jobs:
                under_way.append(self._executor.submit(work, job))
                if len(under_way) >= self._bound:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise OSError(
                'a worker process died, as happens when memory runs out; call again with fewer --workers, '
                'what was done is kept.'
            ) from error


@contextmanager
def _nothing_imported_from_the_current_folder() -> Iterator[None]:
    """Keep the current folder out of the path of the interpreters that `multiprocessing` starts in the block.

    It starts them as `python -c ...`, which looks for every module in the current folder first: a `cv2.py` among the
    photos would be run. Until Python 3.10 only -I keeps it out, which also ignores PYTHONPATH; the workers take over
    the path of this process before they import anything of ours.
    """
    names, function = vars(multiprocessing.util), '_args_from_interpreter_flags'
    flags = names[function]
    safe = '-P' if sys.version_info >= (3, 11) else '-I'
    names[function] = lambda: [*flags(), safe]
    try:
        yield
    finally:
        names[function] = flags


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    cv2.setNumThreads(0)  # there is a worker for every core already
    # A pool does not notice that its parent was killed; without this its workers would wait for ever.
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)

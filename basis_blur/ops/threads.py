"""Pieces of work that threads do side by side on a CPU, each piece by one thread alone.

Torch lets all threads work on each operation together. A piece whose numbers stay in the cache of a core is too small
for that: the threads would wait for each other most of the time.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar('Piece')
Result = TypeVar('Result')


def share(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Return `work(piece)` of all pieces, in their order, done in as many threads as torch would use.

    Where gradients are recorded, this thread does all of it. A piece must not share out parts of itself.

    Args:
        work: writes to memory that no other piece writes to.
        pieces: arguments of `work`.
    """
    pieces = list(pieces)
    threads = torch.get_num_threads()
    if min(threads, len(pieces)) <= 1 or torch.is_grad_enabled():
        return [work(piece) for piece in pieces]
    return list(_thread_pool(threads, os.getpid()).map(_without_gradients(work), pieces))


def _without_gradients(work: Callable) -> Callable:
    """Let other threads do `work` as this one would: without gradients, and in inference mode where this one is.

    Each thread has a mode of its own, and only inference mode may write to tensors that were made in it.
    """
    return torch.inference_mode()(work) if torch.is_inference_mode_enabled() else torch.no_grad()(work)


@functools.lru_cache(maxsize=1)
def _thread_pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that compute by themselves, and are kept: new ones would ask for all their memory again.

    A thread begins with the number of threads that torch has for all; one of its own is kept only if torch has been
    used in it before. Otherwise each has two OpenMP threads on two cores, and takes a quarter more processor time where
    others work too. To tie each to a core of its own gains nothing (`scripts/benchmark/bench_threads.py`). A forked
    process has none of its parent's threads, hence `process`.
    """
    started = threading.Barrier(threads)

    def compute_alone(_):
        torch.get_num_threads()  # the first use
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix='basis_blur')
    list(pool.map(compute_alone, range(threads)))
    torch.set_num_threads(threads)  # `compute_alone` also said what threads of others shall begin with
    return pool

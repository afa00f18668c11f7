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
from typing import Any, TypeVar

import torch

Piece = TypeVar('Piece')
Result = TypeVar('Result')


def share(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Return `work(piece)` of all pieces, in their order, done in as many threads as torch would use.

    Where gradients are recorded, the calling thread does all of it. `work` must not call `share` itself.

    Args:
        work: function that takes a piece, and writes to no memory that it writes to for another piece.
        pieces: arguments of `work`.
    """
    pieces = list(pieces)
    threads = torch.get_num_threads()
    if min(threads, len(pieces)) <= 1 or torch.is_grad_enabled():
        return [work(piece) for piece in pieces]
    return list(_thread_pool(threads, os.getpid()).map(_without_gradients(work), pieces))


def _without_gradients(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work` for other threads: without gradients, and in inference mode if the calling thread is.

    Each thread has a mode of its own, and only inference mode may write to tensors that were made in it.
    """
    return torch.inference_mode()(work) if torch.is_inference_mode_enabled() else torch.no_grad()(work)


@functools.lru_cache(maxsize=1)
def _thread_pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return threads that compute alone. They are kept, since new ones would ask for all their memory again.

    Torch would give each of them several OpenMP threads, which on two busy cores take a quarter more processor time. A
    thread keeps a number of its own only if torch was used in it before that number is set. Tying each thread to a core
    gains nothing (`scripts/benchmark/bench_threads.py`).

    Args:
        threads: number of threads.
        process: id of this process; a forked one has none of its parent's threads and needs others.
    """
    started = threading.Barrier(threads)

    def compute_alone(_: int) -> None:
        torch.get_num_threads()  # the first use
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix='basis_blur')
    list(pool.map(compute_alone, range(threads)))
    torch.set_num_threads(threads)  # `compute_alone` also changed the number that new threads begin with
    return pool

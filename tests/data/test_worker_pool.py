"""Results come in order, failures are told, and no worker outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from basis_blur.data.worker_pool import WorkerPool

pytestmark = pytest.mark.processes


def square(number):
    return number * number


def fail_at_seven(number):
    if number == 7:
        raise KeyError('seven')
    return number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    with WorkerPool(workers) as pool:
        assert list(pool.map(square, range(30))) == [number * number for number in range(30)]


@pytest.mark.parametrize('workers', [0, 1])
def test_what_a_worker_raises_is_raised(workers):
    with WorkerPool(workers) as pool, pytest.raises(KeyError, match='seven'):
        list(pool.map(fail_at_seven, range(30)))


def test_jobs_are_taken_as_results_are_wanted():
    taken = []
    with WorkerPool(1) as pool:
        results = pool.map(square, (taken.append(number) or number for number in range(1000)))
        next(results)
        assert len(taken) < 10
        results.close()


def test_a_worker_that_dies_is_an_error():
    with WorkerPool(1) as pool, pytest.raises(OSError, match='a worker process died'):
        list(pool.map(die, range(3)))


def parent(number):
    return os.getppid()


@pytest.mark.skipif('forkserver' not in multiprocessing.get_all_start_methods(), reason='no process forks here')
def test_workers_are_not_forked_from_this_process():
    with WorkerPool(1) as pool:
        assert list(pool.map(parent, [0])) != [os.getpid()]


def test_workers_end_when_their_parent_is_killed():
    code = (
        'import os, signal; from basis_blur.data.worker_pool import WorkerPool; '
        'pool = WorkerPool(2); list(pool.map(abs, range(9))); os.kill(os.getpid(), signal.SIGKILL)'
    )
    # The pipe stays open as long as any process that inherited it lives.
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=30)
    assert done.returncode == -signal.SIGKILL

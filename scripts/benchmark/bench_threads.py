"""Claim: one OpenMP thread and no core of its own for each thread of H's pool costs no more than the alternatives.

    python scripts/benchmark/bench_threads.py [--json PATH]

Compared are the pool as it is, one whose threads have two OpenMP threads each (torch's default on two cores), and one
whose threads are tied to one core each. Default size: 1024 x 1024 x 3, B = 25, K = 33, float32, two threads; seed 0.
Processor time is the user time of all threads of the process; it hardly depends on other work on the machine, while the
time on the clock does. On an idle machine all three are alike; on a busy one, two OpenMP threads wait for each other.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from measure import print_table, report_claims, write_json

from basis_blur import BasisBlur, BlurField
from basis_blur.ops import threads

LEAST_GAIN = 0.1  # share of the processor time by which the other two are beaten, or equalled in the case of cores
NAMES = ('one OpenMP thread each', 'two OpenMP threads each', 'one each, tied to a core')


def pool(number: int, openmp_threads: int, tied: bool) -> ThreadPoolExecutor:
    """Return a pool like that of the package, but for what is given."""
    started, places = threading.Barrier(number), iter(range(number))

    def begin(_: int) -> None:
        torch.get_num_threads()
        torch.set_num_threads(openmp_threads)
        if tied:
            os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[next(places)]})
        started.wait()

    made = ThreadPoolExecutor(number)
    list(made.map(begin, range(number)))
    torch.set_num_threads(number)
    return made


def main() -> int:
    """Time the three in turn, print them, and judge the claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=1024, help='side of the photo, pixels')
    parser.add_argument('--repeats', type=int, default=9, help='turns of each')
    parser.add_argument('--json', type=Path, help='also write the figures')
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    kernels = torch.rand(1, 25, 33, 33)
    mixing = torch.rand(1, 25, args.size, args.size).softmax(1)
    blur = BasisBlur(BlurField(kernels / kernels.sum((-2, -1), keepdim=True), mixing))
    scene = torch.rand(1, 3, args.size + 32, args.size + 32)
    pools = {name: pool(2, each, tied) for name, each, tied in zip(NAMES, (1, 2, 1), (False, False, True), strict=True)}
    user: dict[str, list[float]] = {name: [] for name in NAMES}
    wall: dict[str, list[float]] = {name: [] for name in NAMES}
    kept = threads._thread_pool
    try:
        for turn in range(args.repeats + 1):
            for name in NAMES:
                threads._thread_pool = lambda *_, own=pools[name]: own
                clock, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
                with torch.no_grad():
                    blur(scene)
                if turn:  # the first is a warm-up
                    user[name].append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
                    wall[name].append(time.perf_counter() - clock)
    finally:
        threads._thread_pool = kept
    medians = {name: (statistics.median(user[name]), statistics.median(wall[name])) for name in NAMES}
    rows = [[name, f'{medians[name][0]:.3f} s', f'{medians[name][1]:.3f} s'] for name in NAMES]
    print_table(['threads of the pool', 'processor time', 'on the clock'], rows)
    ours, two, tied = (medians[name][0] for name in NAMES)
    write_json(args.json, {name: {'user_s': user[name], 'wall_s': wall[name]} for name in NAMES})
    return report_claims(
        {
            f'{name}: no {LEAST_GAIN:.0%} less processor time than {NAMES[0]}': other > (1 - LEAST_GAIN) * ours
            for name, other in ((NAMES[1], two), (NAMES[2], tied))
        }
    )


if __name__ == '__main__':
    sys.exit(main())

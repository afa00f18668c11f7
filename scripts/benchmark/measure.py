"""What the benchmark scripts share: timing, peak memory, the machine, and the table and JSON they leave.

Contract: every figure of a table comes from one run in one process (memory: one process per row); timings are the
median and the interquartile range after a warm-up, of means over a second where calls are shorter; inputs are drawn
from stated seeds; a claim that does not hold is printed like the others and the script ends with exit code 1.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

TURN = 1.0  # second


class Timing:
    """Seconds of repeated calls: median and interquartile range."""

    def __init__(self, seconds: list[float]):
        self.seconds = seconds
        self.median = statistics.median(seconds)
        quarters = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
        self.spread = quarters[2] - quarters[0]

    def __str__(self) -> str:
        return f'{self.median:.3f} s (IQR {self.spread:.3f})'

    def as_dict(self) -> dict:
        return {'median_s': self.median, 'iqr_s': self.spread, 'runs': len(self.seconds)}


def time_alternately(functions: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time several functions in turn, so that whatever slows the machine for a while slows all of them.

    In its turn, a function is called for at least `TURN` seconds, and their mean counts: the first of short calls would
    still pay for the one before, whose threads wait busily for a while and whose data are in the cache.
    """
    for function in functions.values():
        for _ in range(warm_up):
            function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start, calls = time.perf_counter(), 0
            while calls == 0 or time.perf_counter() - start < TURN:
                function()
                calls += 1
            seconds[name].append((time.perf_counter() - start) / calls)
    return {name: Timing(values) for name, values in seconds.items()}


def environment() -> dict:
    """Return what a reader needs to judge a timing."""
    return {
        'python': platform.python_version(),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        'machine': platform.machine(),
        'system': platform.system(),
    }


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB.

    On Linux from /proc: getrusage there starts at the parent's peak.
    """
    status = Path('/proc/self/status')
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith('VmHWM'))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == 'darwin' else peak / 2**10


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print rows of text in aligned columns, the first one to the left."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for index, row in enumerate([header, *rows]):
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print('  '.join(cells))
        if index == 0:
            print('  '.join('-' * width for width in widths))


def report_claims(claims: dict[str, bool]) -> int:
    """Print each claim with its verdict; return the exit code, 0 where all hold."""
    for claim, holds in claims.items():
        print(f'{"holds " if holds else "BROKEN"}  {claim}')
    return 0 if all(claims.values()) else 1


def write_json(path: Path | None, result: dict) -> None:
    """Write `result` and the environment to `path`, if one is given."""
    if path is not None:
        path.write_text(json.dumps({'environment': environment(), **result}, indent=2) + '\n')
        print(f'written to {path}')

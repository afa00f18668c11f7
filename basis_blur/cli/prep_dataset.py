"""basis-blur prep-dataset: check the official download of a benchmark and bring it into pairs of photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from basis_blur.foundation.errors import InputError

DESCRIPTION = """Check the official download of a benchmark and write it to OUT/{train,test}/{blur,sharp}/NAME.png.

NAME is gopro, gopro-gamma (its blur with a gamma curve), hide, realblur-j, realblur-r, koehler or lai. DOWNLOAD is
the unpacked folder, or zip and tar archives, or a folder that holds them. The photos keep their bytes; those of one
name are a pair, as evaluate and prep-lmdb take them. For koehler, sharp/NAME holds the frames of the camera's
trajectory; lai becomes OUT/{real,uniform,nonuniform}, real without ground truth.

Whatever is missing, additional, cut off or of another size is listed, and nothing is written. OUT appears when it is
complete."""

COMMAND = 'prep-dataset'
MOST_LINES = 50  # number of lines of complaints that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('name', metavar='NAME', nargs='?', help='name of the benchmark; see above')
    parser.add_argument('downloads', metavar='DOWNLOAD', nargs='*', type=Path, help='folder, archives, or both')
    parser.add_argument('-o', '--output', metavar='OUT', type=Path, help='folder to write')
    parser.add_argument(
        '--link', action='store_true', help='hard links to unpacked files instead of copies, where that is possible'
    )
    parser.add_argument(
        '--allow-incomplete', action='store_true', help='take the pairs that are good and print what is missing'
    )
    parser.add_argument(
        '--where',
        action='store_true',
        help='print where the download of NAME, or of all benchmarks, comes from, and end',
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written.

    Raises:
        InputError, OSError: see `benchmark_sets.prepare_benchmark`.
    """
    from basis_blur.data import benchmark_sets

    benchmark = None if args.name is None else benchmark_sets.benchmark_of(args.name)
    if args.where:
        chosen = [benchmark] if benchmark else benchmark_sets.BENCHMARKS.values()
        print('\n\n'.join(dict.fromkeys(each.where for each in chosen)))
        return 0
    if benchmark is None or not args.downloads or args.output is None:
        raise InputError(
            'NAME, DOWNLOAD and -o OUT are needed; "basis-blur prep-dataset --where" tells where downloads come from.'
        )

    from tqdm import tqdm

    def watch(steps: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(steps, total=total, unit='photo', desc=COMMAND, mininterval=0.5, disable=None)

    try:
        result = benchmark_sets.prepare_benchmark(
            benchmark, args.downloads, args.output, args.link, args.allow_incomplete, watch
        )
    except benchmark_sets.IncompleteError as error:
        tell(error.complaints)
        raise
    tell(result.complaints)
    counts = ', '.join(f'{number} {split}' for split, number in result.pairs.items())
    incomplete = '; incomplete, as listed' if result.complaints else ''
    print(f'{args.output}: {counts}; {result.linked} files linked, {result.copied} copied{incomplete}.')
    return 0


def tell(complaints: tuple[str, ...]) -> None:
    """Print the first complaints to standard error, and how many more there are."""
    for line in complaints[:MOST_LINES]:
        print(line, file=sys.stderr)
    if len(complaints) > MOST_LINES:
        print(f'and {len(complaints) - MOST_LINES} more', file=sys.stderr)

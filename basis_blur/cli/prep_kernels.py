"""basis-blur prep-kernels: draw camera-shake kernels into an LMDB for training."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from basis_blur.foundation.errors import InputError

DESCRIPTION = """Draw camera-shake kernels and write them to the LMDB folder OUT, in BasicSR's layout.

Interrupted at any moment, even killed, the same command goes on where it stopped. The folder gets its name when it is
complete and checked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        '-o', '--output', metavar='OUT', type=Path, required=True, help='folder to write; its name ends in .lmdb'
    )
    parser.add_argument(
        '-n', '--number', metavar='N', type=int, default=500_000, help='number of kernels (default: 500000)'
    )
    parser.add_argument(
        '--kernel-size', metavar='K', type=int, default=33, help='side of a kernel in pixels, odd (default: 33)'
    )
    parser.add_argument('--seed', metavar='S', type=int, default=0, help='seed of the random numbers (default: 0)')
    parser.add_argument(
        '--workers',
        metavar='W',
        type=int,
        default=os.cpu_count() or 1,
        help='number of processes (default: one per core)',
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written.

    Raises:
        InputError, OSError: see `kernel_lmdb.prepare_kernels`.
    """
    from tqdm import tqdm

    from basis_blur.data.kernel_lmdb import KernelRecipe, prepare_kernels

    if args.workers < 0:
        raise InputError(f'--workers is {args.workers}, expected at least 0.')
    recipe = KernelRecipe(args.number, args.kernel_size, args.seed)
    bar = None

    def watch(done: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=recipe.count, initial=done, unit='kernel', desc='prep-kernels', mininterval=0.5)
        bar.update(done - bar.n)

    try:
        result = prepare_kernels(args.output, recipe, args.workers, watch)
    finally:
        if bar is not None:
            bar.close()
    if result.was_finished:
        print(f'{args.output} is already finished: {recipe.count} kernels.')
        return 0
    before = f', {result.resumed} of them from before' if result.resumed else ''
    print(f'{args.output}: {recipe.count} kernels of {args.kernel_size}x{args.kernel_size}{before}.')
    return 0

"""basis-blur prep-guesses: restore a folder of blurred photos, for a training that has no sharp ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from basis_blur.cli import estimation
from basis_blur.foundation.errors import InputError, printable

DESCRIPTION = """Restore the photos of a folder as "basis-blur deblur" does, and write what a training without sharp
photos takes: OUT/{blurred,guess,trust}/NAME.png and OUT/told/NAME.json, one for each photo.

The guess of a photo counts as far as the search for its shake trusts itself, and each pixel as far as the guess,
blurred again, explains it; a photo with a doubt, and one in which a network alone sees a blur, does not count. The
data set GuessedPhotoDataset reads OUT, see options/tune_latent_kernel_real.yml.

Interrupted at any moment, even killed, the same command goes on where it stopped."""

COMMAND = 'prep-guesses'
LEAST_LONGEST = 64  # smallest value of --longest-side, pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('photos', metavar='PHOTOS', type=Path, help='folder of blurred photos, without sub-folders')
    parser.add_argument('-o', '--output', metavar='OUT', type=Path, required=True, help='folder to write')
    parser.add_argument(
        '--longest-side',
        metavar='PIXELS',
        type=int,
        help='make larger photos smaller first, so that their blur fits the kernels of the network that is trained '
        '(default: photos stay as they are)',
    )
    estimation.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written; return 2 if photos could not be used.

    Raises:
        InputError, OSError: see `guesses.prepare_guesses`, and `estimation.deblurrer`.
    """
    if args.longest_side is not None and args.longest_side < LEAST_LONGEST:
        raise InputError(f'--longest-side is {args.longest_side}, expected at least {LEAST_LONGEST} pixels.')

    from tqdm import tqdm

    from basis_blur.data.guesses import prepare_guesses
    from basis_blur.foundation.numbers import GAMMA

    def watch(steps: Iterable[Any], total: int, done: int) -> Iterable[Any]:
        return tqdm(steps, total=total, initial=done, unit='photo', desc=COMMAND, mininterval=0.5, disable=None)

    with estimation.plain_warnings(COMMAND):
        deblurrer = estimation.deblurrer(args)
        gamma = GAMMA if args.gamma is None else args.gamma
        result = prepare_guesses(args.photos, args.output, deblurrer, gamma, args.longest_side, watch)
    for reason in result.bad.values():
        print(printable(f'left out: {reason}'), file=sys.stderr)
    before = f', {result.resumed} of them from before' if result.resumed else ''
    unusable = f'; {len(result.bad)} unusable left out' if result.bad else ''
    print(f'{args.output}: {result.photos} photos{before}; {result.trusted} have a guess that is trusted{unusable}.')
    return 2 if result.bad else 0

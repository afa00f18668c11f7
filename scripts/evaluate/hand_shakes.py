"""Write blurred photos of recorded shakes of a hand, and apart from them what a training may not see.

    python scripts/evaluate/hand_shakes.py PHOTOS --recordings DIR -o OUT

    OUT/blurred/NAME.png    the blurred photos
    OUT/sharp/NAME.png      the sharp ones
    OUT/fields/NAME.npz     the true blurs

As the set `gyro` of score_shake.py: a hand that rotated a lens of 28 mm about three axes, for photos and kernels that
fit the light networks. A photo is a window of at most `--side` pixels, and has one of the recordings in turn, a part of
it that fits a kernel of 9 to 19 pixels, gamma 2.2, noise of 0.002 to 0.01 and 8 bits. Everything is drawn from the
seed. Photos of less than 256 pixels a side are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from records import run_script
from score_shake import Scene, exposed, hand, photo_files, rates_of
from tqdm import tqdm

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.numbers import GAMMA
from basis_blur.photos.reading import read_photo
from basis_blur.photos.writing import write_photo

SIZES = (9, 11, 13, 15, 17, 19)  # sides of the kernels, pixels
NOISE = (0.002, 0.01)  # range of the noise, sRGB-like; its logarithm is uniform
LEAST_SIDE = 256  # shortest side of a photo, pixels


def build_parser() -> argparse.ArgumentParser:
    """Return the options of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path, nargs='+', metavar='PHOTOS', help='sharp photos or folders')
    parser.add_argument('--recordings', type=Path, metavar='DIR', required=True, help='as for score_shake.py')
    parser.add_argument('-o', '--output', type=Path, metavar='OUT', required=True, help='folder to write')
    parser.add_argument('--number', type=int, metavar='N', help='photos that are written (default: all)')
    parser.add_argument('--side', type=int, default=448, help='longest side of a blurred photo (default: 448 pixels)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the blurs (default: 0)')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the photos."""
    args = build_parser().parse_args(arguments)
    if args.output.exists():
        raise InputError(f'{args.output} already exists; name another folder.')
    for kind in ('blurred', 'sharp', 'fields'):
        (args.output / kind).mkdir(parents=True)
    found = shaken(photo_files(args.photos), rates_of(args.recordings), args.side, args.seed)
    written = 0
    for _, scene in zip(tqdm(range(args.number or 1_000_000), unit='photo', disable=None), found, strict=False):
        write_photo(args.output / 'blurred' / f'{scene.name}.png', scene.blurred)
        write_photo(args.output / 'sharp' / f'{scene.name}.png', scene.sharp.clamp(0, 1))
        scene.field.save(args.output / 'fields' / f'{scene.name}.npz')
        written += 1
    print(f'{args.output}: {written} photos.')
    return 0


def shaken(files: Sequence[Path], rates: Sequence[np.ndarray], side: int, seed: int) -> Iterator[Scene]:
    """Yield a scene of each photo that is large enough."""
    for index, file in enumerate(files):
        photo = read_photo(file).pixels
        generator = np.random.default_rng((seed, index, 5))
        size = int(generator.choice(SIZES))
        high, wide = (min(side, have - size + 1) for have in photo.shape[-2:])
        if photo.shape[1] != 3 or min(high, wide) < LEAST_SIDE:
            continue
        field = hand(rates[index % len(rates)], size, generator, (high, wide))
        top, left = (
            int(generator.integers(0, have - part - size + 2))
            for have, part in zip(photo.shape[-2:], (high, wide), strict=True)
        )
        sharp = photo[..., top : top + high + size - 1, left : left + wide + size - 1]
        noise = float(np.exp(generator.uniform(*np.log(NOISE))))
        yield exposed(f'{file.stem}_{size}', sharp, field, noise, GAMMA, generator)


if __name__ == '__main__':
    sys.exit(run_script(main))

"""basis-blur prep-lmdb: turn a folder of photos, with masks of their objects, into LMDBs for training."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from basis_blur.foundation.errors import InputError, printable
from basis_blur.photos.folders import listed

DESCRIPTION = """Write OUT/photos.lmdb and, with masks, OUT/masks.lmdb, in BasicSR's layout.

Interrupted at any moment, even killed, the same command goes on where it stopped. The LMDBs get their names when
they are complete and checked."""

MASK_HELP = """how objects are annotated: labels (folder of PNG, a whole number per object, 0 = background),
ade20k (*_seg.png of the full ADE20K), ade20k_2016 (annotations of the scene-parsing challenge), coco (instances json),
none (default)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('photos', metavar='PHOTOS', type=Path, help='folder of photos, with its sub-folders')
    parser.add_argument('-o', '--output', metavar='OUT', type=Path, required=True, help='folder for the LMDBs')
    parser.add_argument(
        '--masks', metavar='PATH', type=Path, help='folder of masks, or the json of coco (ade20k: PHOTOS unless given)'
    )
    parser.add_argument('--mask-format', metavar='FORMAT', default='none', help=MASK_HELP)
    parser.add_argument(
        '--min-size',
        metavar='PIXELS',
        type=int,
        default=1,
        help='least shorter side of a photo; smaller photos are left out',
    )
    parser.add_argument(
        '--classes',
        metavar='NAMES',
        type=lambda text: tuple(name.strip() for name in text.split(',') if name.strip()),
        default=(),
        help='objects that count, such as person,car; names or numbers in the annotations (default: all)',
    )
    parser.add_argument(
        '--min-object',
        metavar='PIXELS',
        type=int,
        default=0,
        help='least size of the largest object; other photos are left out',
    )
    parser.add_argument('--skip-bad', action='store_true', help='leave out and list photos that cannot be used')
    parser.add_argument(
        '--workers',
        metavar='N',
        type=int,
        default=os.cpu_count() or 1,
        help='number of processes (default: one per core)',
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written.

    Raises:
        InputError, OSError: see `photo_lmdb.prepare_photos`.
    """
    from tqdm import tqdm

    from basis_blur.data.photo_lmdb import PhotoSource, list_others, prepare_photos

    for name, value, least in (
        ('--workers', args.workers, 0),
        ('--min-size', args.min_size, 1),
        ('--min-object', args.min_object, 0),
    ):
        if value < least:
            raise InputError(f'{name} is {value}, expected at least {least}.')

    def watch(steps: Iterable[Any], total: int, done: int) -> Iterable[Any]:
        return tqdm(steps, total=total, initial=done, unit='photo', desc='prep-lmdb', mininterval=0.5)

    source = PhotoSource(args.photos, args.masks, args.mask_format, args.min_size, args.classes, args.min_object)
    result = prepare_photos(source, args.output, args.workers, args.skip_bad, watch)
    if others := list_others(source):
        number = f'{len(others)} file{"s" if len(others) > 1 else ""}'
        print(printable(f'left out: {number} of {args.photos} ({listed(others)})'), file=sys.stderr)
    for reason in result.bad.values():
        print(printable(f'left out: {reason}'), file=sys.stderr)
    if result.was_finished:
        print(f'{args.output} is already finished: {result.photos} photos.')
        return 0
    parts = [f'{result.photos} photos']
    if result.resumed:
        parts.append(f'{result.resumed} of them from before')
    if args.mask_format != 'none':
        parts.append(f'{result.objects} objects in the new ones, {result.unmasked} without a mask')
    if result.too_small:
        parts.append(f'{result.too_small} too small')
    if result.without_object:
        parts.append(f'{result.without_object} without an object of {args.min_object} pixels')
    if result.bad:
        parts.append(f'{len(result.bad)} unusable left out')
    print(f'{args.output}: {"; ".join(parts)}.')
    return 0

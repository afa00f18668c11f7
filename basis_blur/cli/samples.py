"""basis-blur samples: draw samples of a data set of an option file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basis_blur.cli.plan import check_writable
from basis_blur.foundation.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DESCRIPTION = """Draw samples of the SyntheticBlurDataset of an option file, one in each row: the sharp photo, the
blurred one, the true kernels over it, the masks (a colour for each kernel, mixed as it is), and the weight of each
pixel in a loss, bright where it is large. The same seed draws the same samples."""
COLOURS = ((0.45, 0.45, 0.45), (0.9, 0.3, 0.2), (0.2, 0.6, 0.9), (0.95, 0.75, 0.2))  # RGB of each kernel's mask
MOST_SAMPLES = 100  # largest number of samples in a picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('file', metavar='FILE', help='an option file, or the name of a shipped one')
    parser.add_argument('-o', '--output', metavar='OUT.png', type=Path, required=True, help='picture to write')
    parser.add_argument('-n', '--number', metavar='N', type=int, default=4, help='number of samples (default: 4)')
    parser.add_argument('--set', metavar='SET', default='train', help='data set of the file (default: train)')
    parser.add_argument('--seed', metavar='S', type=int, default=0, help='seed of the random numbers (default: 0)')
    parser.add_argument('--force_yml', metavar='KEY=VALUE', nargs='+', help='change options of the file')
    parser.add_argument('--overwrite', action='store_true', help='replace the picture if it is there')


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was drawn.

    Raises:
        InputError: the file or its data set cannot be used, or the picture cannot be written.
        OSError: a file cannot be read or written.
    """
    if args.output.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        raise InputError(f'{args.output} ends in "{args.output.suffix}", expected .png or .jpg; name the picture so.')
    if not 1 <= args.number <= MOST_SAMPLES:
        raise InputError(f'--number is {args.number}, expected 1 to {MOST_SAMPLES}.')
    if not 0 <= args.seed < 2**31:
        raise InputError(f'--seed is {args.seed}, expected 0 or more, below 2**31.')
    if args.output.exists() and not args.overwrite:
        raise InputError(f'{args.output} already exists; add --overwrite to replace it.')
    check_writable(args.output)
    section = section_of(args)

    from basis_blur.data.sample_stream import Draw, seeded_by
    from basis_blur.data.synthetic_blur_dataset import SyntheticBlurDataset
    from basis_blur.photos.pictures import put_side_by_side, write_picture

    dataset = SyntheticBlurDataset({**section, 'synthesis': 'worker'})
    rows = []
    for number in range(args.number):
        draw = Draw(number % len(dataset), (args.seed, number))
        with seeded_by(draw):
            rows.append(row(dataset[draw]).swapaxes(0, 1))
    write_picture(args.output, put_side_by_side(rows).swapaxes(0, 1))
    print(f'{args.output}: {args.number} samples of "{args.set}" of {args.file}, of {len(dataset)} an epoch.')
    return 0


def section_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the data set.

    Raises:
        InputError: the file has no such data set, or one of another type.
    """
    from basis_blur.bridges.basicsr.option_file import apply_overrides, read_option_file, with_numbers
    from basis_blur.foundation import shipped

    opt = read_option_file(shipped.find(args.file, 'options'))
    apply_overrides(opt, args.force_yml)
    sections = opt.get('datasets')
    section = sections.get(args.set) if isinstance(sections, dict) else None
    if not isinstance(section, dict):
        known = ', '.join(sections) if isinstance(sections, dict) else 'none'
        raise InputError(f'{args.file} has no data set "{args.set}"; it has {known}.')
    kind = str(section.get('type'))
    if kind.removesuffix('_basis_blur') != 'SyntheticBlurDataset':
        raise InputError(f'the data set "{args.set}" of {args.file} is a {kind}, expected a SyntheticBlurDataset.')
    return with_numbers(section)


def row(sample: dict[str, Any]) -> np.ndarray:
    """Return the picture of a sample."""
    import torch

    from basis_blur.field.blur_field import BlurField
    from basis_blur.photos.pictures import draw_kernel_grid, put_side_by_side, resized_picture, rgb_levels, with_title

    lq, mixing, weight = (sample[name] for name in ('lq', 'mixing', 'weight'))
    colours = mixing.new_tensor([COLOURS[index % len(COLOURS)] for index in range(len(mixing))])
    field = BlurField(sample['kernels'][None], mixing[None])
    photos = {
        f'sharp  {sample["key"]}': field.inside(sample['gt']),
        'blurred': lq,
        'masks': torch.einsum('bhw,bc->chw', mixing, colours),
        'weight': (weight / weight.amax()).expand(3, -1, -1),
    }
    kernels = draw_kernel_grid(lq, field)
    pictures = [
        with_title(title, resized_picture(rgb_levels(photo.clamp(0, 1)), kernels.shape[1], kernels.shape[1]))
        for title, photo in photos.items()
    ]
    pictures.insert(2, with_title('kernels', kernels))
    return put_side_by_side(pictures)

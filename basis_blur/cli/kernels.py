"""basis-blur kernels: estimate the blur of a photo, as numbers and as pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from basis_blur.cli import estimation
from basis_blur.cli.plan import check_writable
from basis_blur.foundation.errors import InputError, naming, printable
from basis_blur.foundation.files import TIFF_SUFFIXES, real_path

DESCRIPTION = """Estimate the blur at every pixel of a photo and save it as a blur field.

OUT.npz holds "kernels" (1, B, K, K) and "mixing" (1, B, H, W): the blur kernel of a pixel is the sum of the kernels
weighted by its mixing. In Python: field = basis_blur.BlurField.load('OUT.npz').

OUT.tif holds the same as pictures of 16 bits, kernels first; what is white in each is told by its description.
docs/exchange.md reads both without basis_blur."""

COMMAND = 'kernels'
SUFFIXES = ('.npz', *TIFF_SUFFIXES)  # suffixes of blur fields that are written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('input', metavar='IMG', type=Path, help='a photo')
    parser.add_argument(
        '-o', '--output', metavar='OUT.npz', type=Path, required=True, help='file to write: .npz or .tif'
    )
    estimation.add_arguments(parser)
    parser.add_argument('--picture', metavar='PNG', type=Path, help='also draw the kernels over the photo')
    parser.add_argument('--montage', metavar='PNG', type=Path, help='also draw the basis kernels and their mixing')
    parser.add_argument('--overwrite', action='store_true', help='replace files that are already there')


def run(args: argparse.Namespace) -> int:
    """Run the command and print what was written.

    Raises:
        InputError: the photo or the weights cannot be used, or an output has a wrong suffix or exists.
        OSError: a file does not exist, cannot be read, or cannot be written.
    """
    if args.output.suffix.lower() not in SUFFIXES:
        raise InputError(
            f'{args.output} ends in "{args.output.suffix}", expected one of {", ".join(SUFFIXES)}; name the output so.'
        )
    pictures = [path for path in (args.picture, args.montage) if path is not None]
    for path in pictures:
        if path.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
            raise InputError(f'{path} ends in "{path.suffix}", expected .png or .jpg; name the picture so.')
    outputs = [args.output, *pictures]
    for index, path in enumerate(outputs):
        if real_path(path) == real_path(args.input) or path in outputs[:index]:
            raise InputError(f'{path} is given twice; give every file a name of its own.')
        if path.exists() and not args.overwrite:
            raise InputError(f'{path} already exists; add --overwrite to replace it.')
        check_writable(path)

    from basis_blur.field.tiff import write_field_tiff
    from basis_blur.photos.pictures import draw_basis_montage, draw_kernel_grid, write_picture
    from basis_blur.photos.reading import read_photo

    with estimation.plain_warnings(COMMAND):
        photo = read_photo(args.input)
        deblurrer = estimation.deblurrer(args, fusion=False)
        expected = deblurrer.expected_seconds(photo.pixels[0, 0].numel(), only_estimate=True)
        with estimation.bar(args.input.name, expected) as progress, naming(args.input):
            estimate = deblurrer.estimate(photo, progress=progress)
        for note in estimate.notes:
            print(printable(f'{args.input}: {note}'))
        estimation.tell_doubts(args.input, estimate.doubts)
    field = estimate.field
    if args.output.suffix.lower() == '.npz':
        field.save(args.output)
    else:
        write_field_tiff(args.output, field)
    if args.picture is not None:
        write_picture(args.picture, draw_kernel_grid(photo.pixels, field))
    if args.montage is not None:
        write_picture(args.montage, draw_basis_montage(field))
    height, width = field.image_size
    number, side = field.kernels.shape[1], field.kernel_size
    made = printable(f'{args.input} -> {", ".join(map(str, outputs))}')
    print(f'{made} ({width}x{height}, {number} kernels of {side}x{side})')
    return 0

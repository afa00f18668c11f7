"""basis-blur kernels: estimate the blur of a photo, as numbers and as pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from basis_blur.cli import estimation
from basis_blur.cli.plan import check_writable, photos_of
from basis_blur.foundation.errors import InputError, naming, printable, sentence_of
from basis_blur.foundation.files import TIFF_SUFFIXES, real_path

if TYPE_CHECKING:
    from basis_blur.deblurring.deblurrer import Deblurrer

DESCRIPTION = """Estimate the blur at every pixel of a photo and save it as a blur field.

OUT.npz holds "kernels" (1, B, K, K) and "mixing" (1, B, H, W): the blur kernel of a pixel is the sum of the kernels
weighted by its mixing. In Python: field = basis_blur.BlurField.load('OUT.npz').

OUT.tif holds the same as pictures of 16 bits, kernels first; what is white in each is told by its description.
docs/exchange.md reads both without basis_blur.

Of a folder, each photo gets NAME.npz in the folder OUT; a photo that cannot be used is named and left out."""

COMMAND = 'kernels'
SUFFIXES = ('.npz', *TIFF_SUFFIXES)  # suffixes of blur fields that are written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument('input', metavar='IMG', type=Path, help='a photo, or a folder of photos')
    parser.add_argument(
        '-o', '--output', metavar='OUT.npz', type=Path, required=True,
        help='file to write: .npz or .tif; for a folder of photos, the folder of their .npz files',
    )  # fmt: skip
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
    if not args.input.is_dir():
        return _run_for(args, [(args.input, _outputs(args))])
    if args.picture is not None or args.montage is not None:
        raise InputError('--picture and --montage are drawn of one photo; leave them out, or give a photo.')
    if args.output.suffix.lower() in SUFFIXES or args.output.is_file():
        raise InputError(f'{args.output} is no folder, expected one for the fields of a folder of photos; name it so.')
    return _run_for(args, [(photo, [args.output / f'{photo.stem}.npz']) for photo in photos_of(args.input)])


def _outputs(args: argparse.Namespace) -> list[Path]:
    """Return the files that are written of one photo, the field first."""
    if args.output.suffix.lower() not in SUFFIXES:
        raise InputError(
            f'{args.output} ends in "{args.output.suffix}", expected one of {", ".join(SUFFIXES)}; name the output so.'
        )
    pictures = [path for path in (args.picture, args.montage) if path is not None]
    for path in pictures:
        if path.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
            raise InputError(f'{path} ends in "{path.suffix}", expected .png or .jpg; name the picture so.')
    return [args.output, *pictures]


def _run_for(args: argparse.Namespace, tasks: Sequence[tuple[Path, list[Path]]]) -> int:
    """Write the fields of photos, each with its outputs; what is wrong with the only photo is raised."""
    taken: set[Path] = set()
    for photo, outputs in tasks:
        for path in outputs:
            if real_path(path) == real_path(photo) or path in taken:
                raise InputError(f'{path} is given twice; give every file a name of its own.')
            if path.exists() and not args.overwrite:
                raise InputError(f'{path} already exists; add --overwrite to replace it.')
            check_writable(path)
            taken.add(path)
    failed = 0
    with estimation.plain_warnings(COMMAND):
        deblurrer = estimation.deblurrer(args, fusion=False)
        for photo, outputs in tasks:
            try:
                _write(deblurrer, args, photo, outputs)
            except (InputError, OSError) as error:
                if len(tasks) == 1:
                    raise
                print(f'basis-blur {COMMAND}: {sentence_of(error)}', file=sys.stderr)
                failed += 1
    if failed:
        print(f'basis-blur {COMMAND}: the blur of {failed} of {len(tasks)} photos was not found.', file=sys.stderr)
    return 2 if failed else 0


def _write(deblurrer: Deblurrer, args: argparse.Namespace, path: Path, outputs: Sequence[Path]) -> None:
    """Estimate the blur of a photo and write it, with the pictures that are asked for."""
    from basis_blur.field.tiff import write_field_tiff
    from basis_blur.photos.pictures import draw_basis_montage, draw_kernel_grid, write_picture
    from basis_blur.photos.reading import read_photo

    photo = read_photo(path)
    expected = deblurrer.expected_seconds(photo.pixels[0, 0].numel(), only_estimate=True)
    with estimation.bar(path.name, expected) as progress, naming(path):
        estimate = deblurrer.estimate(photo, progress=progress)
    for note in estimate.notes:
        print(printable(f'{path}: {note}'))
    estimation.tell_doubts(path, estimate.doubts)
    field = estimate.field
    if outputs[0].suffix.lower() == '.npz':
        field.save(outputs[0])
    else:
        write_field_tiff(outputs[0], field)
    if args.picture is not None:
        write_picture(args.picture, draw_kernel_grid(photo.pixels, field))
    if args.montage is not None:
        write_picture(args.montage, draw_basis_montage(field))
    height, width = field.image_size
    number, side = field.kernels.shape[1], field.kernel_size
    made = printable(f'{path} -> {", ".join(map(str, outputs))}')
    print(f'{made} ({width}x{height}, {number} kernels of {side}x{side})')

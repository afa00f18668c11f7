"""basis-blur deblur: estimate the blur of photos and remove it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from basis_blur.cli import estimation
from basis_blur.errors import InputError, sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis_blur.field import BlurField
    from basis_blur.image_io import Photo

DESCRIPTION = """Estimate the blur at every pixel of a photo and remove it by Richardson-Lucy iterations.

IMG is a photo (PNG, JPEG, TIFF; 8 or 16 bits; gray, colour, with alpha) or a folder of photos, whose sub-folders are
not looked into. OUT is a file, or a folder in which photos keep their names. Bit depth, alpha, ICC profile and EXIF
are kept; a photo that its EXIF says to turn is written upright.

In a folder, a photo that cannot be used is reported and the others are done; the exit code is then 2."""

COMMAND = 'deblur'
JPEG_SUFFIXES = ('.jpg', '.jpeg')


class Task(NamedTuple):
    """One photo: where it is, where the result goes, and where its kernels go if they are wanted."""

    photo: Path
    result: Path
    kernels: Path
    kernel_picture: Path

    def outputs(self, save_kernels: bool) -> list[Path]:
        """All files that will be written."""
        return [self.result, *([self.kernels, self.kernel_picture] if save_kernels else [])]


def add_parser(subparsers) -> None:
    """Add the command to the parser of `basis-blur`."""
    parser = subparsers.add_parser(
        COMMAND,
        help='estimate the blur of photos and remove it',
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('input', metavar='IMG', type=Path, help='a photo, or a folder of photos')
    parser.add_argument('-o', '--output', metavar='OUT', type=Path, required=True, help='file or folder to write')
    estimation.add_arguments(parser)
    parser.add_argument(
        '--kernels', metavar='FIELD.npz', type=Path, help='a known blur field, in place of a network and --weights'
    )
    parser.add_argument(
        '--iterations',
        metavar='N',
        type=_count,
        help='Richardson-Lucy iterations at most (default: that of basis_blur.deblur)',
    )
    parser.add_argument(
        '--save-kernels',
        action='store_true',
        help='also write NAME_kernels.npz, the blur field, and NAME_kernels.png, the kernels drawn over the photo',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace results that are already there')
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not a positive whole number')
    return number


def run(args: argparse.Namespace) -> int:
    """Run the command; return 0, or 2 if some photos of a folder could not be used.

    Raises:
        InputError: what was asked for makes no sense, or the only photo cannot be used.
        OSError: a file does not exist, cannot be read, or cannot be written.
    """
    tasks = plan(args.input, args.output)
    check_outputs(tasks, args.save_kernels, args.overwrite)

    from tqdm import tqdm

    failures = 0
    with estimation.plain_warnings(COMMAND):
        estimate = estimation.estimator(args, args.kernels)
        for task in tqdm(tasks, unit='photo', desc=COMMAND, disable=None if len(tasks) > 1 else True):
            try:
                line = deblur_photo(task, estimate, args)
            except InputError as error:
                if not args.input.is_dir():
                    raise
                failures += 1
                tqdm.write(f'basis-blur {COMMAND}: {sentence_of(error)}', file=sys.stderr)
            else:
                tqdm.write(line)
    if failures:
        print(f'basis-blur {COMMAND}: {failures} of {len(tasks)} photos could not be used.', file=sys.stderr)
    return 2 if failures else 0


def deblur_photo(task: Task, estimate: Callable[[Path, Photo], BlurField], args: argparse.Namespace) -> str:
    """Deblur one photo, write what was asked for, and return a line that says so."""
    from tqdm import tqdm

    from basis_blur.image_io import write_photo
    from basis_blur.pipeline import ITERATIONS, check_larger_than_kernel, deblur
    from basis_blur.visualize import draw_kernel_grid, write_picture

    started = time.perf_counter()
    photo = _read(task.photo)
    if photo.alpha is not None and task.result.suffix.lower() in JPEG_SUFFIXES:
        raise InputError(f'{task.photo} has alpha, which {task.result} cannot hold; write PNG or TIFF.')
    field = estimate(task.photo, photo)
    check_larger_than_kernel(photo.pixels, field.kernel_size)
    iterations = args.iterations or ITERATIONS
    with tqdm(total=iterations, unit='iteration', desc=task.photo.name, leave=False, disable=None) as bar:
        sharp = deblur(
            photo.pixels.to(field.kernels.device),
            field,
            gamma=args.gamma,
            callback=lambda iteration: bar.update(iteration - bar.n),
            iterations=iterations,
        )
    if args.save_kernels:
        field.save(task.kernels)
        write_picture(task.kernel_picture, draw_kernel_grid(photo.pixels, field))
    write_photo(task.result, sharp.to(photo.pixels), like=photo)
    height, width = photo.pixels.shape[-2:]
    return f'{task.photo} -> {task.result} ({width}x{height}, {time.perf_counter() - started:.1f} s)'


def _read(path: Path) -> Photo:
    from basis_blur.image_io import read_photo

    try:
        return read_photo(path)
    except OSError as error:  # such as lack of permission; a reason to skip this photo, where one on writing is not
        raise InputError(sentence_of(error)) from error


def plan(source: Path, output: Path) -> list[Task]:
    """Return what is to be done, in the order of the names.

    Raises:
        InputError: there is no such file, the folder holds no photo, two photos would write one file, `output` is a
            file where a folder is needed, or has the suffix of no format.
    """
    from basis_blur.image_io import SUFFIXES, check_suffix

    if not source.is_dir():
        if not source.exists():
            raise InputError(f'there is no photo or folder {source} (looked from {Path.cwd()}); correct the path.')
        into_folder = output.is_dir() or str(output).endswith(os.sep) or not output.suffix
        result = output / source.name if into_folder else output
        check_suffix(result)
        return [_task(source, result)]
    if output.is_file() or (output.suffix.lower() in SUFFIXES and not output.is_dir()):
        raise InputError(f'{source} is a folder and {output} a file; give a folder as output.')
    photos = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not photos:
        raise InputError(
            f'the folder {source} holds no photo, expected files ending in {", ".join(SUFFIXES)}; '
            'sub-folders are not looked into.'
        )
    return [_task(photo, output / photo.name) for photo in photos]


def _task(photo: Path, result: Path) -> Task:
    kernels = result.with_name(f'{result.stem}_kernels.npz')
    return Task(photo, result, kernels, kernels.with_suffix('.png'))


def check_outputs(tasks: list[Task], save_kernels: bool, overwrite: bool) -> None:
    """Find out before hours of work what would prevent its results from being written.

    Raises:
        InputError: a result would replace a photo, two results have one name, or one exists and may not be replaced.
        OSError: the folder cannot be written to.
    """
    outputs = [path for task in tasks for path in task.outputs(save_kernels)]
    photos = {task.photo.resolve() for task in tasks}
    seen = set()
    for path in outputs:
        if path.resolve() in photos:
            raise InputError(f'{path} would replace a photo that is to be read; give another output.')
        if path in seen:
            raise InputError(f'two photos would both write {path}; give their names different stems.')
        seen.add(path)
    existing = [path for path in outputs if path.exists()]
    if existing and not overwrite:
        more = f' and {len(existing) - 1} more' if len(existing) > 1 else ''
        raise InputError(f'{existing[0]}{more} already exists; add --overwrite to replace, or give another output.')
    check_writable(outputs[0])


def check_writable(path: Path) -> None:
    """Raise OSError unless a file of this name can be made, with the folders that are still missing."""
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise NotADirectoryError(20, 'Not a folder', str(parent))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(13, 'The folder may not be written to', str(parent))

"""One photo of basis-blur deblur, from its file to the files that are wanted of it, and what is printed on the way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from basis_blur.cli import estimation
from basis_blur.foundation.errors import InputError, naming, printable, sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from basis_blur.cli.plan import Task, Wanted
    from basis_blur.deblurring.deblurrer import Deblurred, Deblurrer
    from basis_blur.deblurring.network_deblurrer import NetworkDeblurrer
    from basis_blur.field.local_kernels import LocalKernels
    from basis_blur.photos.photo import Photo

PREVIEW_SIDE = 448  # side of the part of a photo that a preview shows, pixels


def deblur_photo(task: Task, method: Callable[[Task, Photo], Tensor]) -> str:
    """Deblur one photo, write what was asked for, and return a line that says so."""
    from basis_blur.photos.alpha import with_hidden_as_before
    from basis_blur.photos.writing import check_can_hold, write_photo

    started = time.perf_counter()
    photo = _read(task.photo)
    height, width = photo.pixels.shape[-2:]
    check_can_hold(task.result, width, height, photo.alpha is not None)
    sharp = with_hidden_as_before(method(task, photo).to(photo.pixels), photo.pixels, photo.alpha)
    write_photo(task.result, sharp, like=photo)
    return f'{task.photo} -> {task.result} ({width}x{height}, {time.perf_counter() - started:.1f} s)'


def preview_photo(task: Task, method: Callable[[Task, Photo], Tensor]) -> str:
    """Deblur a part of one photo, write the preview, and return a line that says so."""
    from basis_blur.photos.comparison import detail_of

    started = time.perf_counter()
    part, (top, left) = detail_of(_read(task.photo), PREVIEW_SIDE)
    method(task, part)
    height, width = part.pixels.shape[-2:]
    place = f'{width}x{height} pixels from column {left} and row {top} on'
    return f'{task.photo} -> {task.previews[-1]} ({place}, {time.perf_counter() - started:.1f} s)'


def by_richardson_lucy(task: Task, photo: Photo, deblurrer: Deblurrer, wanted: Wanted) -> Tensor:
    """Return the sharp photo; print its notes and doubts, and write the files that are wanted beside it."""
    expected = deblurrer.expected_seconds(photo.pixels[0, 0].numel())
    with estimation.bar(task.photo.name, expected) as progress, naming(task.photo):
        result = deblurrer(photo, progress=progress)
    tell_notes(task.photo, result.notes)
    estimation.tell_doubts(task.photo, result.doubts)
    if wanted.kernels:
        result.field.save(task.kernels)
    write_beside(task, photo, result, wanted)
    return result.pixels


def by_network(task: Task, photo: Photo, deblurrer: NetworkDeblurrer, wanted: Wanted) -> Tensor:
    """Return the photo as a network restores it; write the files that are wanted beside it."""
    keep_kernels = wanted.kernels or (wanted.comparisons and deblurrer.has_kernels)
    expected = deblurrer.expected_seconds(photo.pixels[0, 0].numel())
    with estimation.bar(task.photo.name, expected) as progress, naming(task.photo):
        result = deblurrer(photo, keep_kernels=keep_kernels, progress=progress)
    tell_notes(task.photo, result.notes)
    from basis_blur.deblurring.restoring import SampledKernels

    if wanted.kernels and isinstance(result.field, SampledKernels):
        from basis_blur.photos.pictures import draw_sigma, write_picture

        write_picture(task.sigma_picture, draw_sigma(result.field.sigma))
    write_beside(task, photo, result, wanted)
    return result.pixels


def write_beside(task: Task, photo: Photo, result: Deblurred[LocalKernels | None], wanted: Wanted) -> None:
    """Write the pictures of a photo that are wanted."""
    if wanted.kernels and result.field is not None:
        from basis_blur.photos.pictures import draw_kernel_grid, write_picture

        write_picture(task.kernel_picture, draw_kernel_grid(photo.pixels, result.field))
    if wanted.comparisons:
        for path in task.previews if wanted.preview else task.comparisons:
            result.save_comparison(path, title=task.photo.name)


def tell_notes(path: Path, notes: Iterable[str]) -> None:
    """Print the notes on how the result was made."""
    from tqdm import tqdm

    for note in notes:
        tqdm.write(printable(f'{path}: {note}'))


def _read(path: Path) -> Photo:
    from basis_blur.photos.reading import read_photo

    try:
        return read_photo(path)
    except OSError as error:  # such as lack of permission
        raise InputError(sentence_of(error)) from error

"""The plan of `deblur`: its photos, the names of their results, and what prevents these from being written.

deblur a.jpg                    a_deblurred.jpg beside it
deblur a.jpg -o b.png           b.png
deblur a.jpg b.heic -o OUT      OUT/a.jpg, OUT/b.jpg
deblur FOLDER                   FOLDER_deblurred/NAME for each photo of it
deblur FOLDER -o OUT            OUT/NAME
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from basis_blur.foundation.errors import InputError, printable
from basis_blur.foundation.files import LONGEST_NAME, real_path
from basis_blur.photos.folders import list_photos
from basis_blur.photos.formats import READ_SUFFIXES, check_suffix, result_suffix

MARK = '_deblurred'  # end of the names of results that lie beside their photos


class Wanted(NamedTuple):
    """The files that are written for each photo.

    Args:
        kernels: whether the blur field and its picture are written too.
        comparisons: whether a picture and a page of the photo before and after are written too.
        method: method by which the blur is removed.
        preview: whether only a part of the photo before and after is written.
    """

    kernels: bool = False
    comparisons: bool = False
    method: str = 'rl'
    preview: bool = False


class Task(NamedTuple):
    """One photo, by its path, and the paths of its result and of the files beside it."""

    photo: Path
    result: Path

    @property
    def kernels(self) -> Path:
        """The file of the blur field."""
        return self.result.with_name(f'{self.result.stem}_kernels.npz')

    @property
    def kernel_picture(self) -> Path:
        """The picture of the kernels over the photo."""
        return self.result.with_name(f'{self.result.stem}_kernels.png')

    @property
    def sigma_picture(self) -> Path:
        """The picture of the uncertainty of each pixel."""
        return self.result.with_name(f'{self.result.stem}_sigma.png')

    @property
    def comparisons(self) -> list[Path]:
        """The picture of the photo before and after, and the page with a slider."""
        return [self.result.with_name(f'{self.result.stem}_compare{suffix}') for suffix in ('.jpg', '.html')]

    @property
    def previews(self) -> list[Path]:
        """The picture and the page of a part of the photo before and after."""
        return [self.result.with_name(f'{self.result.stem}_preview{suffix}') for suffix in ('.jpg', '.html')]

    def outputs(self, wanted: Wanted) -> list[Path]:
        """Return all files that will be written."""
        if wanted.preview:
            return self.previews
        of_network = wanted.method == 'ufpnet'
        fields = [self.kernel_picture, self.sigma_picture] if of_network else [self.kernels, self.kernel_picture]
        return [
            self.result,
            *(fields if wanted.kernels else []),
            *(self.comparisons if wanted.comparisons else []),
        ]


def plan(sources: Sequence[Path], output: Path | None) -> list[Task]:
    """Return the tasks, in the order in which photos were given; a photo that is given twice is done once.

    What a folder holds beside photos is named on the standard error.

    Args:
        sources: photos and folders.
        output: a file, where there is one photo, or a folder; None for names beside the photos.

    Raises:
        InputError: there is no such file, a folder holds no photo, `output` is a file where a folder is needed, or has
            the suffix of no format.
    """
    for source in sources:
        if not source.exists():
            raise InputError(f'there is no photo or folder {source} (looked from {Path.cwd()}); correct the path.')
    several = len(sources) > 1 or sources[0].is_dir()
    if output is not None and several and _is_a_file_name(output):
        what = 'a folder' if len(sources) == 1 else f'one of {len(sources)} inputs'
        raise InputError(f'{sources[0]} is {what} and {output} a file; give a folder as output.')
    found: dict[Path, tuple[Path, Path]] = {}  # file -> the path that was given, the folder of its result
    for source in sources:
        for photo in photos_of(source):
            found.setdefault(real_path(photo), (photo, _place(source, output)))
    if output is not None and not several and not _is_a_folder(output):
        check_suffix(output)
        return [Task(sources[0], output)]
    mark = MARK if output is None else ''
    tasks = [
        Task(photo, _named(photo, place, mark if photo.parent == place else '')) for photo, place in found.values()
    ]
    # A result whose format changed makes room for one that keeps its name: IMG_1.heic beside IMG_1.jpg.
    taken = Counter(task.result for task in tasks)
    return [
        Task(task.photo, task.result.with_name(f'{task.photo.name}{task.result.suffix}'))
        if taken[task.result] > 1 and task.result.suffix != task.photo.suffix
        else task
        for task in tasks
    ]


def _is_a_folder(output: Path) -> bool:
    return output.is_dir() or str(output).endswith(os.sep) or not output.suffix


def _is_a_file_name(output: Path) -> bool:
    return not output.is_dir() and (output.exists() or output.suffix.lower() in READ_SUFFIXES)


def photos_of(source: Path) -> list[Path]:
    """Return the photos of a folder, or a photo itself; what a folder holds beside them is named on the standard error.

    Raises:
        InputError: the folder holds no photo.
    """
    if not source.is_dir():
        return [source]
    found = list_photos(source, READ_SUFFIXES)
    if found.left_out:
        print(printable(f'{found.left_out} of {source}'), file=sys.stderr)
    if not found.photos:
        raise InputError(
            f'the folder {source} holds no photo, expected PNG, JPEG, TIFF, HEIC or others; sub-folders are not '
            'looked into.'
        )
    return found.photos


def _place(source: Path, output: Path | None) -> Path:
    if output is not None:
        return output
    if not source.is_dir():
        return source.parent
    folder = source if source.name not in ('', '..') else Path(os.path.abspath(source))
    return folder.with_name(f'{folder.name}{MARK}')


def _named(photo: Path, place: Path, mark: str) -> Path:
    if photo.suffix.lower() not in READ_SUFFIXES:  # reading it will say what it holds
        return place / f'{photo.name}{mark}.png'
    return place / f'{photo.stem}{mark}{result_suffix(photo.suffix)}'


def check_outputs(tasks: Iterable[Task], wanted: Wanted, overwrite: bool = False, needed: Iterable[Path] = ()) -> None:
    """Raise an error, before hours of work, if something prevents its results from being written.

    Args:
        tasks: photos that are to be done.
        wanted: files that are written for each photo.
        overwrite: whether results that are there may be replaced.
        needed: other files that must not be replaced, such as weights and the log.

    Raises:
        InputError: a result would replace a photo or a file that is needed, two results have one name or a name is too
            long, or one exists and may not be replaced.
        OSError: the folder cannot be written to.
    """
    outputs = [path for task in tasks for path in task.outputs(wanted)]
    photos, others = {real_path(task.photo) for task in tasks}, {real_path(path) for path in needed}
    seen = set()
    for path in outputs:
        place = real_path(path)
        if place in photos:
            raise InputError(f'{path} would replace a photo that is to be read; give another output.')
        if place in others:
            raise InputError(f'{path} would replace a file that is given with another option; give another output.')
        if place in seen:
            raise InputError(
                f'two photos would both write {path}; give their names different stems, or do them one by one.'
            )
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            raise InputError(
                f'{path} has a name of {len(os.fsencode(path.name))} bytes, expected at most {LONGEST_NAME}; '
                'give the photo or the output a shorter one.'
            )
        seen.add(place)
    existing = [path for path in outputs if path.exists()]
    if existing and not overwrite:
        more = f' and {len(existing) - 1} more' if len(existing) > 1 else ''
        raise InputError(
            f'{existing[0]}{more} already exists; add --overwrite to replace, --skip-done to make the missing ones, '
            'or give another output.'
        )
    for folder in {path.parent: path for path in outputs}.values():
        check_writable(folder)


def check_writable(path: Path) -> None:
    """Raise OSError unless a file of this name can be made, with the folders that are still missing."""
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise NotADirectoryError(20, 'Not a folder', str(parent))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(13, 'The folder may not be written to', str(parent))

"""The files of a download, whether they lie in folders or are still in zip and tar archives."""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import real_path

ARCHIVE_SUFFIXES = ('.zip', '.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')  # suffixes of archives
# Errors that are raised by reading a damaged or encrypted archive.
UNREADABLE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip


class Member(NamedTuple):
    """A file of a download.

    Args:
        inside: its path with '/', beginning with the name of its folder or archive.
        path: file, or None in an archive.
        open: function that returns it as a binary stream to read.
        place: number of its archive, 0 for none, and its own in there; in this order archives are read the quickest.
    """

    inside: str
    path: Path | None
    open: Callable[[], IO[bytes]]
    place: tuple[int, int]


class Download:
    """The files of folders and archives by unique names; a context that keeps the archives open.

    Archives directly in a folder are read too, unless a folder of the same name lies beside them: then they were
    unpacked. Unpacked files come first.

    Args:
        paths: folders, archives and single files.

    Raises:
        InputError: a path is missing or an archive is damaged.
        OSError: a file cannot be read.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._members: dict[str, Member] = {}
        self._stack = ExitStack()
        archives = []
        try:
            for path in map(Path, paths):
                if path.is_dir():
                    archives += self._add_folder(path)
                elif not path.exists():
                    raise InputError(f'there is no {path} (looked from {Path.cwd()}); correct the path.')
                elif _archive_stem(path.name) is None:
                    self._add_file(path.name, path)
                else:
                    archives.append(path)
            for number, path in enumerate(archives, 1):
                self._add_archive(path, number)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def _add_file(self, inside: str, path: Path) -> None:
        self._members[str(path)] = Member(inside, path, partial(_opened, path), (0, len(self._members)))

    def _add_folder(self, folder: Path) -> list[Path]:
        """Add the files of a folder; return the archives that it holds."""
        archives = []
        name_of_folder = real_path(folder).name
        for place, folders, files in os.walk(folder, followlinks=True):
            folders.sort()
            for path in (Path(place) / name for name in sorted(files)):
                stem = _archive_stem(path.name)
                if stem is None:
                    self._add_file(f'{name_of_folder}/{path.relative_to(folder).as_posix()}', path)
                elif path.parent == folder and not (folder / stem).is_dir():
                    archives.append(path)
        return archives

    def _add_archive(self, path: Path, number: int) -> None:
        entries: list[tuple[str, Callable[[], IO[bytes]]]]
        try:
            if path.name.lower().endswith('.zip'):
                zipped = self._stack.enter_context(zipfile.ZipFile(path))
                entries = [(info.filename, partial(zipped.open, info)) for info in zipped.infolist()]
            else:
                archive = self._stack.enter_context(tarfile.open(path))  # noqa: SIM115, closed with the stack
                files = [info for info in archive if info.isfile() or info.islnk()]
                entries = [(info.name, partial(_file_in, archive, info)) for info in files]
        except UNREADABLE as error:
            raise InputError(f'{path} cannot be read as an archive ({error}); download it again.') from error
        for order, (name, opener) in enumerate(entries):
            inside = f'{_archive_stem(path.name)}/{name.removeprefix("./")}'
            self._members[f'{path}:{name}'] = Member(inside, None, opener, (number, order))


def _opened(path: Path) -> IO[bytes]:
    return open(path, 'rb')


def _file_in(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise tarfile.ReadError(f'"{info.name}" is no file')
    return file


def _archive_stem(name: str) -> str | None:
    """Return the name of an archive without its suffix; None for another file."""
    for suffix in ARCHIVE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None

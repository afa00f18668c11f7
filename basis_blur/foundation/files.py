"""Files: written whole or not at all, locked, and checked before they are read if they come from elsewhere."""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from basis_blur.foundation.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows, where two processes that use one folder go unnoticed
    fcntl = None  # type: ignore[assignment]

TIFF_SUFFIXES = ('.tif', '.tiff')  # suffixes of TIFF files
LONGEST_NAME = 255  # largest length of a file's name without its folder, bytes


@contextmanager
def atomic_path(final: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `final` to write to; rename it to `final` if the block succeeds, delete it if not.

    The bytes are flushed to the disk before the rename, so a crash leaves the old file or the new one.
    The yielded path keeps the suffix of `final`, by which image writers choose their format.

    Args:
        final: path of the file. Its folder is made if it is missing.

    Raises:
        OSError: from the writing block or the rename, such as a full disk; `final` is then as it was.
    """
    final = Path(final)
    make_folder(final.parent)
    partial = final.with_name(_partial_name(final))
    try:
        yield partial
        with open(partial, 'rb') as written:
            os.fsync(written.fileno())
        os.replace(partial, final)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a failed write knows no name
            error.filename = str(final)
        raise
    finally:
        partial.unlink(missing_ok=True)


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        OSError: something there is no folder, such as a file or a loop of links, or nothing may be made there.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        os.stat(folder)  # raises where links form a loop, and tells so
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with its links followed; a loop of links leads to itself.

    `Path.resolve` raises a RuntimeError for a loop, up to Python 3.12.

    Raises:
        InputError: no file can have this name.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte in it
        raise _no_name(path, error) from error


def _no_name(path: str | os.PathLike[str], error: ValueError) -> InputError:
    return InputError(f'{path} cannot be the name of a file ({error}); correct it.')


def _partial_name(final: Path) -> str:
    """Return a name beside the final one, with its stem cut if the whole would be too long for the file system."""
    mark = f'.{uuid.uuid4().hex[:8]}.partial{final.suffix}'
    stem, most = f'.{final.stem}', LONGEST_NAME - len(os.fsencode(mark))
    while len(os.fsencode(stem)) > most > 0:
        stem = stem[:-1]
    return stem + mark


def remove_partials(folder: str | os.PathLike[str]) -> None:
    """Delete the unfinished files of `atomic_path` in a folder, which killed processes have left.

    Args:
        folder: folder in which nothing else may be writing.
    """
    for path in Path(folder).glob('.*.partial*'):
        if re.fullmatch(r'\..*\.[0-9a-f]{8}\.partial(\.[^.]*)?', path.name) and path.is_file():
            path.unlink(missing_ok=True)


def hold_lock(file: str | os.PathLike[str], occupied: str) -> IO[bytes] | None:
    """Lock a file for as long as this process lives and the returned file is open.

    Forked workers do not inherit the lock, so it ends with the process that asked for it.

    Args:
        file: path of the file, which is made if it is missing; `release_lock` removes it.
        occupied: message of the error if another process holds the lock.

    Returns:
        The open file; None if the file system has no locks.

    Raises:
        InputError: another process holds it.
        OSError: the file cannot be made.
    """
    while True:
        handle = open(file, 'ab')  # noqa: SIM115, it stays open as long as the lock lasts
        if fcntl is None:
            return handle
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(file)):
                return handle
        except (BlockingIOError, PermissionError):  # the standard leaves open which of the two
            handle.close()
            raise InputError(occupied) from None
        except FileNotFoundError:
            pass
        except OSError:
            handle.close()
            return None
        handle.close()  # its last holder has removed this file meanwhile; there may be a new one


def release_lock(handle: IO[bytes]) -> None:
    """Release the lock that `hold_lock` returned, and remove its file."""
    with suppress(OSError):
        os.unlink(handle.name)
    handle.close()


def check_is_file(path: str | os.PathLike[str], most_bytes: int | None = None) -> None:
    """Refuse paths whose reading might never end: a pipe, a device, a socket, or a file that is too large.

    Args:
        path: path of a file that is to be read; a missing file and a folder are left for the reader to report.
        most_bytes: largest size that makes sense.

    Raises:
        InputError: it is neither a file nor a folder, or it is larger.
    """
    path = Path(path)
    try:
        found = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise _no_name(path, error) from error
    except OSError:
        return
    if not (path.is_file() or path.is_dir()):
        raise InputError(f'{path} is a pipe or device, expected a file; save its content to a file first.')
    if most_bytes is not None and path.is_file() and found.st_size > most_bytes:
        raise InputError(
            f'{path} has {found.st_size / 1e6:.0f} MB, expected at most {most_bytes / 1e6:.0f} MB; give the right file.'
        )


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, no text, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError('it is nested too deeply') from error

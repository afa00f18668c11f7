"""A log file of a command: its lines on standard output and standard error, each with the time.

A progress bar draws one line again and again; the file gets its state once a minute, with the time left, and its last
state.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from basis_blur.foundation.errors import InputError
from basis_blur.foundation.files import check_is_file, real_path
from basis_blur.photos.formats import READ_SUFFIXES, VIDEO_SUFFIXES

# Suffixes that a log file must not have.
OTHER_SUFFIXES = {*READ_SUFFIXES, *VIDEO_SUFFIXES, '.npz', '.safetensors', '.pth', '.pt', '.onnx', '.zip', '.csv'}
SECONDS_BETWEEN_BARS = 60.0  # time between two lines of a progress bar in the file


@contextmanager
def kept_in(path: Path, given: Iterable[Path] = ()) -> Iterator[None]:
    """Append the messages of the block to a file.

    Args:
        path: name of the file, which is made if it is missing.
        given: other files that the command was given, to read or to write.

    Raises:
        InputError: it is one of those, or no text file, to which lines would do harm.
        OSError: it cannot be opened.
    """
    _check_is_for_text(path, given)
    with open(path, 'a', encoding='utf-8') as file:
        out, err = _Tee(sys.stdout, file), _Tee(sys.stderr, file)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                yield
            finally:
                out.finish()
                err.finish()


def _check_is_for_text(path: Path, given: Iterable[Path]) -> None:
    if real_path(path) in {real_path(other) for other in given}:
        raise InputError(f'{path} is given to --log and to another option; give the log a name of its own.')
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise InputError(f'{path} has the name of a photo or of data, expected a text file for --log, such as run.log.')
    check_is_file(path)
    if path.is_file():
        with open(path, 'rb') as file:
            if b'\0' in file.read(4096):
                raise InputError(f'{path} is no text file, to which --log could append; give it another name.')


class _Tee:
    """A text stream that also writes its finished lines to a file, and otherwise behaves as the stream."""

    def __init__(self, stream: TextIO, file: TextIO):
        self._stream = stream
        self._file = file
        self._line = ''
        self._bar_due = time.monotonic() + SECONDS_BETWEEN_BARS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split('\n')
        for line in lines:
            self._keep(line)
        drawn, found, rest = self._line.rpartition('\r')
        if found:
            if time.monotonic() >= self._bar_due:
                self._keep(rest or drawn)
                self._bar_due = time.monotonic() + SECONDS_BETWEEN_BARS
            self._line = '\r' + (rest or drawn.rpartition('\r')[2])
        return self._stream.write(text)

    def finish(self) -> None:
        """Write the last line to the file, if it has no end."""
        self._keep(self._line)
        self._line = ''

    def _keep(self, line: str) -> None:
        words = line.rstrip().rpartition('\r')[2].strip()
        if words:
            self._file.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {words}\n')
            self._file.flush()

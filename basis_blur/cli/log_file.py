"""Keep what a command tells in a file too: its lines on standard output and standard error, each with the time.

A progress bar draws one line again and again; of it the file gets a state every minute, with the time left, and the
last one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

SECONDS_BETWEEN_BARS = 60.0


@contextmanager
def kept_in(path: Path) -> Iterator[None]:
    """Append what is told in the block to a file.

    Raises:
        OSError: the file cannot be opened.
    """
    with open(path, 'a', encoding='utf-8') as file:
        out, err = _Tee(sys.stdout, file), _Tee(sys.stderr, file)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                yield
            finally:
                out.finish()
                err.finish()


class _Tee:
    """A text stream that also hands its finished lines to a file; else it is the stream."""

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
        """Keep the line that has no end."""
        self._keep(self._line)
        self._line = ''

    def _keep(self, line: str) -> None:
        words = line.rstrip().rpartition('\r')[2].strip()
        if words:
            self._file.write(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {words}\n')
            self._file.flush()

"""The end of a process on Ctrl-C (SIGINT), SIGTERM and SIGHUP: at once, or at a safe point if work would be lost.

    with interrupts.handled():         # these signals raise Interrupted, which is a KeyboardInterrupt
        with interrupts.deferred():    # the first signal is remembered; a second one raises at once
            while ...:
                step()
                interrupts.stop_if_asked()   # raises SafeStop: all is consistent here

A terminal that is closed sends SIGHUP. Signals that the parent of this process ignores, as `nohup` and background jobs
of a script do, stay ignored.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

HANG_UP = getattr(signal, 'SIGHUP', None)  # Windows has none
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANG_UP] if HANG_UP is not None else []))  # signals that end a command
GRACE_SECONDS = 20  # time that a worker which is asked to end goes on for the process that it serves


class Interrupted(KeyboardInterrupt):
    """The process was asked to end.

    Args:
        number: number of the signal.

    Attributes:
        remark: words for the user on what is kept of the work, if that is known.
    """

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
        self.number = number
        self.remark = ''

    @property
    def exit_code(self) -> int:
        """The exit code by the convention of shells: 130 for Ctrl-C, 143 for SIGTERM and 129 for SIGHUP."""
        return 128 + self.number


def with_remark(error: KeyboardInterrupt, remark: str) -> Interrupted:
    """Return an interrupt that says what is kept of the work: the same, where it is one of ours."""
    found = error if isinstance(error, Interrupted) else Interrupted()
    found.remark = remark
    return found


class SafeStop(Interrupted):
    """An `Interrupted` that is raised at a safe point only, by `stop_if_asked`."""


class _Wish:
    """The state of signals in this process: whether they are put off, and the number of a signal that waits."""

    deferring = False
    number: int | None = None


@contextmanager
def handled() -> Iterator[None]:
    """Let the signals raise `Interrupted` in the block; outside the main thread, do nothing."""
    previous = _handle()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _handle() -> dict[int, Any]:
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, _take)
    return previous


def defer_from_now_on() -> None:
    """Handle the signals and put them off until this process ends, for scripts that cannot use a `with` block."""
    if not _Wish.deferring and threading.current_thread() is threading.main_thread():
        _handle()
        _Wish.deferring = True


@contextmanager
def deferred() -> Iterator[None]:
    """Put the first signal off until `stop_if_asked` is called in the block.

    A signal that still waits at the end of the block is dropped, since the work that it would stop is done.
    """
    _Wish.deferring = True
    try:
        yield
    finally:
        _Wish.deferring, _Wish.number = False, None


def deferring() -> bool:
    """Tell whether signals are put off now."""
    return _Wish.deferring


def asked_to_stop() -> int | None:
    """Return the number of the signal that waits for a safe point, or None."""
    return _Wish.number


def stop_if_asked() -> None:
    """Raise `SafeStop` if a signal has been put off."""
    if _Wish.number is not None:
        raise SafeStop(_Wish.number)


def _take(number: int, frame: object) -> None:
    if number == HANG_UP:
        _do_without_terminal()
    if number == HANG_UP and _Wish.number is not None:
        # the kernel and the shell may both send it when a terminal is closed; the second is no request for haste
        return
    if not _Wish.deferring or _Wish.number is not None:
        raise Interrupted(number)
    _Wish.number = number
    # Not print, whose buffer may be in use in the very line that the signal interrupts.
    with suppress(OSError):  # nobody may read it any more
        os.write(2, b'\nstopping after this step; once more to stop at once.\n')


def _do_without_terminal() -> None:
    """Discard what is written to a terminal that was closed, since each such line would be an error."""
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)


def leave_to_parent(parent_ends: Any = None) -> None:
    """Let a loader's worker process survive signals that a terminal or `kill` sends to all processes of a job.

    Args:
        parent_ends: object with a `value`, shared with the process that is served, which is true when that process
            ends; a worker that is asked to end then ends at once.
    """

    def end(number: int, frame: object) -> None:
        if parent_ends is not None and parent_ends.value:
            os._exit(128 + number)
        signal.alarm(GRACE_SECONDS)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if HANG_UP is not None:
        signal.signal(HANG_UP, signal.SIG_IGN)
    if hasattr(signal, 'alarm'):  # not on Windows
        signal.signal(signal.SIGTERM, end)

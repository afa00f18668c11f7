"""End on Ctrl-C (SIGINT) and on SIGTERM, at once or, where work would be lost, at the next safe point.

    with interrupts.handled():         # both signals raise Interrupted, which is a KeyboardInterrupt
        with interrupts.deferred():    # the first signal is remembered; a second one raises at once
            while ...:
                step()
                interrupts.stop_if_asked()   # raises SafeStop: all is consistent here

Signals that the parent of this process chose to ignore, as `nohup` and background jobs of a script do, stay ignored.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A worker that is asked to end stays this long for the process that it serves, which ends it before.
GRACE_SECONDS = 20


class Interrupted(KeyboardInterrupt):
    """The process was asked to end.

    Args:
        number: of the signal.

    Attributes:
        remark: what is kept of the work, for the user, where it is known.
    """

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
        self.number = number
        self.remark = ''

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C and 143 for SIGTERM, as shells have it."""
        return 128 + self.number


class SafeStop(Interrupted):
    """The same, raised at a point that was chosen for it, and nowhere else."""


class _Wish:
    """Whether signals are put off in this process, and the number of the one that was."""

    deferring = False
    number: int | None = None


@contextmanager
def handled() -> Iterator[None]:
    """Let both signals raise `Interrupted` in the block; does nothing outside the main thread."""
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, _take)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Put the first signal off until `stop_if_asked` is called in the block.

    It ends with the block, and a signal that was put off until then ends there too: what it would stop is done.
    """
    _Wish.deferring = True
    try:
        yield
    finally:
        _Wish.deferring, _Wish.number = False, None


def deferring() -> bool:
    """Whether signals are put off now."""
    return _Wish.deferring


def asked_to_stop() -> int | None:
    """The number of the signal that waits for a safe point, or None."""
    return _Wish.number


def stop_if_asked() -> None:
    """Raise `SafeStop` if a signal has been put off."""
    if _Wish.number is not None:
        raise SafeStop(_Wish.number)


def _take(number: int, frame: object) -> None:
    if not _Wish.deferring or _Wish.number is not None:
        raise Interrupted(number)
    _Wish.number = number
    # Not print, whose buffer may be in use in the very line that the signal interrupts.
    os.write(2, b'\nstopping after this step; once more to stop at once.\n')


def leave_to_parent() -> None:
    """Let a loader's worker process outlive the signals, which a terminal and `kill` send to all of a job at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, 'alarm'):  # not on Windows
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_SECONDS))

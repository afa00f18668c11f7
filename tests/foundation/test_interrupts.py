"""Signals raise at once, or at the next safe point, and the handlers before are put back."""

import os
import signal

import pytest

from basis_blur.foundation import interrupts


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_an_exception_with_the_code_of_shells(number, code):
    before = signal.getsignal(number)
    with interrupts.handled():
        with pytest.raises(interrupts.Interrupted) as stop:
            send(number)
        assert stop.value.exit_code == code
    assert signal.getsignal(number) == before


def test_the_first_signal_waits_for_a_safe_point_and_the_second_does_not(capfd):
    with interrupts.handled(), interrupts.deferred():
        interrupts.stop_if_asked()
        send(signal.SIGTERM)
        assert 'once more to stop at once' in capfd.readouterr().err
        with pytest.raises(interrupts.Interrupted) as stop:
            send(signal.SIGINT)
        assert not isinstance(stop.value, interrupts.SafeStop)
        with pytest.raises(interrupts.SafeStop) as stop:
            interrupts.stop_if_asked()
        assert stop.value.exit_code == 143
    interrupts.stop_if_asked()


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.handled():
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

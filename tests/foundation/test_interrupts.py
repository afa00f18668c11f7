"""Signals raise at once, or at the next safe point, and the handlers before are put back."""

import os
import signal

import pytest

from basis_blur.foundation import interrupts


@pytest.fixture(autouse=True)
def _signals_are_not_ignored():
    """A shell starts what it runs in the background with SIGINT ignored, and nohup with SIGHUP ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
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


def test_a_closed_terminal_may_tell_it_twice(capfd):
    with interrupts.handled(), interrupts.deferred():
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        with pytest.raises(interrupts.SafeStop) as stop:
            interrupts.stop_if_asked()
        assert stop.value.exit_code == 129


def test_what_is_written_to_a_closed_terminal_goes_nowhere():
    """A child on a terminal of its own, which is closed before it is told so."""
    ours, terminal = os.openpty()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.dup2(terminal, 1)
            os.dup2(terminal, 2)
            os.close(terminal)
            os.close(ours)
            with interrupts.handled(), interrupts.deferred():
                send(signal.SIGHUP)
                os.write(1, b'a line')
                os.write(2, b'a line')
                code = interrupts.asked_to_stop() or 2
        finally:
            os._exit(code)
    os.close(terminal)
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == signal.SIGHUP


@pytest.mark.parametrize('ends', [0, 1])
def test_a_worker_obeys_at_once_when_its_parent_ends_and_else_waits_for_it(ends):
    class Shared:
        value = ends

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        interrupts.leave_to_parent(Shared)
        for number in (signal.SIGINT, signal.SIGHUP):
            send(number)
        os.write(writer, b'both ignored')
        send(signal.SIGTERM)
        os._exit(signal.alarm(0))  # the seconds that the alarm was set to
    assert os.read(reader, 12) == b'both ignored'
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (143 if ends else interrupts.GRACE_SECONDS)
    for end in (reader, writer):
        os.close(end)


def test_signals_are_put_off_for_the_rest_of_a_script():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    try:
        interrupts.defer_from_now_on()
        send(signal.SIGTERM)
        assert interrupts.deferring()
        assert interrupts.asked_to_stop() == signal.SIGTERM
    finally:
        for number, handler in zip(interrupts.SIGNALS, before, strict=True):
            signal.signal(number, handler)
        interrupts._Wish.deferring, interrupts._Wish.number = False, None

"""Ctrl-C: the first is remembered, the second obeyed at once."""

import signal
import threading

import pytest

from fastscratch.training.interrupt import HeldInterrupt


def test_first_and_second():
    with HeldInterrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_is_left_alone():
    calls = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        with HeldInterrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert calls == [signal.SIGINT] and not interrupt.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_may_use_it():
    errors = []

    def work() -> None:
        try:
            with HeldInterrupt():
                pass
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []

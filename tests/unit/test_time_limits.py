"""Code that runs longer than it may is ended, and nothing else is."""

from __future__ import annotations

import signal
import threading

import pytest

from gradcheck.time_limits import OutOfTime, can_be_limited, time_limit


def endless():
    while True:
        try:
            pass
        except Exception:
            continue


def test_a_loop_that_does_not_end_is_ended():
    with pytest.raises(OutOfTime), time_limit(0.05):
        endless()


def test_what_ends_in_time_goes_on_and_the_timer_is_off():
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(30.0):
        total = sum(range(10))
    assert total == 45
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_another_thread_has_no_limit():
    seen = []

    def run():
        with time_limit(0.001):
            seen.append(can_be_limited())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

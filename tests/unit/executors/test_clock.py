"""Tests of the clock that deadlines are measured by."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gradcheck.executors.clock import LONGEST_STEP_S, RunningClock


def _clock(*readings: float) -> RunningClock:
    return RunningClock(iter(readings).__next__)


def test_running_time_is_counted():
    clock = _clock(5.0, 5.2, 5.5)
    clock.now()
    assert clock.now() == 0.5


def test_a_pause_of_half_a_minute_counts_as_one_step():
    clock = _clock(0.0, 30.0, 30.2)
    assert clock.now() == LONGEST_STEP_S
    assert abs(clock.now() - LONGEST_STEP_S - 0.2) < 1e-9


def test_a_case_that_hangs_reaches_every_deadline():
    clock = RunningClock(iter(x * 2.0 for x in range(200)).__next__)
    assert max(clock.now() for _ in range(150)) == 150 * LONGEST_STEP_S


@given(st.lists(st.floats(-1e9, 1e9), min_size=2))
def test_time_never_runs_backwards_whatever_the_machine_says(readings):
    clock = _clock(*readings)
    counted = [clock.now() for _ in readings[1:]]
    assert counted == sorted(counted)
    assert all(0 <= seconds <= LONGEST_STEP_S * len(readings) for seconds in counted)

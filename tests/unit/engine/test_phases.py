"""Seconds are accounted to the phase that was current when they passed."""

import time

from gradcheck.engine.phases import Phases


def test_a_phase_ends_where_the_next_begins():
    phases = Phases()
    phases.enter("trace")
    time.sleep(0.01)
    phases.enter("gradients")
    phases.leave()
    assert list(phases.seconds) == ["trace", "gradients"]
    assert phases.seconds["trace"] >= 0.01


def test_a_phase_that_is_entered_again_goes_on_with_its_time():
    phases = Phases()
    for phase in ("trace", "gradients", "trace"):
        phases.enter(phase)
        time.sleep(0.01)
    phases.leave()
    assert list(phases.seconds) == ["trace", "gradients"]
    assert phases.seconds["trace"] >= 0.02


def test_between_phases_nothing_is_accounted():
    phases = Phases()
    phases.enter("trace")
    phases.leave()
    before = dict(phases.seconds)
    phases.leave()
    assert phases.seconds == before
    assert phases.current == ""

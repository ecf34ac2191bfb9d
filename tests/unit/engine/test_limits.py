"""How the time of a case is shared between what is compared at its samples and what explores further."""

from __future__ import annotations

import pytest

from gradcheck.engine.limits import Limits


def test_without_a_limit_there_is_always_time():
    assert Limits().has_time_for_more(1e9, done=0.1)


@pytest.mark.parametrize(("spent", "done", "more"), [(10.0, 1.0, True), (50.0, 1.0, False), (11.0, 0.25, False)])
def test_exploring_begins_early_and_leaves_time_for_later_samples(spent, done, more):
    assert Limits(seconds=120.0).has_time_for_more(spent, done) is more

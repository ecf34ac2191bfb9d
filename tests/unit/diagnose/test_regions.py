"""Where a forward is defined is read off the values at which it is a number."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.diagnose.evidence import Trial
from gradcheck.diagnose.regions import domain_between, fades_away, region_of


@pytest.mark.parametrize(
    ("values", "good", "domain"),
    [
        ([-1.0, -0.2, 0.5, 2.0], [False, False, True, True], "[0, .inf]"),
        ([-3.0, 0.5, 2.0], [True, True, False], "[-.inf, 1]"),
        ([-2.0, -0.9, 0.9, 1.5], [False, True, True, False], "[-1, 1]"),
        ([-2.0, 0.1, 1.5], [True, False, True], ""),
        ([1.0, 2.0], [True, True], ""),
    ],
)
def test_the_domain_holds_the_good_values_and_no_other(values, good, domain):
    assert domain_between(np.array(values), np.array(good)) == domain


def test_a_region_separates_wrong_from_right():
    values = np.linspace(-2.0, 2.0, 21)
    assert region_of(values, values > 1.0, values <= 1.0) == "is above 1"
    assert region_of(values, np.abs(values) > 1.5, np.abs(values) <= 1.5) == "is above 1.5 in absolute value"
    assert region_of(values, values > 9.0, values <= 9.0) is None


X = np.linspace(0.02, 2.0, 40)


def test_an_error_that_gets_smaller_and_smaller_fades_away():
    error = 1e-4 * X**4
    assert fades_away([Trial(X, error > 1e-6, error <= 1e-6, error < 0, error)])


@pytest.mark.parametrize("power", [0, 1, 2])
def test_an_error_beyond_a_border_does_not(power):
    rounding = 1e-15 * np.random.default_rng(0).uniform(0.1, 1.0, X.size)
    error = np.where(X > 1.0, 1e-2 * (X - 1.0) ** power, 0.0) + rounding
    assert not fades_away([Trial(X, X > 1.0, X <= 1.0, X < 0, error)])

"""Where a forward is defined is read off the values at which it is a number."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.diagnose.regions import domain_between, region_of


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

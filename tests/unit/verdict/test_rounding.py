"""When two ways of the own dtype differ by more than rounding explains."""

import numpy as np
import pytest

from gradcheck.verdict.rounding import beyond
from gradcheck.verdict.tolerances import rounding_tolerance

ROUNDOFF = 2.0**-24
RNG = np.random.default_rng(5)
EXACT = np.concatenate([[0.0, 0.0], RNG.normal(size=38)])
BASE = EXACT.astype(np.float32).astype(float)


def differs(found):
    tolerance = rounding_tolerance(EXACT, np.zeros(EXACT.size), ROUNDOFF)
    return beyond(np.asarray(found, float), BASE, EXACT, tolerance, ROUNDOFF)


def test_a_way_that_knows_fewer_digits_everywhere_is_not_blamed_where_the_value_is_zero():
    assert not differs(BASE + 4e-6 * RNG.choice([-1.0, 1.0], BASE.size)).any()


def test_a_way_that_is_off_at_zeros_alone_is_blamed():
    found = BASE.copy()
    found[:2] += 4e-5
    assert np.flatnonzero(differs(found)).tolist() == [0, 1]


@pytest.mark.parametrize("factor", [1.001, 0.99, -1.0, 0.0])
def test_a_way_that_is_off_by_one_factor_is_blamed(factor):
    assert differs(factor * BASE)[2:].all()


def test_a_way_that_is_elsewhere_is_blamed_wherever_that_shows():
    assert differs(BASE + 0.1 * RNG.normal(size=BASE.size)).mean() > 0.9


def test_a_number_that_one_way_lacks_is_blamed():
    found = BASE.copy()
    found[7] = np.nan
    assert np.flatnonzero(differs(found)).tolist() == [7]

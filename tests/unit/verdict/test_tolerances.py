"""How far a right gradient may be from its references."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck.verdict.allowances import difference_tolerance, rounding_tolerance
from gradcheck.verdict.tolerances import (
    CONDITIONING_FACTOR,
    CONSTANT_ROUNDINGS,
    DIFFERENCE_RTOL,
    HALF_DIFFERENCE_RTOL,
    ROUNDOFF,
    SHARED_ROUNDING,
    SINGLE_DIFFERENCE_RTOL,
)

DOUBLE, SINGLE, HALF = ROUNDOFF["float64"], ROUNDOFF["float32"], ROUNDOFF["float16"]


@pytest.mark.parametrize(
    ("roundoff", "rtol"), [(DOUBLE, DIFFERENCE_RTOL), (SINGLE, SINGLE_DIFFERENCE_RTOL), (HALF, HALF_DIFFERENCE_RTOL)]
)
def test_differences_are_as_exact_as_the_dtype_in_which_they_are_taken(roundoff, rtol):
    tolerance = difference_tolerance(roundoff, DOUBLE, None, None)
    assert (tolerance.rtol, tolerance.atol, tolerance.given) == (rtol, 0.0, False)


def test_constants_that_are_stored_in_half_precision_widen_the_tolerance():
    assert difference_tolerance(DOUBLE, HALF, None, None).rtol == CONSTANT_ROUNDINGS * HALF


@pytest.mark.parametrize(("rtol", "atol"), [(0.1, None), (None, 0.1), (0.1, 0.2), (0.0, None)])
def test_what_the_case_gives_is_taken_as_it_is(rtol, atol):
    tolerance = difference_tolerance(SINGLE, SINGLE, rtol, atol)
    assert (tolerance.rtol, tolerance.atol, tolerance.given) == (rtol or 0.0, atol or 0.0, True)


def test_the_tolerance_in_the_own_dtype_follows_gradient_size_and_conditioning():
    gradient, sensitivity = np.array([1.0, -3.0, 0.0]), np.array([0.0, 0.0, 1e-3])
    allowed = rounding_tolerance(gradient, sensitivity, SINGLE)
    shared = SHARED_ROUNDING * 3.0
    wanted = CONDITIONING_FACTOR * np.array([(1 + shared) * SINGLE, (3 + shared) * SINGLE, shared * SINGLE + 1e-3])
    assert np.allclose(allowed, wanted, rtol=1e-12, atol=0)


def test_a_smaller_factor_gives_a_smaller_tolerance():
    gradient = np.array([1.0, 2.0])
    assert np.allclose(
        2 * rounding_tolerance(gradient, 0 * gradient, SINGLE, 4.0),
        rounding_tolerance(gradient, 0 * gradient, SINGLE, 8.0),
    )


def test_gradients_that_are_no_numbers_share_nothing():
    assert np.isnan(rounding_tolerance(np.array([np.nan]), np.zeros(1), SINGLE)).all()
    allowed = rounding_tolerance(np.array([np.nan, 1.0]), np.zeros(2), SINGLE)
    assert np.isclose(allowed[1], CONDITIONING_FACTOR * (1 + SHARED_ROUNDING) * SINGLE)

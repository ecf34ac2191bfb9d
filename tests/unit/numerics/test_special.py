"""Special functions are held to those of mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gradcheck.numerics.special import digamma


@pytest.mark.parametrize("x", [1e-3, 0.3, 1.0, 2.5, 11.9, 12.1, 500.0])
def test_digamma_has_all_its_digits(x):
    assert digamma(np.array([x]))[0] == pytest.approx(float(mpmath.digamma(x)), rel=1e-13, abs=1e-14)


def test_digamma_is_no_number_where_it_is_not_wanted():
    assert np.isnan(digamma(np.array([0.0, -0.5]))).all()

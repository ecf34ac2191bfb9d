# SPDX-License-Identifier: Apache-2.0
"""Special functions that NumPy lacks."""

from __future__ import annotations

import numpy as np

from gradcheck.numerics.arrays import Array

# Beyond this the asymptotic series has all digits of float64 (Bernardo 1976, algorithm AS 103, and further terms).
_LARGE = 12.0
# B_2k / 2k, k = 1, 2, ...
_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def digamma(x: Array) -> Array:
    """Return the derivative of the logarithm of the gamma function for numbers above zero, NaN for others."""
    with np.errstate(all="ignore"):
        x = np.where(x > 0, x, np.nan).astype(np.float64)
        shifted = np.zeros_like(x)
        for _ in range(int(_LARGE)):
            small = x < _LARGE
            shifted = np.where(small, shifted - 1 / x, shifted)
            x = np.where(small, x + 1, x)
        series = sum(term / x ** (2 * k) for k, term in enumerate(_SERIES, 1))
        found: Array = shifted + np.log(x) - 1 / (2 * x) - series
        return found

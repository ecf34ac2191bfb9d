# SPDX-License-Identifier: Apache-2.0
"""How far a gradient may be from its reference: the tolerances made of the numbers in the table."""

from __future__ import annotations

import numpy as np

from gradcheck.differences.assess import Tolerance
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import (
    CONDITIONING_FACTOR,
    CONSTANT_ROUNDINGS,
    DIFFERENCE_RTOL,
    DOUBLE_ROUNDOFF,
    HALF_DIFFERENCE_RTOL,
    SHARED_ROUNDING,
    SINGLE_DIFFERENCE_RTOL,
    SINGLE_ROUNDOFF,
)


def difference_tolerance(
    roundoff: float, constants_roundoff: float, rtol: float | None, atol: float | None
) -> Tolerance:
    """Return the tolerance for a gradient against finite differences.

    `roundoff` is the one at which both were computed, `constants_roundoff` the one at which
    the op's own constants are stored (they stay rounded when the op is rewritten to float64).
    """
    if rtol is not None or atol is not None:
        return Tolerance(rtol or 0.0, atol or 0.0, given=True)
    if roundoff <= DOUBLE_ROUNDOFF:
        return Tolerance(max(DIFFERENCE_RTOL, CONSTANT_ROUNDINGS * constants_roundoff))
    return Tolerance(SINGLE_DIFFERENCE_RTOL if roundoff <= SINGLE_ROUNDOFF else HALF_DIFFERENCE_RTOL)


def rounding_tolerance(
    gradient: Array, sensitivity: Array, roundoff: float, factor: float = CONDITIONING_FACTOR
) -> Array:
    """Return how far a gradient in its own dtype may be from the same code in float64.

    `sensitivity` is the largest change of the float64 gradient when inputs and upstream move
    by one rounding of the dtype: it measures the conditioning of the gradient itself.
    """
    allowed = np.abs(gradient)
    largest = float(np.fmax.reduce(allowed, initial=0.0)) if np.isfinite(allowed).any() else 0.0
    allowed += SHARED_ROUNDING * largest
    allowed *= roundoff
    allowed += sensitivity
    allowed *= factor
    return allowed

"""Tolerances by dtype, and the rounding a gradient computed in its own dtype may show."""

from __future__ import annotations

import numpy as np

from gradcheck.numerics.assess import Tolerance
from gradcheck.numerics.ladder import Array

ROUNDOFF = {
    "float64": 2.0**-53,
    "complex128": 2.0**-53,
    "float32": 2.0**-24,
    "complex64": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
CONDITIONING_FACTOR = 16.0


def formula_tolerance(roundoff: float, constants_roundoff: float, rtol: float | None, atol: float | None) -> Tolerance:
    """Return the tolerance for a gradient against finite differences.

    `roundoff` is the one at which both were computed, `constants_roundoff` the one at which
    the op's own constants are stored (they stay rounded when the op is promoted).
    """
    if rtol is not None or atol is not None:
        return Tolerance(rtol or 0.0, atol or 0.0, given=True)
    if roundoff <= 2.0**-40:
        return Tolerance(max(1e-5, 16 * constants_roundoff))
    return Tolerance(1e-2 if roundoff <= 2.0**-20 else 0.5)


def rounding_tolerance(
    gradient: Array, sensitivity: Array, roundoff: float, factor: float = CONDITIONING_FACTOR
) -> Array:
    """Return how far a gradient in its own dtype may stand from the same code in float64.

    `sensitivity` is the largest change of the float64 gradient when inputs and upstream move
    by one rounding of the dtype: it measures the conditioning of the gradient itself.
    """
    allowed = np.abs(gradient)
    largest = float(np.fmax.reduce(allowed, initial=0.0)) if np.isfinite(allowed).any() else 0.0
    allowed += 0.1 * largest
    allowed *= roundoff
    allowed += sensitivity
    allowed *= factor
    return allowed

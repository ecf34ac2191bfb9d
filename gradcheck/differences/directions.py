# SPDX-License-Identifier: Apache-2.0
"""Differences along random directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradcheck.differences.vector_function import STAGE_ONE_EXPONENT, Point, evaluate_inside, power_of_two
from gradcheck.numerics.arrays import Array

RETRY_EXPONENT = -26


@dataclass(frozen=True, slots=True)
class Direction:
    """Hold a difference along one direction, its own bound, and the step (n,) it was taken over.

    The value estimates sum_i g_i step_i.
    """

    value: float
    error: float
    step: Array

    def deviation(self, gradient: Array) -> float:
        """Return how far `gradient` is from the difference along this direction."""
        return abs(self.value - float(gradient @ self.step))

    def agrees(self, gradient: Array) -> bool:
        """Return whether the deviation is within the difference's own bound."""
        size = float(np.linalg.norm(gradient * self.step))
        return bool(self.deviation(gradient) <= max(3 * self.error, 1e-8 * size))


def _difference(point: Point, step: Array) -> float:
    """Return v.(f(x + step) - f(x - step)); one evaluation at a time bounds the memory of a large input."""
    moved = evaluate_inside(point, point.quantize((point.x + step)[None]))[0]
    moved = moved - evaluate_inside(point, point.quantize((point.x - step)[None]))[0]
    return float(point.cotangent @ moved)


def difference_along(point: Point, direction: Array, exponent: int = STAGE_ONE_EXPONENT) -> Direction:
    """Difference f along `direction` (n,), scaled by each coordinate's own step."""
    step = power_of_two(point.sizes)
    step *= direction
    step *= 2.0**exponent
    with np.errstate(all="ignore"):
        wide, narrow = _difference(point, step) / 2, _difference(point, 0.5 * step)
        value = narrow + (narrow - wide) / 3
        noise = 8 * point.roundoff * point.output_norm + 4 * point.roundoff * abs(value)
        error = abs(narrow - wide) + noise
    if not np.isfinite(value):
        return Direction(float("nan"), float("inf"), step)
    return Direction(value, error, step)

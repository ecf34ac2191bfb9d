# SPDX-License-Identifier: Apache-2.0
"""Find the wrong elements of a long gradient by bisection along random directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradcheck.differences.directions import RETRY_EXPONENT, difference_along
from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.random_streams import signed_uniform

DIRECTIONS = 2
MAX_SUSPECTS = 64
MAX_TESTS = 600


def directions_agree(point: Point, gradient: Array, rng: np.random.Generator) -> bool:
    """Return whether random directions through all coordinates agree with the gradient.

    A test that fails is repeated with a much smaller step, because long directions cross
    kinks by chance.
    """
    everything = np.arange(point.x.size)
    return all(block_agrees(point, gradient, everything, rng) for _ in range(DIRECTIONS))


def suspects(point: Point, gradient: Array, rng: np.random.Generator, most_tests: int = MAX_TESTS) -> NDArray[np.int64]:
    """Return coordinates at which a gradient is wrong that random directions contradict."""
    found: list[int] = []
    queue, tests = [np.arange(point.x.size)], 0
    while queue and len(found) < MAX_SUSPECTS and tests < min(most_tests, MAX_TESTS):
        block = queue.pop()
        if len(block) == 1:
            found.append(int(block[0]))
            continue
        left, right = block[: len(block) // 2], block[len(block) // 2 :]
        tests += 1
        if block_agrees(point, gradient, left, rng):
            queue.append(right)
            continue
        queue.append(left)
        tests += 1
        if not block_agrees(point, gradient, right, rng):
            queue.append(right)
    return np.array(sorted(found), np.int64)


def block_agrees(point: Point, gradient: Array, block: NDArray[np.int64], rng: np.random.Generator) -> bool:
    """Return whether a random direction inside a block of coordinates agrees with the gradient."""
    direction = np.zeros(point.x.size)
    direction[block] = signed_uniform(rng, len(block))
    first = difference_along(point, direction)
    if first.agrees(gradient):
        return True
    return difference_along(point, direction, RETRY_EXPONENT).agrees(gradient)

# SPDX-License-Identifier: Apache-2.0
"""The mean of a gradient that is a random estimate, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.operation import Operation
from gradcheck.measure.noise import own_gradient
from gradcheck.numerics.arrays import Array

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Estimate:
    """Hold mean and variance of each element of the packed gradient over a number of draws.

    `factors` and `factor_errors` are, for each slot, the mean factor of a draw to the reference and its
    standard error: elements of one draw move together, so that a common factor shows where no element does.
    """

    mean: Array
    variance: Array
    draws: int
    factors: Array
    factor_errors: Array

    @property
    def error(self) -> Array:
        """Return the standard error of the mean."""
        return np.asarray(np.sqrt(self.variance / self.draws))


def exactly(gradient: Array, slots: int) -> Estimate:
    """Return a gradient that no draw changes."""
    return Estimate(gradient, np.zeros_like(gradient), 1, np.ones(slots), np.zeros(slots))


def estimate_of(lab: Lab, operation: Operation, draws: int, seed: int, reference: Array | None = None) -> Estimate:
    """Return the mean gradient of an operation at the sample; raises what it raises."""
    parts = lab.layout.inputs.ranges()
    elements, factors = _Mean(lab.layout.inputs.width), _Mean(len(parts))
    weights = [0.0 if reference is None else float(reference[part] @ reference[part]) for part in parts]
    for run in lab.gradients_of(operation).draws(lab.first_way, lab.values, lab.upstream, draws, seed):
        gradient = own_gradient(lab, run)
        elements.add(gradient)
        if reference is not None:
            pairs = zip(parts, weights, strict=True)
            factors.add(np.array([float(gradient[p] @ reference[p]) / w if w else 1.0 for p, w in pairs]))
    errors = np.sqrt(factors.variance / draws) if reference is not None else np.zeros(len(parts))
    return Estimate(elements.mean, elements.variance, draws, factors.mean, errors)


class _Mean:
    """Collect mean and variance of vectors one by one (Welford's algorithm)."""

    def __init__(self, size: int) -> None:
        self.mean, self._squares, self._count = np.zeros(size), np.zeros(size), 0

    def add(self, vector: Array) -> None:
        """Take in one vector."""
        self._count += 1
        before = vector - self.mean
        self.mean = self.mean + before / self._count
        self._squares += before * (vector - self.mean)

    @property
    def variance(self) -> Array:
        """Return the variance of one draw."""
        return np.asarray(self._squares / max(self._count - 1, 1))

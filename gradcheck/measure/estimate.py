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
    """Hold mean and variance of each element of the packed gradient over a number of draws."""

    mean: Array
    variance: Array
    draws: int

    @property
    def error(self) -> Array:
        """Return the standard error of the mean."""
        return np.asarray(np.sqrt(self.variance / self.draws))


def estimate_of(lab: Lab, operation: Operation, draws: int, seed: int) -> Estimate:
    """Return the mean gradient of an operation at the sample (Welford's algorithm); raises what it raises."""
    mean = np.zeros(lab.layout.inputs.width)
    squares = np.zeros_like(mean)
    gradients = lab.gradients_of(operation)
    for count, run in enumerate(gradients.draws(lab.first_way, lab.values, lab.upstream, draws, seed), 1):
        gradient = own_gradient(lab, run)
        before = gradient - mean
        mean = mean + before / count
        squares += before * (gradient - mean)
    return Estimate(mean, squares / max(draws - 1, 1), draws)

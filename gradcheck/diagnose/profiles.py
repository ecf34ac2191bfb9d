# SPDX-License-Identifier: Apache-2.0
"""What pictures need beyond the measurement: every element, and the difference over its steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.differences.stencils import convergence_along
from gradcheck.measure.gradients import measured_point
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.results import Convergence, Profile
from gradcheck.verdict.tolerances import CURVES, PICTURED


def profiles_of(lab: Lab) -> tuple[Profile, ...]:
    """Return one profile per differentiated input, empty if the differences were not taken."""
    return tuple(_profile(lab, measurement) for measurement in lab.known_measurements)


def _profile(lab: Lab, measurement: Measurement) -> Profile:
    kept = slice(0, PICTURED)
    autodiff = () if measurement.autodiff is None else _floats(measurement.autodiff[kept])
    return Profile(
        measurement.slot.name,
        _shape(measurement),
        _floats(measurement.point[kept]),
        _floats(measurement.gradient[kept]),
        autodiff,
        _floats(measurement.value[kept]),
        _floats(measurement.abs_error[kept]),
        tuple(bool(b) for b in (measurement.wrong | measurement.nonfinite)[kept]),
        int(measurement.gradient.size),
        () if measurement.declared else tuple(_convergence(lab, measurement)),
    )


def _shape(measurement: Measurement) -> tuple[int, ...]:
    """Return how the coordinates lie: as the tensor does, or in a row where only some entries are free."""
    slot = measurement.slot
    count = int(np.prod(slot.shape))
    if count > PICTURED or slot.size != count:
        return (min(slot.width, PICTURED),)
    return (2, *slot.shape) if slot.complex else slot.shape


def _convergence(lab: Lab, measurement: Measurement) -> Iterator[Convergence]:
    point = measured_point(lab)
    error = np.where(np.isfinite(measurement.abs_error), measurement.abs_error, np.inf)
    for place in np.argsort(-error)[:CURVES]:
        coordinate = measurement.part.start + int(place)
        steps, estimates = convergence_along(point, coordinate, lab.rng("profile"))
        yield Convergence(measurement.slot.where(int(place)), _floats(steps), _floats(estimates))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

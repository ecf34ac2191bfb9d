"""What pictures need beyond the verdict: every element, and the difference over its steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradcheck.autodiff.subject import Subject
from gradcheck.checks.gradients import measured_point
from gradcheck.checks.verdicts import SlotVerdict
from gradcheck.numerics.differences import convergence_along
from gradcheck.numerics.ladder import Array
from gradcheck.results import Convergence, Profile

MAX_ELEMENTS = 4096
CURVES = 3


def profiles_of(subject: Subject) -> tuple[Profile, ...]:
    """Return one profile per differentiated input, empty if the differences were not taken."""
    return tuple(_profile(subject, verdict) for verdict in subject.cache.get("verdicts", []))


def _profile(subject: Subject, verdict: SlotVerdict) -> Profile:
    kept = slice(0, MAX_ELEMENTS)
    autodiff = () if verdict.autodiff is None else _floats(verdict.autodiff[kept])
    return Profile(
        verdict.slot.name,
        _shape(verdict),
        _floats(verdict.point[kept]),
        _floats(verdict.gradient[kept]),
        autodiff,
        _floats(verdict.value[kept]),
        _floats(verdict.abs_error[kept]),
        tuple(bool(b) for b in (verdict.wrong | verdict.nonfinite)[kept]),
        int(verdict.gradient.size),
        () if verdict.expected else tuple(_convergence(subject, verdict)),
    )


def _shape(verdict: SlotVerdict) -> tuple[int, ...]:
    """Return how the coordinates lie: as the tensor does, or in a row where only some entries are free."""
    slot = verdict.slot
    count = int(np.prod(slot.shape))
    if count > MAX_ELEMENTS or slot.size != count:
        return (min(slot.width, MAX_ELEMENTS),)
    return (2, *slot.shape) if slot.complex else slot.shape


def _convergence(subject: Subject, verdict: SlotVerdict) -> Iterator[Convergence]:
    point = measured_point(subject)
    error = np.where(np.isfinite(verdict.abs_error), verdict.abs_error, np.inf)
    for place in np.argsort(-error)[:CURVES]:
        coordinate = verdict.part.start + int(place)
        steps, estimates = convergence_along(point, coordinate, subject.rng("profile"))
        yield Convergence(verdict.slot.where(int(place)), _floats(steps), _floats(estimates))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)

# SPDX-License-Identifier: Apache-2.0
"""Which other inputs a wrong gradient does not read, although the reference does: labels, lengths, a mask, a scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import AnyArray
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.verdict.tolerances import CLOSE, IGNORED_AT_MOST, IGNORED_MOVE

# Of these nothing better is known than where the gradient is wrong.
_PLACES = ("unknown", "elements")
# With these the input that is not read says more: the others name it, or a gradient that reads nothing at all.
_ADDED = ("region", "missing-term", "bypassed", "axis", "mask", "constant-factor", "inner-factor", "mean-not-sum")


def with_ignored(lab: Lab, measurement: Measurement, diagnosis: Diagnosis) -> Diagnosis:
    """Return a diagnosis that names the inputs which the gradient does not read and should."""
    if diagnosis.cause not in (*_PLACES, *_ADDED) or lab.case.expected_vjp or lab.random or lab.facts.stateless:
        return diagnosis
    names = list(_ignored(lab, measurement))
    if not 0 < len(names) <= IGNORED_AT_MOST:
        return diagnosis
    which = " and ".join(f"`{name}`" for name in names)
    said = f"it stays the same when {which} changes, and the reference does not"
    message = f"{diagnosis.message}; {said}"
    hint = f"use {which} in grad_fn as the forward does"
    if diagnosis.cause in ("constant-factor", "inner-factor"):
        # The number is what it happens to be at this draw.
        return replace(diagnosis, message=message, hint=hint)
    if diagnosis.cause not in _PLACES:
        return replace(diagnosis, message=message)
    message = said if diagnosis.cause == "unknown" else message
    return replace(diagnosis, cause="ignored-input", message=message, hint=hint)


def _ignored(lab: Lab, measurement: Measurement) -> Iterator[str]:
    """Yield the other inputs whose change moves the reference of an input and leaves its gradient bit by bit."""
    place = next(i for i, slot in enumerate(lab.slots) if slot is measurement.slot)
    own = lab.sources[place] if place < len(lab.sources) else None
    reference = lab.gradients_of(lab.bare)
    here = refused(lambda: reference.run(lab.first_way, lab.values, lab.upstream))
    for i, leaf in enumerate(lab.leaves) if here is not None else ():
        other = _moved(lab.values[i], leaf) if i != own else None
        if other is None:
            continue
        values = [*lab.values[:i], other, *lab.values[i + 1 :]]
        found = refused(lambda values=values: lab.run(values=values))  # type: ignore[misc]
        wanted = refused(lambda values=values: reference.run(lab.first_way, values, lab.upstream))  # type: ignore[misc]
        if found is None or wanted is None or here is None:
            continue
        if _same(lab.first, found, place) and _far(here, wanted, place):
            yield leaf.name
    lab.gradients.state.restore()


def _same(a: Run, b: Run, place: int) -> bool:
    one, other = a.gradients[place], b.gradients[place]
    return one is not None and other is not None and np.array_equal(one, other)


def _far(a: Run, b: Run, place: int) -> bool:
    one, other = a.gradients[place], b.gradients[place]
    if one is None or other is None or one.shape != other.shape or not np.isfinite(wide(other)).all():
        return False
    return not close(other, one, CLOSE, CLOSE * largest(one))


def _moved(value: AnyArray, leaf: Leaf) -> AnyArray | None:
    """Return other numbers for an input: as they may be if integers change places, or floats grow a little."""
    if not value.size or not leaf.is_free:
        return None
    if value.dtype.kind == "b":
        return np.logical_not(value)
    if value.dtype.kind in "iu":
        turned = value[::-1] if value.ndim else value
        less = np.where(value > 0, np.maximum(value, 1) - 1, 1).astype(value.dtype)
        return less if np.array_equal(turned, value) else turned.copy()
    low, high = leaf.domain or (-np.inf, np.inf)
    old = wide(value)
    grown = np.where(old == 0, IGNORED_MOVE, (1 + IGNORED_MOVE) * old)
    return np.asarray(grown if value.dtype.kind == "c" else np.clip(grown, low, high)).astype(value.dtype)

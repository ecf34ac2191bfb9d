# SPDX-License-Identifier: Apache-2.0
"""Name a gradient that counts only some of the outputs: the first row of a batch, all steps but the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.packing import Coordinates
from gradcheck.verdict.tolerances import BLOCKS, CHANGED_LOW_RTOL, CHANGED_RTOL


@dataclass(frozen=True, slots=True)
class Kept:
    """Hold which outputs count, and what is said of them."""

    mask: NDArray[np.bool_]
    words: str
    hint: str


def part_of_outputs(lab: Lab, measurement: Measurement) -> Diagnosis | None:
    """Return the diagnosis for a gradient that is autodiff of some rows of the outputs, at the sample and elsewhere."""
    if measurement.by_user or measurement.slot.complex:
        return None
    points = (lab.precision.point, lab.precision.point.with_cotangent(_other_cotangent(lab)))
    gradients = [lab.gradient_near(point) for point in points]
    for kept in kept_parts(lab.layout.outputs):
        pairs = (
            (gradient, lab.autodiff(point.with_cotangent(np.where(kept.mask, point.cotangent, 0.0))))
            for gradient, point in zip(gradients, points, strict=True)
        )
        if all(_is_one(lab, measurement.part, gradient, autodiff) for gradient, autodiff in pairs):
            return Diagnosis("missing-term", kept.words, kept.hint)
    return None


def kept_parts(outputs: Coordinates) -> Iterator[Kept]:
    """Yield the first and the last of every axis of every output, and all but these."""
    for slot, part in zip(outputs.slots, outputs.ranges(), strict=True):
        if not slot.plain or slot.complex:
            continue
        for axis, size in enumerate(slot.shape):
            along = f"along axis {axis} of {slot.name}"
            for chosen, name, plural in _chosen(size):
                mask = np.zeros(slot.shape, bool)
                mask[(slice(None),) * axis + (chosen,)] = True
                hint = f"add what comes from all others {along}"
                yield Kept(_among(outputs, part, mask), f"only what comes from {name} {along} is there", hint)
                if not plural:
                    words = f"what comes from {name} {along} is missing"
                    yield Kept(_among(outputs, part, ~mask), words, "add it: look at the ends of loops and slices")


def _chosen(size: int) -> Iterator[tuple[slice, str, bool]]:
    """Yield which places of an axis may count alone, in words, and whether they are several."""
    if size > 1:
        yield slice(0, 1), "the first place", False
        yield slice(size - 1, size), "the last place", False
    for count in (n for n in BLOCKS if size % n == 0 and size > n):
        for first in range(count):
            yield slice(first, None, count), f"places {first}, {first + count}, ...", True
            block = size // count
            part = f"places {first * block} to {(first + 1) * block - 1}"
            yield slice(first * block, (first + 1) * block), part, True


def _among(outputs: Coordinates, part: slice, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where packed outputs count: all of the others, and the chosen elements of one."""
    mask = np.ones(outputs.width, bool)
    mask[part] = chosen.ravel()
    return mask


def _other_cotangent(lab: Lab) -> Array:
    return lab.rng("outputs").normal(size=lab.precision.point.cotangent.size)


def _is_one(lab: Lab, part: slice, gradient: Array | None, autodiff: Array | None) -> bool:
    """Return whether two gradients are one to the precision of the op, and not zero."""
    if gradient is None or autodiff is None:
        return False
    own, other = gradient[part], autodiff[part]
    rtol = CHANGED_RTOL if lab.precision.op.wide else CHANGED_LOW_RTOL
    most = float(np.abs(other).max(initial=0.0))
    return bool(most > 0 and np.isfinite(own).all() and np.abs(own - other).max() <= rtol * most)

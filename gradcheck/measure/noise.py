# SPDX-License-Identifier: Apache-2.0
"""What the op's own dtype leaves to chance: how its results move when its inputs move by their last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.operation import floating_arrays
from gradcheck.backend.tensorflow.runs import Run, dtype_name
from gradcheck.numerics.arrays import AnyArray, Array, Arrays
from gradcheck.numerics.closeness import largest, wide
from gradcheck.verdict.tolerances import NOISE_DRAWS, NOISY, ROUNDOFF

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Noise:
    """Hold how far each element of the packed gradient and of the packed outputs may be off by chance.

    `most_gradient` and `most_value` are the largest that rounding does anywhere, steps left out.
    """

    gradient: Array
    value: Array
    most_gradient: float
    most_value: float


def noise_at(lab: Lab, values: Arrays) -> Noise:
    """Return the noise at other inputs."""
    base = lab.run(values=values)
    gradient, value = own_gradient(lab, base), own_values(lab, base)
    moved_gradient, moved_value = np.zeros(gradient.size), np.zeros(value.size)
    for number in range(NOISE_DRAWS):
        # An op may refuse what lies beside a valid input: weights that sum to one, a symmetric matrix.
        run = refused(lambda number=number: lab.run(values=last_digit_moved(lab, values, number)))  # type: ignore[misc]
        if run is None:
            continue
        with np.errstate(all="ignore"):
            moved_gradient = np.fmax(moved_gradient, np.abs(own_gradient(lab, run) - gradient))
            moved_value = np.fmax(moved_value, np.abs(own_values(lab, run) - value))
    few = float(np.sqrt(ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"])))
    layout = lab.layout
    upstream, inputs = largest(lab.cotangent), largest(lab.vector())
    in_gradient = _without_steps(moved_gradient, gradient, few, upstream, layout.inputs.ranges())
    in_value = _without_steps(moved_value, value, few, inputs, layout.outputs.ranges())
    return Noise(
        NOISY * np.fmax(moved_gradient, _shared(in_gradient, gradient, layout.inputs.ranges())),
        NOISY * np.fmax(moved_value, _shared(in_value, value, layout.outputs.ranges())),
        NOISY * float(in_gradient.max(initial=0.0)),
        NOISY * float(in_value.max(initial=0.0)),
    )


def growth_of(lab: Lab) -> float:
    """Return how many times as large, relative to all outputs, a change of the inputs' last digit comes out."""
    base = lab.precision.point
    size, most = largest(base.y), 0.0
    unit = 2 * ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"])
    for number in range(NOISE_DRAWS):
        rng = lab.rng("growth", str(number))
        moved = base.clipped(base.x * (1 + unit * rng.choice([-1.0, 1.0], base.x.size)))
        values = refused(lambda moved=moved: base.evaluate(moved[None])[0])  # type: ignore[misc]
        if values is not None and size:
            most = max(most, largest(values - base.y) / (unit * size))
    return most


def _without_steps(moved: Array, own: Array, few: float, scale: float, parts: Sequence[slice]) -> Array:
    """Return the moves that rounding makes, zero elsewhere.

    What moves by more than half of the digits (of the largest, or of what comes in: `scale`) is no
    rounding but a step, and speaks for itself alone.
    """
    kept = np.zeros(moved.size)
    for part in parts:
        size, move = np.abs(own[part]), moved[part]
        most = max(largest(size), scale)
        kept[part] = np.where(np.isfinite(size) & (move <= few * most), move, 0.0)
    return kept


def _shared(moved: Array, own: Array, parts: Sequence[slice]) -> Array:
    """Return for each element the largest move among those of its slot that are no larger.

    A sum that cancels leaves nothing here and a few roundings there, by luck.
    """
    result = np.zeros(moved.size)
    for part in parts:
        size, move = np.nan_to_num(np.abs(own[part]), nan=np.inf), moved[part]
        if not move.any():
            continue
        order = np.argsort(size)
        upwards = np.maximum.accumulate(move[order])
        # Where no digit is left, the size is chance too.
        floor = NOISY * float(move[size <= NOISY * move].max(initial=0.0))
        upto = np.searchsorted(size[order], np.fmax(2 * size, floor), side="right") - 1
        result[part] = upwards[upto]
    return result


def explains(noise: Noise, lab: Lab, a: Run, b: Run) -> bool:
    """Return whether two runs on the same inputs differ by no more than the noise there."""
    for allowed, one, two in (
        (noise.gradient, own_gradient(lab, a), own_gradient(lab, b)),
        (noise.value, own_values(lab, a), own_values(lab, b)),
    ):
        with np.errstate(all="ignore"):
            if not np.all(np.abs(one - two) <= allowed):
                return False
    return True


def last_digit_moved(lab: Lab, values: Arrays, number: int) -> list[Any]:
    """Return inputs that are larger or smaller by one rounding each."""
    rng = lab.rng("last digit", str(number))
    moved = []
    for value, leaf in zip(values, lab.leaves, strict=True):
        if not leaf.differentiated or value.dtype.kind not in "fcV":
            moved.append(value)
            continue
        unit = 2 * ROUNDOFF.get(dtype_name(value), ROUNDOFF["float32"])
        moved.append((wide(value) * (1 + unit * rng.choice([-1.0, 1.0], value.shape))).astype(value.dtype))
    return moved


def own_gradient(lab: Lab, run: Run) -> Array:
    """Return the packed gradient of a run."""
    return lab.layout.inputs.project(run.gradients)


def own_values(lab: Lab, run: Run) -> Array:
    """Return the packed differentiable outputs of a run."""
    return packed_values(lab, run.outputs)


def packed_values(lab: Lab, outputs: Sequence[AnyArray | None]) -> Array:
    """Return the differentiable ones of some outputs, packed."""
    return lab.layout.outputs.pack(floating_arrays(outputs))

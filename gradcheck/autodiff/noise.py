"""What the op's own dtype leaves to chance: how its results move when its inputs move by their last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.modes import Run
from gradcheck.autodiff.operation import floating_arrays
from gradcheck.autodiff.subject import Subject
from gradcheck.numerics.closeness import largest, wide
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.tolerance import ROUNDOFF

DRAWS = 4
NOISY = 16.0


@dataclass(frozen=True, slots=True)
class Noise:
    """Hold how far each element of the packed gradient and of the packed outputs may be off by chance.

    `most_gradient` and `most_value` are the largest that rounding does anywhere, steps left out.
    """

    gradient: Array
    value: Array
    most_gradient: float
    most_value: float


def noise_of(subject: Subject) -> Noise:
    """Return the noise of the subject, measured once.

    What is lost by cancelling inside shows here, whatever the conditioning of the gradient is.
    """
    return subject.once("noise", lambda: noise_at(subject, subject.values))  # type: ignore[no-any-return]


def noise_at(subject: Subject, values: Sequence[Any]) -> Noise:
    """Return the noise at other inputs."""
    base = subject.run(values=values)
    gradient, value = own_gradient(subject, base), own_values(subject, base)
    moved_gradient, moved_value = np.zeros(gradient.size), np.zeros(value.size)
    for number in range(DRAWS):
        try:
            run = subject.run(values=last_digit_moved(subject, values, number))
        except Exception:
            # An op may refuse what lies beside a valid input: weights that sum to one, a symmetric matrix.
            continue
        with np.errstate(all="ignore"):
            moved_gradient = np.fmax(moved_gradient, np.abs(own_gradient(subject, run) - gradient))
            moved_value = np.fmax(moved_value, np.abs(own_values(subject, run) - value))
    few = float(np.sqrt(ROUNDOFF.get(subject.coarsest, 2.0**-24)))
    layout = subject.layout
    upstream, inputs = largest(subject.cotangent), largest(subject.vector())
    in_gradient = _without_steps(moved_gradient, gradient, few, upstream, layout.inputs.ranges())
    in_value = _without_steps(moved_value, value, few, inputs, layout.outputs.ranges())
    return Noise(
        NOISY * np.fmax(moved_gradient, _shared(in_gradient, gradient, layout.inputs.ranges())),
        NOISY * np.fmax(moved_value, _shared(in_value, value, layout.outputs.ranges())),
        NOISY * float(in_gradient.max(initial=0.0)),
        NOISY * float(in_value.max(initial=0.0)),
    )


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


def explains(noise: Noise, subject: Subject, a: Run, b: Run) -> bool:
    """Return whether two runs on the same inputs differ by no more than the noise there."""
    for allowed, one, two in (
        (noise.gradient, own_gradient(subject, a), own_gradient(subject, b)),
        (noise.value, own_values(subject, a), own_values(subject, b)),
    ):
        with np.errstate(all="ignore"):
            if not np.all(np.abs(one - two) <= allowed):
                return False
    return True


def last_digit_moved(subject: Subject, values: Sequence[Any], number: int) -> list[Any]:
    """Return inputs that are larger or smaller by one rounding each."""
    rng = subject.rng("last digit", str(number))
    moved = []
    for value, leaf in zip(values, subject.leaves, strict=True):
        if not leaf.differentiated or value.dtype.kind not in "fcV":
            moved.append(value)
            continue
        unit = 2 * ROUNDOFF.get(tf.as_dtype(value.dtype).name, 2.0**-24)
        moved.append((wide(value) * (1 + unit * rng.choice([-1.0, 1.0], value.shape))).astype(value.dtype))
    return moved


def own_gradient(subject: Subject, run: Run) -> Array:
    """Return the packed gradient of a run."""
    return subject.layout.inputs.project(run.gradients)


def own_values(subject: Subject, run: Run) -> Array:
    """Return the packed differentiable outputs of a run."""
    return packed_values(subject, run.outputs)


def packed_values(subject: Subject, outputs: Sequence[Any]) -> Array:
    """Return the differentiable ones of some outputs, packed."""
    return subject.layout.outputs.pack(floating_arrays(outputs))

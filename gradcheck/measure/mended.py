# SPDX-License-Identifier: Apache-2.0
"""The gradient of an op with its code as it is now, which may be edited: what it is, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.backend.tensorflow.vector_op import VectorOp
from gradcheck.differences.assess import assess
from gradcheck.differences.vector_function import Point
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.noise import own_gradient
from gradcheck.measure.own_points import own_point, redrawn
from gradcheck.measure.precision import vector_op
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.closeness import wide
from gradcheck.results import Finding
from gradcheck.verdict.tolerances import EDITED_RTOL, MEND_DRAWS
from gradcheck.ways import EAGER

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold the right gradient at x, packed, and the coordinates of one input (`name`) at which it is known."""

    name: str
    x: Array
    gradient: Array
    coordinates: NDArray[np.int64]


def gradient_now(lab: Lab, x: Array) -> Array | None:
    """Return the packed gradient at x, in eager and in the op's own dtype, None if the op refuses it."""
    way = replace(EAGER, device=lab.first_way.device)
    return packed(lab, refused(lambda: lab.gradients.run(way, own_point(lab, x), lab.upstream)))


def packed(lab: Lab, run: Run | None) -> Array | None:
    """Return the gradient of a run, None where it has other shapes than the inputs."""
    fits = run is not None and all(
        g is None or tuple(np.shape(g)) == tuple(slot.shape) for g, slot in zip(run.gradients, lab.slots, strict=True)
    )
    return refused(lambda: own_gradient(lab, run)) if run is not None and fits else None


def is_right(gradient: Array, before: Array, wanted: Wanted) -> bool:
    """Return whether a gradient is the wanted one where that is known, and elsewhere as before or right too."""
    known = wanted.coordinates
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = EDITED_RTOL * np.abs(wanted.gradient[known]).max(initial=0.0)
        right = np.abs(gradient - wanted.gradient) <= allowed
        kept = np.abs(gradient - before) <= allowed
    unknown = np.isnan(wanted.gradient) | (np.isnan(gradient) & np.isnan(before))
    return bool(right[known].all() and (right | kept | unknown).all())


def is_right_everywhere(gradient: Array, wanted: Wanted) -> bool:
    """Return whether the gradients of all inputs are the wanted ones, where these are known."""
    allowed = EDITED_RTOL * np.nanmax(np.abs(wanted.gradient), initial=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.isnan(wanted.gradient) | (np.abs(gradient - wanted.gradient) <= allowed)).all())


def is_older(lab: Lab, fault: Finding) -> bool:
    """Return whether a gradient that is no number with an edit is none without it, or by autodiff, at those inputs."""
    x = shown_at(lab, fault) if fault.code == "gradient-nonfinite" else None
    if x is None:
        return False
    found = gradient_now(lab, x), lab.autodiff(replace(lab.precision.point, x=x))
    return any(gradient is not None and not np.isfinite(gradient).all() for gradient in found)


def shown_at(lab: Lab, finding: Finding) -> Array | None:
    """Return the sample with a counterexample in the place of its first rows, None where that does not fit."""
    values = list(lab.values)
    for i, leaf in enumerate(lab.leaves):
        own, shown_ = lab.values[i], finding.counterexample.get(leaf.name)
        rows = None if shown_ is None else np.asarray(shown_["values"], own.dtype)
        if rows is None or rows.ndim != own.ndim or rows.shape[1:] != own.shape[1:] or rows.size > own.size:
            return None
        values[i] = rows if rows.shape == own.shape else np.concatenate([rows, own[len(rows) :]])
        if i not in lab.sources and not np.array_equal(values[i], own):
            return None
    return lab.layout.inputs.pack([*(values[i] for i in lab.sources), *(lab.kept(v) for v in lab.variables)])


def passes_comparison(lab: Lab, wanted: Wanted) -> bool:
    """Return whether the gradient passes the differences, in the widest precision, at x and at fresh points."""
    # Another operation than the op's own, so that it is traced anew.
    op = refused(lambda: vector_op(lab, replace(lab.operation), lab.precision.op.name))
    return op is not None and all(_passes_at(lab, op, point, wanted) for point in _points(lab, wanted))


def _is_finite_at(lab: Lab, point: Point, wanted: Wanted) -> bool:
    """Return whether the gradient in the op's own dtype is a number at a point where value and autodiff are numbers."""
    plain = lab.run_plain(values=own_point(lab, point.x))
    if plain is None or not all(np.isfinite(wide(o)).all() for o in plain.outputs):
        return True
    if not np.isfinite(own_gradient(lab, plain)).all():
        return True
    gradient = gradient_now(lab, point.x)
    return gradient is None or bool(np.isfinite(gradient[wanted.coordinates]).all())


def _points(lab: Lab, wanted: Wanted) -> Iterator[Point]:
    """Yield x, and points near the sample and near x; what holds farther out every check says afterwards.

    Inputs whose values are given stay: labels that sum to one do so nowhere else.
    """
    point = lab.precision.point
    sizes = point.sizes * _drawn(lab)
    yield _point(lab, wanted.x, point.cotangent)
    for number in range(MEND_DRAWS):
        rng = lab.rng("mend", str(number))
        for start in dict.fromkeys((point.x.tobytes(), wanted.x.tobytes())):
            x = np.frombuffer(start) + sizes * rng.uniform(-1.0, 1.0, point.x.size)
            yield _point(lab, point.clipped(x[None])[0], rng.normal(size=point.cotangent.size))


def _drawn(lab: Lab) -> Array:
    """Return 1 for each coordinate that is drawn at random and 0 for those whose values are given; 1 if all are."""
    again = redrawn(lab, lab.vector(), 0)
    return np.ones(lab.layout.inputs.width) if again is None else (again != lab.vector()).astype(np.float64)


def _point(lab: Lab, x: Array, cotangent: Array) -> Point:
    """Return a point, with an upstream of zero for outputs that are no numbers there."""
    values = lab.precision.op.value(x)
    finite = np.isfinite(values)
    return lab.precision.point.elsewhere(x, values, np.where(finite, cotangent, 0.0), lab.rng("mended"))


def _passes_at(lab: Lab, op: VectorOp, point: Point, wanted: Wanted) -> bool:
    if not np.isfinite(point.y).any():
        return True
    gradient = refused(lambda: op.gradient(point.x, point.cotangent))
    if gradient is None:
        return False
    tolerance = tolerance_of(lab, lab.precision)
    known, trusted = wanted.coordinates, lab.precision.trusted
    found = assess(point, gradient, tolerance, lab.rng("mended"), known, trusted)
    wrong = found.wrong.any() and not (lab.facts.stops and _is_autodiff(lab, point, gradient, known))
    return not wrong and _is_finite_at(lab, point, wanted)


def _is_autodiff(lab: Lab, point: Point, gradient: Array, known: NDArray[np.int64]) -> bool:
    """Return whether a gradient is that of the bare forward: what this holds fixed, differences do not."""
    autodiff = lab.autodiff(point)
    if autodiff is None:
        return False
    allowed = EDITED_RTOL * np.abs(autodiff[known]).max(initial=0.0)
    return bool((np.abs(gradient - autodiff)[known] <= allowed).all())

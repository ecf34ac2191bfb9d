# SPDX-License-Identifier: Apache-2.0
"""The gradients that a case has in its widest precision: the one under test, autodiff's, and a declared one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.declared import declared_gradients
from gradcheck.backend.tensorflow.failures import Stopped, finding_from
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.operation import differentiable
from gradcheck.backend.tensorflow.runs import as_tensor
from gradcheck.differences.assess import Tolerance
from gradcheck.differences.vector_function import Point
from gradcheck.exact import is_installed
from gradcheck.measure.precision import REWRITTEN, Precision, choose
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.results import Finding
from gradcheck.verdict.allowances import difference_tolerance

if TYPE_CHECKING:
    from gradcheck.measure.exact import ExactSample
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Declared:
    """Hold a gradient that the case declares, packed, and which coordinates it speaks of."""

    gradient: Array
    covers: NDArray[np.bool_]


def tolerance_of(lab: Lab, precision: Precision) -> Tolerance:
    """Return how far the gradient may be from finite differences."""
    case, op = lab.case, precision.op
    return difference_tolerance(op.roundoff, op.constants_roundoff, case.rtol, case.atol)


def other_precision(lab: Lab) -> Precision | None:
    """Return the function of the user's that stands for the op, None if the case names none.

    Raises Stopped with `op-error` if it cannot stand for it.
    """
    name = lab.case.surrogate or lab.case.reference
    if name is None:
        return None
    word = "surrogate" if lab.case.surrogate else "reference"
    operation = lab.function(name)
    try:
        outputs = operation([as_tensor(value) for value in lab.values])
    except Exception as error:
        if own_fault(error):
            raise
        failure = finding_from(error, "op-error")
        raise Stopped(replace(failure, message=f"`{word}: {name}` fails: {failure.message}")) from error
    wanted = [list(slot.shape) for slot in lab.layout.outputs.slots]
    got = [list(o.shape) for o in outputs if differentiable(o)]
    if got != wanted:
        raise Stopped(Finding("op-error", f"`{word}: {name}` returns shapes {got}, the op {wanted}"))
    return choose(lab, operation, "other")


def measured_point(lab: Lab) -> Point:
    """Return the function whose slopes are meant, at the sample: the op itself or its surrogate."""
    precision = lab.precision
    point = precision.point.with_cotangent(precision.on_alive(lab.cotangent))
    other = lab.other
    if other is not None and lab.case.surrogate:
        return other.point.with_cotangent(point.cotangent)
    return point


def gradient_at(lab: Lab, point: Point) -> Array:
    """Return the gradient under test at a point; Stopped with `gradient-error` if it raises."""
    try:
        return lab.precision.op.gradient(point.x, point.cotangent)
    except Exception as error:
        if own_fault(error):
            raise
        raise Stopped(finding_from(error, "gradient-error", lab.recorder)) from error


def autodiff_at(lab: Lab, point: Point) -> Array | None:
    """Return the autodiff gradient of the bare forward (or surrogate, or reference), None if it fails."""
    other = lab.other
    if other is not None:
        return refused(lambda: other.op.gradient(point.x, point.cotangent))
    return refused(lambda: lab.precision.op.autodiff_gradient(point.x, point.cotangent))


def unrounded_at(lab: Lab, point: Point) -> tuple[Array, Array | None] | None:
    """Return gradient and autodiff at a point as they are where the op is run in float64 from the first line on.

    None where constants are not rounded to float32 by the precision in which it is measured, or where it refuses that.
    """
    exact = lab.exact_constants
    if lab.precision.op.name != REWRITTEN or exact is None:
        return None
    gradient = refused(lambda: exact.gradient(point.x, point.cotangent))
    if gradient is None:
        return None
    return gradient, refused(lambda: exact.autodiff_gradient(point.x, point.cotangent))


def exact_of(lab: Lab) -> ExactSample | None:
    """Return what exact arithmetic says at the sample, None if the case does not ask for it or it cannot be had."""
    if lab.case.exact is None or not is_installed():
        return None
    # Only here, so that nobody needs the library who does not ask for it.
    from gradcheck.measure.exact import exact_sample

    return exact_sample(lab)


def expected_vjp(lab: Lab, point: Point) -> Declared:
    """Return what the user's `expected_vjp(*inputs, upstream)` gives, packed.

    Raises Stopped with `op-error` if it fails or returns gradients that do not fit.
    """
    function = lab.function(str(lab.case.expected_vjp)).op
    slots = lab.layout.outputs.slots
    upstream, dtypes = lab.layout.outputs.unpack(point.cotangent), [slot.dtype for slot in slots]
    first: BaseException | None = None
    for wide in dict.fromkeys((lab.precision.op.wide, False)):
        try:
            return _fitted(lab, declared_gradients(function, lab.leaves, upstream, dtypes, wide))
        except Exception as error:
            if isinstance(error, Stopped) or own_fault(error):
                raise
            first = first or error
    assert first is not None
    raise Stopped(finding_from(first, "op-error")) from first


def declared_at(lab: Lab, values: Arrays, cotangent: Array) -> Declared:
    """Return what `expected_vjp` gives at other leaves and with another upstream, in the op's own dtypes.

    Raises what the function raises, and Stopped.
    """
    function = lab.function(str(lab.case.expected_vjp)).op
    leaves = [replace(leaf, values=np.asarray(value)) for leaf, value in zip(lab.leaves, values, strict=True)]
    outputs = lab.layout.outputs
    upstream, dtypes = outputs.unpack(cotangent), [slot.dtype for slot in outputs.slots]
    return _fitted(lab, declared_gradients(function, leaves, upstream, dtypes, wide=False))


def _fitted(lab: Lab, found: list[Any]) -> Declared:
    """Return declared gradients packed; a variable that none was returned for is not covered."""
    name = lab.case.expected_vjp
    if len(found) == len(lab.leaves):
        found = [found[i] for i in lab.sources]
    if len(found) not in (len(lab.sources), len(lab.slots)):
        counts = f"{len(found)} gradient{'s' * (len(found) != 1)} for {len(lab.leaves)} inputs"
        hint = "it takes the inputs and the upstream, and returns one gradient per input"
        raise Stopped(Finding("op-error", f"`expected_vjp: {name}` returned {counts}", hint=hint))
    for array, slot in zip(found, lab.slots, strict=False):
        if array is not None and array.shape != slot.shape:
            shapes = f"shape {list(array.shape)} for `{slot.name}`, which has {list(slot.shape)}"
            raise Stopped(Finding("op-error", f"`expected_vjp: {name}` returned a gradient of {shapes}"))
    covers = np.zeros(lab.layout.inputs.width, bool)
    for part in lab.layout.inputs.ranges()[: len(found)]:
        covers[part] = True
    missing = len(lab.slots) - len(found)
    return Declared(lab.layout.inputs.project([*found, *[None] * missing]), covers)

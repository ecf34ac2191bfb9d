# SPDX-License-Identifier: Apache-2.0
"""Choose the precision in which a gradient is compared with finite differences: the widest in which the op runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.float64_graph import wide_dtype
from gradcheck.backend.tensorflow.operation import Operation, State, bypassed, differentiable
from gradcheck.backend.tensorflow.vector_op import (
    Pullback,
    VectorOp,
    direct_kernels,
    rewritten_kernels,
    rewritten_pullback,
    twin_variables,
)
from gradcheck.differences.coloring import Part, find_blocks
from gradcheck.differences.hidden_rounding import has_low_precision
from gradcheck.differences.vector_function import FLOAT64_ROUNDOFF, Point
from gradcheck.measure.noise import own_gradient, packed_values
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.chunks import chunks_of
from gradcheck.numerics.closeness import close, largest
from gradcheck.numerics.packing import Slot
from gradcheck.verdict.tolerances import (
    MOST_VALUES,
    ROUNDINGS_LEFT,
    ROUNDOFF,
    SAME_HALF_OP,
    SAME_OP,
    SAME_TRACED,
    SAME_VALUE_FLOOR,
    SAME_VALUE_RTOL,
)

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

FLOAT64, REWRITTEN, NATIVE = "float64", "float64 (rewritten graph)", "own dtype"


@dataclass(frozen=True, slots=True)
class Precision:
    """Hold the op in one precision: its vector function, the sample, and the gradient under test if it was taken.

    `trusted` says that no lower precision hides inside; `alive` marks the outputs that are numbers.
    """

    op: VectorOp
    point: Point
    trusted: bool
    alive: NDArray[np.bool_]
    gradient: Array | None = None

    def on_alive(self, cotangent: Array) -> Array:
        """Return the cotangent with zeros at the outputs that are no numbers."""
        return _zero_where_dead(self.alive, cotangent)


def choose(lab: Lab, operation: Operation, name: str) -> Precision:
    """Return the widest precision in which `operation` gives the values of the case's own dtype."""
    low_first = lab.dtype in ("float16", "bfloat16", "float64", "complex128")
    order = [FLOAT64, REWRITTEN] if low_first else [REWRITTEN, FLOAT64]
    found: list[Precision] = []
    for kind in order:
        op = refused(lambda kind=kind: vector_op(lab, operation, kind))  # type: ignore[misc]
        precision = _precision(lab, op, name) if op is not None else None
        if precision is None:
            continue
        faithful = True
        if name == "op" and lab.first is not None:
            gradient = _gradient_of(precision)
            if gradient is None:
                continue
            precision = replace(precision, gradient=gradient)
            loose = SAME_HALF_OP if lab.rounds_to_half or precision.op.halves else SAME_OP
            # A traced graph may hold another op than eager does; then the mode is what is wrong.
            faithful = _faithful(lab, precision, gradient, loose)
        if precision.trusted and faithful:
            return precision
        found.append(precision)
    if found:
        return next((precision for precision in found if precision.trusted), found[0])
    return _in_own_dtype(lab, operation, name)


def _in_own_dtype(lab: Lab, operation: Operation, name: str) -> Precision:
    """Return the op in its own dtype, which it cannot refuse: it was called in it."""
    native = vector_op(lab, operation, NATIVE)
    assert native is not None
    precision = _precision(lab, native, name, anyway=True)
    assert precision is not None
    return precision


def _faithful(lab: Lab, precision: Precision, gradient: Array, loose: float) -> bool:
    """Return whether gradient and values in a precision are those of the op's own dtype, but for rounding."""
    assert lab.first is not None
    own, values = own_gradient(lab, lab.first), packed_values(lab, lab.first.outputs)
    if _close(gradient, own, loose) and _close(precision.point.y, values, loose):
        return True
    noise = lab.noise
    found = _close(gradient, own, loose, noise.most_gradient)
    return found and _close(precision.point.y, values, loose, noise.most_value)


def exact_constants(lab: Lab) -> VectorOp | None:
    """Return the op with constants that are not rounded to float32, None if it refuses float64."""
    if not lab.custom or lab.case.reference or lab.case.surrogate:
        return None
    return refused(lambda: vector_op(lab, lab.operation, FLOAT64))


def rewritten(lab: Lab) -> VectorOp | None:
    """Return the op as it is traced in its own dtype, rewritten to float64; None if that cannot be done."""
    return refused(lambda: vector_op(lab, lab.operation, REWRITTEN))


def keeping(lab: Lab, name: str) -> VectorOp | None:
    """Return the op whose autodiff keeps the rule of one inner custom gradient, None if that cannot be made."""
    with lab.recorder.keeping(name):
        return _traced_here(lab)


def stopping(lab: Lab, name: str) -> VectorOp | None:
    """Return the op whose autodiff passes nothing through one inner custom gradient, None if that cannot be made."""
    with lab.recorder.stopping(name):
        return _traced_here(lab)


def _traced_here(lab: Lab) -> VectorOp | None:
    """Return the op in its widest precision, traced at once, with what the recorder does now."""
    op = refused(lambda: vector_op(lab, lab.operation, lab.precision.op.name))
    if op is not None:
        refused(lambda: op.autodiff_gradient(lab.precision.point.x, lab.precision.point.cotangent))
    return op


def vector_op(lab: Lab, operation: Operation, kind: str) -> VectorOp | None:
    """Return an operation in one precision, None if it cannot be had in it; raises what tracing raises."""
    layout, recorder = lab.layout, lab.recorder
    everything = [v.variable for v in lab.every_variable]
    narrow = [v for v in everything if differentiable(v) and v.dtype != wide_dtype(v.dtype)]
    plain = bypassed(operation, recorder) if lab.custom else None
    own = ROUNDOFF.get(lab.coarsest, FLOAT64_ROUNDOFF)
    if kind == REWRITTEN:
        if lab.random:
            return None
        lab.gradients.state.restore()
        twins = twin_variables(everything)
        traced = lab.gradients_of(operation)
        forward, pullback, halves, constants = rewritten_kernels(traced, lab.values, lab.upstream, twins)
        autodiff = _rewritten_autodiff(lab, plain, twins) if plain else pullback
        by_ref = {variable.ref(): twin for variable, twin in twins}
        variables = tuple(by_ref[v.ref()] for v in layout.variables)
        state = State.of(twin for _, twin in twins)
        return VectorOp(
            kind, layout, True, forward, pullback, autodiff, variables, state, FLOAT64_ROUNDOFF, own, halves=halves,
            constants=constants,
        )  # fmt: skip
    if kind == FLOAT64 and narrow:
        return None
    forward, pullback = direct_kernels(operation, layout.sources, layout.variables)
    autodiff = direct_kernels(plain, layout.sources, layout.variables)[1] if plain else pullback
    roundoff = FLOAT64_ROUNDOFF if kind == FLOAT64 else own
    op = VectorOp(
        kind, layout, kind == FLOAT64, forward, pullback, autodiff, layout.variables, lab.gradients.state, roundoff
    )
    op.seed, op.constants = lab.gradients.seed, lab.facts.constants
    return op


def _rewritten_autodiff(lab: Lab, plain: Operation, twins: Sequence[tuple[Any, Any]]) -> Pullback | None:
    return refused(lambda: rewritten_pullback(lab.gradients_of(plain), lab.values, lab.upstream, twins))


def _precision(lab: Lab, op: VectorOp, name: str, anyway: bool = False) -> Precision | None:
    vector = lab.vector()
    values = _first_values(op, vector) if anyway else refused(lambda: _first_values(op, vector))
    if values is None:
        return None
    own = packed_values(lab, lab.outputs)
    if not anyway and np.isfinite(own).any() and not np.isfinite(values).any():
        return None
    if not anyway and name == "op" and not _same_values(values, own):
        # Where nothing but rounding is left of a value, two widths share no digit.
        if not (_same_values(values, own, lab.noise.most_value) or _all_rounding(lab, values, own)):
            return None
    alive = np.isfinite(values)
    low, high = lab.layout.inputs.bounds()
    width = lab.layout.outputs.width

    def evaluate(rows: Array) -> Array:
        result = op.evaluate(rows)
        return _zero_where_dead(alive, result).reshape(len(rows), width)

    point = Point(
        evaluate,
        vector,
        _zero_where_dead(alive, values),
        _zero_where_dead(alive, lab.cotangent),
        low,
        high,
        op.roundoff,
        op.quantize,
        np.repeat(np.arange(len(lab.slots)), [slot.width for slot in lab.slots]) if len(lab.slots) > 1 else None,
    )
    if name in ("op", "other"):
        rng = lab.rng("blocks", name)
        parts, results = [_part(s) for s in lab.slots], [_part(s) for s in lab.layout.outputs.slots]
        if alive.all():
            blocks = find_blocks(point.evaluate_clipped, point.x, point.y, point.sizes, parts, results, rng)
            point = replace(point, blocks=blocks)
    if not op.wide:
        return Precision(op, point, False, alive)
    # A fine staircase looks like rounding, but for the dtypes in the graph.
    low_inside = not op.all_double() and has_low_precision(point, lab.rng("precision", name))
    if low_inside:
        op.roundoff = ROUNDOFF["float32"]
        point = replace(point, roundoff=op.roundoff)
    return Precision(op, point, not low_inside, alive)


def _first_values(op: VectorOp, vector: Array) -> Array:
    """Return the outputs at the sample, and find out whether the forward may be traced."""
    if op.name == NATIVE and op.seed is not None:
        op.traceable = False
    found = refused(lambda: op.value_or_raise(vector))
    if found is None:
        op.traceable = False
        found = op.value_or_raise(vector)
    values = found
    if op.traceable and op.name != REWRITTEN and op.seed is None:
        # A forward that is another one when traced must be evaluated in eager.
        op.traceable = False
        eager = op.value(vector)
        op.traceable = _same_but_for_rounding(values, eager, op.roundoff)
        values = values if op.traceable else eager
    return values


def _zero_where_dead(alive: NDArray[np.bool_], values: Array) -> Array:
    """Return the values themselves where all are alive, else a copy with zeros."""
    return values if alive.all() else np.where(alive, values, 0.0)


def _part(slot: Slot) -> Part:
    return Part(slot.shape, 2 if slot.complex else 1, slot.plain)


def _gradient_of(precision: Precision) -> Array | None:
    """Return the gradient in this precision, None if it cannot be computed there.

    It could in the op's own dtype, so if not here, the wider precision is at fault and not the op.
    """
    return refused(lambda: precision.op.gradient(precision.point.x, precision.point.cotangent))


def _close(found: Array, own: Array, loose: float, noise: float = 0.0) -> bool:
    """Return whether all that is finite agrees, relative to each element and to the largest."""
    scale = largest(own, among=np.isfinite(found))
    return close(found, own, loose, loose * scale + noise, finite_only=True)


def _same_but_for_rounding(traced: Array, eager: Array, roundoff: float) -> bool:
    """Return whether two evaluations in one precision are those of one function."""
    if not np.array_equal(np.isfinite(traced), np.isfinite(eager)):
        return False
    return _close(traced, eager, max(SAME_TRACED, float(np.sqrt(roundoff))))


def _all_rounding(lab: Lab, values: Array, own: Array) -> bool:
    """Return whether values are roundings of the inputs alone in both precisions."""
    unit = ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"])
    return max(largest(values), largest(own)) <= ROUNDINGS_LEFT * unit * largest(lab.vector())


def _same_values(found: Array, own: Array, noise: float = 0.0) -> bool:
    """Return whether promoted values are those of the op's own dtype, up to its rounding."""
    both = np.isfinite(found) & np.isfinite(own)
    if not both.any():
        return True
    scale = largest(own, among=both)
    agreeing = 0
    for part in chunks_of(own.size):
        with np.errstate(all="ignore"):
            near = (
                np.abs(found[part] - own[part])
                <= SAME_VALUE_RTOL * np.abs(own[part]) + SAME_VALUE_FLOOR * scale + noise
            )
        agreeing += int(np.sum(near & both[part]))
    return agreeing > MOST_VALUES * int(both.sum())

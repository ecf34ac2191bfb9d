# SPDX-License-Identifier: Apache-2.0
"""The traces of a forward and of the gradient under test, and both sides of their comparison in ball arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.backend.tensorflow.declared import traced_declared
from gradcheck.backend.tensorflow.exact_graph import ExactGraph, NotExact
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.float64_graph import wide_dtype
from gradcheck.backend.tensorflow.runs import Gradients
from gradcheck.exact.balls import Dual, Operand, between, lift, objects
from gradcheck.exact.comparison import Along, along, beside
from gradcheck.exact.thresholds import (
    EXACT_DIGITS,
    EXACT_DIGITS_OF_NUMBERS,
    EXACT_DIRECTIONS,
    EXACT_SAME,
    EXACT_SINGLE,
    EXACT_WEIGHTS,
)
from gradcheck.measure.noise import packed_values
from gradcheck.numerics.arrays import AnyArray, Array, Arrays
from gradcheck.numerics.closeness import close, largest
from gradcheck.verdict.tolerances import CONSTANT_ROUNDINGS, SAME_VALUE_RTOL

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

# In the place of a place: a declared gradient that is None, and one that the declaration does not speak of.
NOTHING, UNSAID = -1, -2


@dataclass(frozen=True, slots=True)
class ExactOp:
    """Hold the traces of a forward and of the gradient under test, and which of its outputs are gradients.

    No gradient: it runs in Python only, is another one when it is traced (`parts`), or holds ops that are not known
    exactly; its numbers are compared.  With `declares` the forward is the function that `expected_vjp` names: for each
    gradient the place of what it returns, NOTHING where that is None, UNSAID where it speaks of others only.
    """

    lab: Lab
    forward: ExactGraph
    gradient: ExactGraph | None
    given: tuple[bool, ...] = ()
    parts: bool = False
    declares: tuple[int, ...] | None = None

    def compare(self, x: Array, cotangent: Array, rounded: bool = False) -> list[Along]:
        """Return both sides at a point along single coordinates, or some random directions; raises NotExact."""
        layout = self.lab.layout
        upstream = [np.asarray(u) for u in layout.outputs.unpack(cotangent)]
        moved = [layout.inputs.unpack(row) for row in self.directions()]
        values, variables = self._entered(x)
        every = self._gradients(x, cotangent, rounded)
        if any(g is not None and g.shape != slot.shape for g, slot in zip(every, self.lab.slots, strict=True)):
            raise NotExact("", "a gradient has another shape than its input", ("", 0))
        if self.declares is not None:
            found = self.forward.at([*values, *(lift(u) for u in upstream)], variables, rounded)
            declared = [_as_dual(found[place]) if place >= 0 else None for place in self.declares]
            spoken = [None if place == UNSAID else g for g, place in zip(every, self.declares, strict=True)]
            return beside(declared, spoken, moved)
        dual_values, dual_variables = self._moving(values, variables, moved)
        outputs = [o for o in self.forward.at(dual_values, dual_variables, rounded) if isinstance(o, Dual)]
        self._expect(outputs)
        return along(outputs, upstream, every, moved)

    def _gradients(self, x: Array, cotangent: Array, rounded: bool) -> list[Dual | None]:
        """Return the gradients under test at a point; raises NotExact."""
        if self.gradient is None:
            return self._numbers(x, cotangent)
        upstream = [lift(np.asarray(u)) for u in self.lab.layout.outputs.unpack(cotangent)]
        values, variables = self._entered(x)
        found = self.gradient.at([*values, *upstream], variables, rounded)
        gradients = iter(found[len(found) - sum(self.given) :])
        return [_as_dual(next(gradients)) if there else None for there in self.given]

    def _numbers(self, x: Array, cotangent: Array) -> list[Dual | None]:
        """Return the gradient as it is computed, in balls of what rounding may do to it; raises NotExact."""
        lab = self.lab
        found = lab.gradient_near(replace(lab.precision.point, x=x, cotangent=cotangent))
        if found is None or not np.isfinite(found).all():
            raise NotExact("", "the gradient gives no numbers there", ("", 0))
        vector = lab.precision.op
        loose = max(EXACT_SAME, float(np.sqrt(vector.roundoff)), CONSTANT_ROUNDINGS * vector.constants_roundoff)
        radius = loose * np.abs(found) + (loose**2 * largest(found) if vector.wide else lab.noise.most_gradient)
        inputs = lab.layout.inputs
        parts = zip(inputs.unpack(found), inputs.unpack(radius), strict=True)
        return [Dual(between(numbers, radii)) for numbers, radii in parts]

    @property
    def least_digits(self) -> int:
        """Return how many digits have to agree."""
        return EXACT_DIGITS if self.gradient is not None else EXACT_DIGITS_OF_NUMBERS

    def _expect(self, outputs: Sequence[Dual]) -> None:
        """Raise NotExact where the bare forward returns other shapes than the op."""
        if [o.shape for o in outputs] != [slot.shape for slot in self.lab.layout.outputs.slots]:
            raise NotExact("", "the forward without its rules returns other shapes", ("", 0))

    def directions(self) -> Array:
        """Return every coordinate's own direction of a small op; of a large one some directions at random.

        Along the first of them no terms of the gradient cancel, so that a common factor shows in full.
        """
        width = self.lab.layout.inputs.width
        if width <= EXACT_SINGLE:
            return np.eye(width)
        weights = self.lab.rng("exact").integers(1, EXACT_WEIGHTS, (EXACT_DIRECTIONS, width))
        signs = self.lab.rng("exact signs").choice([-1.0, 1.0], weights.shape)
        signs[0] = np.where(np.signbit(self.lab.gradient), -1.0, 1.0)
        return np.asarray(weights * signs)

    def _entered(self, x: Array) -> tuple[list[Operand], list[Dual]]:
        layout = self.lab.layout
        parts = layout.inputs.unpack(x)
        values: list[Operand] = [lift(v) if _is_number(v) else np.asarray(v) for v in self.lab.values]
        for position, part in zip(layout.sources, parts, strict=False):
            values[position] = lift(part)
        return values, [lift(part) for part in parts[len(layout.sources) :]]

    def _moving(
        self, values: Sequence[Operand], variables: Sequence[Dual], moved: Sequence[Arrays]
    ) -> tuple[list[Operand], list[Dual]]:
        """Return inputs and variables with the slopes of all directions."""
        sources = self.lab.layout.sources
        found = list(values)
        slopes = [tuple(lift(row[i]).value for row in moved) for i in range(len(self.lab.slots))]
        for number, position in enumerate(sources):
            found[position] = Dual(objects(_value(values[position])), slopes[number])
        of_variables = slopes[len(sources) :]
        return found, [Dual(v.value, s) for v, s in zip(variables, of_variables, strict=True)]


def _value(operand: Operand) -> Any:
    return operand.value if isinstance(operand, Dual) else operand


def _as_dual(operand: Operand) -> Dual:
    return operand if isinstance(operand, Dual) else lift(operand)


def _is_number(value: AnyArray) -> bool:
    """Return whether an array holds real or complex numbers, TensorFlow's own half precision included."""
    return any(kind in str(np.asarray(value).dtype) for kind in ("float", "complex"))


def exact_op(lab: Lab) -> ExactOp:
    """Return the op as it is traced in float64 if it has the same values there, else in its own dtypes.

    A gradient that cannot be traced is left out.  Raises NotExact with the reason why the op cannot be followed.
    """
    reason = _reason(lab)
    if reason is not None:
        raise NotExact("", reason, ("", 0))
    for with_gradient in (True, False):
        wide = refused(lambda g=with_gradient: _traced(lab, True, g)) if _takes_float64(lab) else None  # type: ignore[misc]
        found = wide or refused(lambda g=with_gradient: _traced(lab, False, g))  # type: ignore[misc]
        if found is not None:
            return found
    raise NotExact("", "it cannot be traced", ("", 0))


def _reason(lab: Lab) -> str | None:
    """Return why no exact comparison has a meaning, None if one has."""
    case = lab.case
    if case.intended:
        return "the case keeps inner rules (`intended`)"
    if lab.facts.random or lab.facts.stateless:
        return "the op draws random numbers"
    return None


def _takes_float64(lab: Lab) -> bool:
    """Return whether no variable of the op holds coarser numbers."""
    return all(v.variable.dtype == wide_dtype(v.variable.dtype) for v in lab.every_variable)


def _widened(values: Arrays) -> list[Any]:
    return [np.asarray(v, np.complex128 if np.iscomplexobj(v) else np.float64) if _is_number(v) else v for v in values]


def _traced(lab: Lab, wide: bool, with_gradient: bool) -> ExactOp | None:
    """Return the traces; None where the values in float64 are not those of the op's own dtype."""
    values = _widened(lab.values) if wide else list(lab.values)
    upstream = _widened(lab.upstream) if wide else list(lab.upstream)
    variables = lab.gradients.variables
    lab.gradients.state.restore()
    bare: Gradients = lab.gradients_of(lab.bare)
    try:
        if wide and not _same_values(lab, lab.gradients.outputs(values)):
            return None
        forward = bare.traced_forward(values)
        gradient = lab.gradients.traced_gradient(values, upstream) if with_gradient else None
    finally:
        lab.gradients.state.restore()
    stops, declares = lab.case.surrogate is not None, None
    if lab.case.expected_vjp:
        forward, declares = _declared(lab, values, upstream)
    reference = ExactGraph(forward, variables, stops)
    if gradient is None:
        return ExactOp(lab, reference, None, declares=declares)
    given = tuple(g is not None for g in gradient.structured_outputs[1])
    return ExactOp(lab, reference, ExactGraph(gradient, variables), given, declares=declares)


def _declared(lab: Lab, values: Arrays, upstream: Arrays) -> tuple[Any, tuple[int, ...]]:
    """Return the trace of what `expected_vjp` names, and for each slot the place of its gradient in what comes out."""
    function = lab.function(str(lab.case.expected_vjp)).op
    concrete, there = traced_declared(function, lab.leaves, values, upstream)
    places = [sum(there[:k]) if is_there else NOTHING for k, is_there in enumerate(there)]
    if len(places) == len(lab.leaves):
        places = [places[i] for i in lab.sources]
    return concrete, tuple(places[k] if k < len(places) else UNSAID for k in range(len(lab.slots)))


def _same_values(lab: Lab, outputs: Sequence[Any]) -> bool:
    """Return whether values in float64 are those of the op's own dtype, but for its rounding."""
    own = packed_values(lab, lab.outputs)
    found = packed_values(lab, [t.numpy() for t in outputs])
    scale = largest(own, among=np.isfinite(own))
    return close(found, own, SAME_VALUE_RTOL, SAME_VALUE_RTOL * scale, finite_only=True)

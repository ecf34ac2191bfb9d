# SPDX-License-Identifier: Apache-2.0
"""Write the findings for what is wrong away from the sample, with the inputs that must be away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradcheck.measure.away import Away
from gradcheck.measure.lab import Lab
from gradcheck.numerics.packing import Slot
from gradcheck.results import Element, Finding
from gradcheck.verdict.tolerances import NEAR_ZERO

_BRANCH = (
    "the formula holds near the sample only: look for a branch or a clip at large or small inputs; if such inputs"
    " never come, say so with `domain`"
)
_DRIFT = (
    "an iteration that has not converged there, or an approximate formula, does this; give the range of real inputs"
    " with `domain`"
)
_DIVISION = "something is divided by zero: guard the denominator, not the result: y = tf.where(ok, x, 1.0), then divide"
_OVERFLOW = "an intermediate value overflows or 0 * inf appears: use a stable form (tf.sigmoid, tf.nn.softplus)"


def findings_of(lab: Lab, wrong: Sequence[Away]) -> Iterator[Finding]:
    """Yield a finding for what is no number, what is wrong, and what parts from autodiff slowly or without order."""
    for write, some in (
        (_not_finite, [w for w in wrong if w.own_dtype]),
        (_wrong, [w for w in wrong if not (w.own_dtype or w.exempt)]),
        (_drifting, [w for w in wrong if not w.own_dtype and w.exempt]),
    ):
        if some:
            yield write(lab, some)


def _not_finite(lab: Lab, some: Sequence[Away]) -> Finding:
    first = some[0]
    divided = all(value == 0 for _, value in first.moved or ((0, first.input),))
    said = f"is {first.analytic} {place(lab, first)}; the reference there is {first.slope:.6g}"
    return _finding(lab, some, "gradient-nonfinite", said, _DIVISION if divided else _OVERFLOW)


def _wrong(lab: Lab, some: Sequence[Away]) -> Finding:
    said = f"is wrong {place(lab, some[0])}: {some[0].analytic:.6g}, the reference is {some[0].slope:.6g}"
    return _finding(lab, some, "gradient-mismatch", said, _BRANCH, "region")


def _drifting(lab: Lab, some: Sequence[Away]) -> Finding:
    how = "little by little on the way to inputs far from the sample"
    if any(w.restless for w in some):
        how = "away from the sample, where the slopes of the op are irregular"
    said = (
        f"differs from autodiff {how}: {place(lab, some[0])} it is {some[0].analytic:.6g}, the reference is"
        f" {some[0].slope:.6g}"
    )
    return _finding(lab, some, "inconclusive", said, _DRIFT, "domain")


def _finding(lab: Lab, some: Sequence[Away], code: str, said: str, hint: str, cause: str | None = None) -> Finding:
    slot, _ = locate(lab, some[0].coordinate)
    message = f"the gradient of `{slot.name}` {said}"
    return Finding(code, message, cause, hint=hint, wrt=slot.name, elements=elements_at(lab, some))


def place(lab: Lab, wrong: Away) -> str:
    """Return the words for the inputs that are away from the sample, how far, and which element that makes wrong."""
    if not wrong.moved or len(wrong.moved) > 2:
        slot, _ = locate(lab, wrong.coordinate)
        if wrong.moved:
            zeros = all(value == 0 for _, value in wrong.moved)
            return f"where {len(wrong.moved)} inputs are {'zero' if zeros else 'far from the sample'}"
        return f"at {slot.name} = {wrong.input:.6g}{_far(wrong.input)}"
    where = " and ".join(f"{_named(lab, coordinate)} = {value:.6g}" for coordinate, value in wrong.moved)
    far = _far(*(value for _, value in wrong.moved))
    if wrong.coordinate in (coordinate for coordinate, _ in wrong.moved):
        return f"at {where}{far}"
    return f"at {_named(lab, wrong.coordinate)}, when {where}{far}"


def _named(lab: Lab, coordinate: int) -> str:
    """Return a coordinate as people index it."""
    slot, local = locate(lab, coordinate)
    index = ", ".join(map(str, slot.where(local)))
    return f"{slot.name}[{index}]" if index else slot.name


def _far(*values: float) -> str:
    """Return words for values that are far from the sample; those near zero need none."""
    return ", far from the sample" if any(abs(value) > NEAR_ZERO for value in values) else ""


def elements_at(lab: Lab, some: Sequence[Away]) -> tuple[Element, ...]:
    """Return the rows of the table, as many as are shown."""
    return tuple(_element(lab, w) for w in some[: lab.show])


def locate(lab: Lab, coordinate: int) -> tuple[Slot, int]:
    """Return the slot of a coordinate, and its number there."""
    for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
        if part.start <= coordinate < part.stop:
            return slot, coordinate - part.start
    raise IndexError(coordinate)


def _element(lab: Lab, wrong: Away) -> Element:
    slot, local = locate(lab, wrong.coordinate)
    gap = abs(wrong.analytic - wrong.slope)
    return Element(
        slot.where(local),
        wrong.input,
        wrong.analytic,
        wrong.autodiff,
        wrong.slope,
        gap,
        gap / (abs(wrong.slope) or 1.0),
        wrong.tolerance,
    )

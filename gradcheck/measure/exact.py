# SPDX-License-Identifier: Apache-2.0
"""The gradient and the derivative of the forward in ball arithmetic: without steps, noise, or rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.exact_graph import NotExact
from gradcheck.exact.comparison import Along, common_factor, verdict
from gradcheck.exact.thresholds import EXACT_RATIO, EXACT_SAME, EXACT_SINGLE
from gradcheck.measure.exact_op import ExactOp, exact_op
from gradcheck.numerics.arrays import Array
from gradcheck.results import DIFFERENT, IDENTICAL, OPEN, ROUNDED, Exact

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab

HELD = "tf.stop_gradient holds a value of the forward fixed, which the derivative does not"
AS_NUMBERS = "the gradient cannot be followed, so that its numbers are compared"


@dataclass(frozen=True, slots=True)
class ExactPoint:
    """Hold what exact arithmetic says at a point, and both gradients of each coordinate where each was compared."""

    found: Exact
    x: Array
    analytic: Array | None = None
    reference: Array | None = None


@dataclass(frozen=True, slots=True)
class ExactSample:
    """Hold what exact arithmetic says at the sample; `op` follows the same graphs elsewhere, None if it cannot.

    `is_tie`: only this point keeps the comparison open, as one at which a condition changes its side.
    """

    sample: ExactPoint
    op: ExactOp | None = None
    is_tie: bool = False

    @property
    def found(self) -> Exact:
        """Return the verdict at the sample."""
        return self.sample.found

    @property
    def is_proof(self) -> bool:
        """Return whether gradient and derivative are identical, not only as far as rounded numbers tell."""
        return self.found.verdict == IDENTICAL and self.is_followed

    @property
    def may_blame(self) -> bool:
        """Return whether a difference is the gradient's: of one that is another when traced, modes are compared."""
        return self.op is not None and not self.op.parts

    @property
    def is_followed(self) -> bool:
        """Return whether forward and gradient are followed, so that both are known exactly at other points."""
        return self.op is not None and self.op.gradient is not None

    @property
    def reference(self) -> Array | None:
        """Return the derivative of each coordinate at the sample, None where only directions were compared."""
        return self.sample.reference

    def at(self, x: Array, cotangent: Array) -> ExactPoint:
        """Return what exact arithmetic says at another point; the op has to be one that is followed."""
        assert self.op is not None
        try:
            return _judged(self.op, x, cotangent, self.op.compare(x, cotangent))
        except NotExact as error:
            return ExactPoint(_open(error), x)


def exact_sample(lab: Lab) -> ExactSample:
    """Return what exact arithmetic says at the sample of a lab."""
    x, cotangent = lab.vector(), lab.precision.on_alive(lab.cotangent)
    if lab.facts.stops:
        return ExactSample(ExactPoint(Exact(OPEN, why=HELD), x))
    op = None
    try:
        op = exact_op(lab)
        op, pairs = _compared(op, x, cotangent)
        point = _judged(op, x, cotangent, pairs)
        return ExactSample(point, op, is_tie=point.found.verdict == OPEN)
    except NotExact as error:
        return ExactSample(ExactPoint(_open(error), x), op, error.is_tie)


def _compared(op: ExactOp, x: Array, cotangent: Array) -> tuple[ExactOp, list[Along]]:
    """Return both sides at the sample, of the gradient's numbers where it cannot be followed; raises NotExact."""
    by_numbers = replace(op, gradient=None)
    try:
        pairs = op.compare(x, cotangent)
    except NotExact as error:
        if op.gradient is None or error.is_tie:
            raise
        return by_numbers, by_numbers.compare(x, cotangent)
    if op.gradient is None or _is_the_gradient(op.lab, op, pairs):
        return op, pairs
    by_numbers = replace(by_numbers, parts=True)
    return by_numbers, by_numbers.compare(x, cotangent)


def _is_the_gradient(lab: Lab, op: ExactOp, pairs: Sequence[Along]) -> bool:
    """Return whether the traced gradient is the one under test, but for rounding."""
    vector = lab.precision.op
    loose = max(EXACT_SAME, float(np.sqrt(max(vector.roundoff, vector.constants_roundoff))))
    scale = max((float(pair.scale) for pair in pairs), default=0.0)
    found = np.array([float(pair.analytic) for pair in pairs])

    def is_found(gradient: Array) -> bool:
        return bool(np.all(np.abs(found - op.directions() @ np.nan_to_num(gradient)) <= loose * scale))

    # Of terms that all cancel only rounding is left.
    if is_found(lab.gradient) or scale < lab.noise.most_gradient:
        return True
    unrounded = lab.unrounded(lab.precision.point)
    return unrounded is not None and is_found(unrounded[0])


def _judged(op: ExactOp, x: Array, cotangent: Array, pairs: Sequence[Along]) -> ExactPoint:
    said, digits, size = verdict(pairs, op.least_digits)
    numbers = "" if op.gradient is not None else AS_NUMBERS
    if said == OPEN:
        found = Exact(OPEN, digits, why="no digits are left, as at a singular point")
    elif said == IDENTICAL or op.gradient is None:
        found = Exact(said, digits, size, why=numbers, factor=common_factor(pairs, EXACT_RATIO) if size else None)
    else:
        rounded = verdict(op.compare(x, cotangent, rounded=True))[0] != DIFFERENT
        found = Exact(ROUNDED if rounded else DIFFERENT, digits, size, factor=common_factor(pairs, EXACT_RATIO))
    if len(pairs) != op.lab.layout.inputs.width or len(pairs) > EXACT_SINGLE:
        return ExactPoint(found, x)
    analytic, reference = (np.array([float(getattr(p, side)) for p in pairs]) for side in ("analytic", "reference"))
    return ExactPoint(found, x, analytic, reference)


def _open(error: NotExact) -> Exact:
    file, line = error.place
    return Exact(OPEN, why=error.why, op=error.kind, file=file, line=line)

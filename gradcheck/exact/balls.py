# SPDX-License-Identifier: Apache-2.0
"""Arrays of balls with directional derivatives: numbers known to some 90 digits, each with a bound of its error.

A ball is a real number of python-flint's (Arb: Johansson, 2017, doi:10.1109/TC.2017.2690633); derivatives are carried
as in forward mode, one array for each direction.  Nothing here rounds without saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import acb, arb, ctx
from numpy.typing import NDArray

# Bits of every ball: some 90 digits, so that 80 are left after the roundings of a large op.
PRECISION = 300
Balls = NDArray[np.object_]
ZERO, ONE = arb(0), arb(1)


class Undecided(Exception):
    """Say that a ball does not separate what has to be decided, as at a tie."""


class Unknown(Exception):
    """Say that a kind of op, or a use of it, has no exact counterpart."""


def set_precision() -> None:
    """Let every ball have PRECISION bits from now on, in this process."""
    ctx.prec = PRECISION


@dataclass(frozen=True, slots=True)
class Dual:
    """Hold an array of balls and its derivative along each direction; no slopes: it depends on no input."""

    value: Balls
    slopes: tuple[Balls, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""
        return self.value.shape

    def map(self, move: Callable[[Balls], Balls]) -> Dual:
        """Return what a linear function makes of the value and of every slope."""
        return Dual(objects(move(self.value)), tuple(objects(move(slope)) for slope in self.slopes))

    @property
    def constant(self) -> Dual:
        """Return the same numbers without slopes."""
        return Dual(self.value)


# Whole numbers and truth values stay arrays of NumPy.
Operand = Dual | NDArray[Any]


def objects(value: Any) -> Balls:
    """Return an array of objects, also of what NumPy has reduced to one number."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    found = np.empty(np.shape(value), object)
    found[...] = value
    return found


_ball = np.frompyfunc(arb, 1, 1)
_complex_ball = np.frompyfunc(acb, 1, 1)
_of_parts = np.frompyfunc(acb, 2, 1)
_around = np.frompyfunc(lambda number, radius: arb(number, radius), 2, 1)


def lift(numbers: Any) -> Dual:
    """Return numbers, real or complex, as balls without radius: every float is a binary fraction."""
    if np.iscomplexobj(numbers):
        return Dual(objects(_complex_ball(np.asarray(numbers, np.complex128).astype(object))))
    return Dual(objects(_ball(np.asarray(numbers, np.float64).astype(object))))


def between(numbers: Any, radii: Any) -> Balls:
    """Return numbers as balls of a radius each; of complex ones each part has its own."""
    if np.iscomplexobj(numbers):
        return objects(_of_parts(between(np.real(numbers), np.real(radii)), between(np.imag(numbers), np.imag(radii))))
    return objects(
        _around(np.asarray(numbers, np.float64).astype(object), np.asarray(radii, np.float64).astype(object))
    )


def dual(operand: Operand) -> Dual:
    """Return an operand as balls."""
    return operand if isinstance(operand, Dual) else lift(operand)


def floats(operand: Operand) -> NDArray[Any]:
    """Return the middles of balls in float64, whole numbers as they are."""
    if not isinstance(operand, Dual):
        return operand
    return np.array([float(ball.mid()) for ball in operand.value.ravel()]).reshape(operand.shape)


def full(shape: Sequence[int], number: Any = ZERO) -> Balls:
    """Return an array of one ball."""
    found = np.empty(tuple(shape), object)
    found.fill(number)
    return found


# Zero times what is not finite is zero here: a value that does not move adds nothing to a slope.
_scaled: Any = np.frompyfunc(lambda factor, slope: ZERO if slope.is_zero() else factor * slope, 2, 1)


def scaled(factor: Balls, slope: Balls) -> Balls:
    """Return a slope times a local derivative."""
    return objects(_scaled(factor, slope))


def chain(x: Dual, value: Balls, derivative: Callable[[], Balls]) -> Dual:
    """Return f(x), of which value and derivative are known, with its slopes."""
    if not x.slopes:
        return Dual(objects(value))
    local = derivative()
    return Dual(objects(value), tuple(scaled(local, slope) for slope in x.slopes))


def mapped(function: Callable[[Any], Any], x: Balls) -> Balls:
    """Return a function of single balls, element by element."""
    return objects(np.frompyfunc(function, 1, 1)(x))


Local = Callable[[Balls], Balls]


def joined(a: Dual, b: Dual, value: Any, of_a: Local, of_b: Local) -> Dual:
    """Return a result of two operands; `of_a` and `of_b` say what a slope of each adds to its slopes."""
    whole = objects(value)
    if a.slopes and b.slopes:
        slopes = tuple(of_a(p) + of_b(q) for p, q in zip(a.slopes, b.slopes, strict=True))
    else:
        slopes = tuple(of_a(p) for p in a.slopes) or tuple(of_b(q) for q in b.slopes)
    return Dual(whole, tuple(np.broadcast_to(objects(slope), whole.shape) for slope in slopes))


def add(a: Dual, b: Dual) -> Dual:
    """Return a + b."""
    return joined(a, b, a.value + b.value, _same, _same)


def negative(a: Dual) -> Dual:
    """Return -a."""
    return a.map(lambda array: -array)


def subtract(a: Dual, b: Dual) -> Dual:
    """Return a - b."""
    return joined(a, b, a.value - b.value, _same, lambda slope: -slope)


def multiply(a: Dual, b: Dual) -> Dual:
    """Return a * b."""
    return joined(a, b, a.value * b.value, lambda p: scaled(b.value, p), lambda q: scaled(a.value, q))


def divide(a: Dual, b: Dual) -> Dual:
    """Return a / b."""
    quotient, inverse = a.value / b.value, ONE / b.value
    return joined(a, b, quotient, lambda p: scaled(inverse, p), lambda q: -scaled(quotient * inverse, q))


def total(terms: Sequence[Dual]) -> Dual:
    """Return the sum of arrays."""
    found = terms[0]
    for term in terms[1:]:
        found = add(found, term)
    return found


def _same(slope: Balls) -> Balls:
    return slope

# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops that compare, choose and step: a ball has to lie on one side, or nothing is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.exact.balls import ONE, ZERO, Dual, Operand, Undecided, dual, lift, mapped, multiply, objects, subtract
from gradcheck.exact.elementwise import ONES, alike

Attribute = Callable[[str], Any]


def order(a: Any, b: Any) -> int:
    """Return -1, 0 or 1 for a below, equal to or above b; raise Undecided where balls overlap."""
    if a > b:
        return 1
    if a < b:
        return -1
    if a.is_exact() and b.is_exact() and a == b:
        return 0
    if a.is_nan() or b.is_nan():
        return 2
    raise Undecided("two numbers that tie but for 80 digits")


def _orders(a: Dual, b: Dual) -> Any:
    return np.frompyfunc(order, 2, 1)(a.value, b.value)


def compared(holds: Callable[[int], bool]) -> Callable[[Dual, Dual], Operand]:
    """Return the kind of a comparison; where numbers are equal and move apart, either side may be meant."""

    def kind(a: Dual, b: Dual) -> Operand:
        a, b = alike(a, b)
        signs = _orders(a, b)
        _same_where(signs == 0, a, b)
        return objects(np.frompyfunc(lambda o: o != 2 and holds(o), 1, 1)(signs)).astype(bool)

    return kind


def select(chosen: Any, a: Dual, b: Dual) -> Dual:
    """Return a where `chosen`, b elsewhere."""
    chosen = np.asarray(chosen, bool)
    shape = np.broadcast_shapes(chosen.shape, a.shape, b.shape)

    def pick(p: Any, q: Any) -> Any:
        return objects(np.broadcast_to(np.where(chosen, p, q), shape))

    zero = objects(ZERO)
    count = max(len(a.slopes), len(b.slopes))
    ours, theirs = a.slopes or (zero,) * count, b.slopes or (zero,) * count
    return Dual(pick(a.value, b.value), tuple(pick(p, q) for p, q in zip(ours, theirs, strict=True)))


def larger(a: Dual, b: Dual) -> Dual:
    """Return the larger of two numbers; where they tie their slopes have to be the same."""
    a, b = alike(a, b)
    signs = _orders(a, b)
    _same_where(signs == 0, a, b)
    return select(signs >= 0, a, b)


def smaller(a: Dual, b: Dual) -> Dual:
    """Return the smaller of two numbers."""
    a, b = alike(a, b)
    signs = _orders(a, b)
    _same_where(signs == 0, a, b)
    return select((signs <= 0) | (signs == 2), a, b)


def _same_where(tied: Any, a: Dual, b: Dual) -> None:
    tied = np.asarray(tied, bool)
    if not tied.any():
        return
    gap = subtract(a, b)
    if any(not s.is_zero() for slope in gap.slopes for s in slope[tied]):
        raise Undecided("a tie")


def clip(x: Dual, low: Dual, high: Dual) -> Dual:
    """Return x between two bounds."""
    return smaller(larger(x, low), high)


def relu(x: Dual) -> Dual:
    """Return max(x, 0)."""
    return larger(x, lift(0.0))


def absolute(x: Dual) -> Dual:
    """Return |x|."""
    return larger(x, x.map(lambda a: -a))


def sign(x: Dual) -> Dual:
    """Return the sign, which has no slope."""
    signs = _orders(x, lift(0.0))
    _same_where(signs == 0, x, x.map(lambda a: -a))
    return lift(objects(signs).astype(float))


def _above(x: Dual, bound: float) -> Any:
    return objects(_orders(x, lift(bound))).astype(int) > 0


def _piecewise(below: Callable[[Dual], Dual], above: Callable[[Dual], Dual]) -> Callable[[Dual], Dual]:
    """Return the kind of a function with two pieces that meet at zero with one slope, or do not move there."""

    def kind(x: Dual) -> Dual:
        signs = _orders(x, lift(0.0))
        if np.any(signs == 0):
            _same_where(signs == 0, below(x), above(x))
        return select(signs >= 0, above(x), below(x))

    return kind


def _times(factor: float, function: Callable[[Dual], Dual]) -> Callable[[Dual], Dual]:
    return lambda x: multiply(lift(factor), function(x))


def _itself(x: Dual) -> Dual:
    return x


# The numbers of TensorFlow's kernels (Klambauer et al., 2017).
SELU_ALPHA, SELU_SCALE = 1.7580993408473768599402175208123, 1.0507009873554804934193349852946


def step(function: Callable[[Any], Any]) -> Callable[[Dual], Dual]:
    """Return the kind of a staircase, which has no slope; at an edge nothing is decided for what moves."""

    def level(x: Any) -> Any:
        whole = function(x).unique_fmpz()
        if whole is None:
            raise Undecided("a number at the edge of a step")
        return ONE * whole

    return lambda x: Dual(mapped(level, x.value))


def _to_even(x: Any) -> Any:
    twice = 2 * x
    if twice.is_integer() and not x.is_integer():
        low = x.floor()
        return low if (low / 2).is_integer() else low + 1
    return (x + ONE / 2).floor()


STEPS: Mapping[str, Callable[[Dual], Dual]] = {
    "Floor": step(lambda x: x.floor()),
    "Ceil": step(lambda x: x.ceil()),
    "Round": step(_to_even),
    "Rint": step(_to_even),
}


# Towards zero, as numbers become whole.
cut = step(lambda x: x.floor() if x >= 0 else x.ceil())


def floor_quotient(a: Dual, b: Dual) -> Dual:
    """Return floor(a / b)."""
    return STEPS["Floor"](Dual(objects(a.value / b.value)))


def floor_remainder(a: Dual, b: Dual) -> Dual:
    """Return a - b floor(a / b)."""
    return subtract(a, multiply(b, floor_quotient(a, b)))


def remainder(a: Dual, b: Dual) -> Dual:
    """Return what is left of a / b cut towards zero, as C has it."""
    return subtract(a, multiply(b, cut(Dual(objects(a.value / b.value)))))


def places(x: Dual, axis: int, best: int) -> Any:
    """Return where along an axis the largest (`best` 1) or smallest (-1) number is, the first of equal ones."""
    rows = x.map(lambda a: np.moveaxis(a, axis, -1))
    found = np.zeros(rows.shape[:-1], np.int64)
    for index in np.ndindex(*found.shape):
        found[index] = extreme(rows, index, best)
    return found


def extreme(rows: Dual, index: tuple[int, ...], best: int) -> int:
    """Return where in one row the largest or smallest number is; tied ones have to move together."""
    row, place = rows.value[index], 0
    tied: list[int] = []
    for k in range(1, len(row)):
        o = order(row[k], row[place])
        if o == best:
            place, tied = k, []
        elif o == 0:
            tied.append(k)
    for k in tied:
        _together(rows, index, k, place)
    return place


def _together(rows: Dual, index: tuple[int, ...], one: int, other: int) -> None:
    """Raise Undecided unless two equal numbers of a row have the same slopes."""
    if any(not (slope[index][one] - slope[index][other]).is_zero() for slope in rows.slopes):
        raise Undecided("a tie")


def sorted_places(x: Dual) -> Any:
    """Return the places of the numbers of each last row, the largest first, equal ones in their order."""
    found = np.zeros(x.shape, np.int64)
    for index in np.ndindex(*x.shape[:-1]):
        row = x.value[index]
        ranked: list[int] = []
        for k in range(len(row)):
            place = len(ranked)
            while place and (o := order(row[k], row[ranked[place - 1]])) != -1:
                if o == 0:
                    _together(x, index, k, ranked[place - 1])
                    break
                place -= 1
            ranked.insert(place, k)
        found[index] = ranked
    return found


def _leaky(x: Dual, alpha: float) -> Dual:
    return _piecewise(_times(alpha, _itself), _itself)(x)


def _where_above(bound: float) -> Callable[[Dual, Dual], Dual]:
    return lambda dy, x: select(_above(x, bound), dy, lift(0.0))


def _relu6_grad(dy: Dual, x: Dual) -> Dual:
    inside = _above(x, 0.0) & (objects(_orders(x, lift(6.0))).astype(int) < 0)
    return select(inside, dy, lift(0.0))


def _softsign_grad(dy: Dual, x: Dual) -> Dual:
    return multiply(dy, ONES["Reciprocal"](ONES["Square"](lift_one_plus(absolute(x)))))


def lift_one_plus(x: Dual) -> Dual:
    """Return 1 + x."""
    return Dual(objects(ONE + x.value), x.slopes)


def _elu_grad(dy: Dual, y: Dual) -> Dual:
    return select(_above(y, 0.0) | (_orders(y, lift(0.0)) == 0), dy, multiply(dy, lift_one_plus(y)))


def _selu_grad(dy: Dual, y: Dual) -> Dual:
    below = multiply(dy, Dual(objects(y.value + lift(SELU_ALPHA).value), y.slopes))
    return select(_above(y, 0.0), multiply(lift(SELU_SCALE), dy), below)


ORDER_ONES: Mapping[str, Callable[[Dual], Dual]] = {
    "Abs": absolute,
    "Sign": sign,
    "Relu": relu,
    "Relu6": lambda x: clip(x, lift(0.0), lift(6.0)),
    "Elu": _piecewise(ONES["Expm1"], _itself),
    "Selu": _piecewise(_times(SELU_ALPHA, ONES["Expm1"]), _times(SELU_SCALE, _itself)),
    "Softsign": lambda x: multiply(x, ONES["Reciprocal"](lift_one_plus(absolute(x)))),
    **STEPS,
}
ORDER_TWOS: Mapping[str, Callable[[Dual, Dual], Operand]] = {
    "Maximum": larger,
    "Minimum": smaller,
    "Greater": compared(lambda o: o > 0),
    "GreaterEqual": compared(lambda o: o >= 0),
    "Less": compared(lambda o: o < 0),
    "LessEqual": compared(lambda o: o <= 0),
    "Equal": compared(lambda o: o == 0),
    "NotEqual": compared(lambda o: o != 0),
    "FloorDiv": floor_quotient,
    "FloorMod": floor_remainder,
    "Mod": remainder,
    "TruncateMod": remainder,
    "ReluGrad": _where_above(0.0),
    "Relu6Grad": _relu6_grad,
    "EluGrad": _elu_grad,
    "SeluGrad": _selu_grad,
    "SoftsignGrad": _softsign_grad,
}


def leaky_relu(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the leaky ReLU."""
    return [_leaky(dual(inputs[0]), float(attribute("alpha")))]


def leaky_relu_grad(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return what the leaky ReLU's gradient gives: upstream, input."""
    dy, x = dual(inputs[0]), dual(inputs[1])
    return [select(_above(x, 0.0), dy, multiply(lift(float(attribute("alpha"))), dy))]


def arg_max(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return where the largest number is."""
    return [places(dual(inputs[0]), int(np.asarray(inputs[1])), 1)]


def arg_min(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return where the smallest number is."""
    return [places(dual(inputs[0]), int(np.asarray(inputs[1])), -1)]


def top_k(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the k largest numbers of each last row, and their places."""
    x, count = dual(inputs[0]), int(np.asarray(inputs[1]))
    chosen = sorted_places(x)[..., :count]
    return [x.map(lambda a: np.take_along_axis(a, chosen, -1)), chosen.astype(np.int32)]


def is_number(test: Callable[[Any], bool]) -> Callable[[Sequence[Operand], Attribute], list[Operand]]:
    """Return the kind of a test of single numbers."""
    return lambda inputs, attribute: [mapped(test, dual(inputs[0]).value).astype(bool)]


def cast(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return numbers in another dtype: a float stays as it is, however narrow the dtype; whole ones are cut."""
    x, wanted = inputs[0], attribute("DstT")
    if wanted.is_complex:
        raise Undecided("complex numbers")
    if wanted.is_floating:
        return [dual(x)]
    if not isinstance(x, Dual):
        return [np.asarray(x).astype(wanted.as_numpy_dtype)]
    if wanted.is_bool:
        return [compared(lambda o: o != 0)(x, lift(0.0))]
    return [mapped(lambda a: int(a.unique_fmpz()), cut(x).value).astype(wanted.as_numpy_dtype)]

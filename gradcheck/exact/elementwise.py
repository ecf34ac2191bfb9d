# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops that work element by element: values and derivatives of functions of one and of two numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flint import acb, arb

from gradcheck.exact.balls import (
    ONE,
    ZERO,
    Dual,
    Undecided,
    Unknown,
    add,
    chain,
    divide,
    joined,
    lift,
    mapped,
    multiply,
    negative,
    objects,
    scaled,
    subtract,
)

One = Callable[[Dual], Dual]
Two = Callable[[Dual, Dual], Dual]
HALF = arb(0.5)


def smooth(value: Callable[[Any], Any], derivative: Callable[[Any], Any]) -> One:
    """Return the kind of a function of one number, from its value and derivative."""
    return lambda x: chain(x, mapped(value, x.value), lambda: mapped(derivative, x.value))


def by_value(value: Callable[[Any], Any], derivative: Callable[[Any], Any]) -> One:
    """Return the kind of a function whose derivative follows from its value."""

    def kind(x: Dual) -> Dual:
        found = mapped(value, x.value)
        return chain(x, found, lambda: mapped(derivative, found))

    return kind


def sigmoid_of(x: Any) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return ONE / (ONE + (-x).exp())


def polygamma(order: int, x: Any) -> Any:
    """Return the derivative of digamma, `order` times."""
    return x.digamma() if order == 0 else acb(x).polygamma(order).real


def two_over_root_pi() -> Any:
    """Return 2 / sqrt(pi)."""
    return 2 / arb.pi().sqrt()


def _gaussian(x: Any) -> Any:
    return two_over_root_pi() * (-x * x).exp()


def _erfinv_slope(x: Any) -> Any:
    y = x.erfinv()
    return (y * y).exp() / two_over_root_pi()


def _ndtri(x: Any) -> Any:
    return arb(2).sqrt() * (2 * x - 1).erfinv()


def _ndtri_slope(x: Any) -> Any:
    y = _ndtri(x)
    return (2 * arb.pi()).sqrt() * (y * y / 2).exp()


def _scaled_bessel(order: int) -> One:
    """Return exp(-|x|) I_order(x)."""

    def value(x: Any) -> Any:
        return x.bessel_i(order) * (-abs(x)).exp()

    def slope(x: Any) -> Any:
        grows = (x.bessel_i(order - 1) + x.bessel_i(order + 1)) / 2
        return (grows - x.sgn() * x.bessel_i(order)) * (-abs(x)).exp()

    return smooth(value, slope)


def _bessel(name: str, order: int, sign: int) -> One:
    """Return J, Y, I or K of an order: the slope is (f(order-1) + sign f(order+1)) / 2, of K minus that."""

    def of(n: int) -> Callable[[Any], Any]:
        return lambda x: getattr(x, f"bessel_{name}")(n)

    outer = -1 if name == "k" else 1
    return smooth(of(order), lambda x: outer * (of(order - 1)(x) + sign * of(order + 1)(x)) / 2)


def _scaled_k(order: int) -> One:
    def value(x: Any) -> Any:
        return x.bessel_k(order) * x.exp()

    def slope(x: Any) -> Any:
        return (x.bessel_k(order) - (x.bessel_k(order - 1) + x.bessel_k(order + 1)) / 2) * x.exp()

    return smooth(value, slope)


def _fresnel(name: str) -> One:
    turn: Mapping[str, Callable[[Any], Any]] = {"c": lambda y: y.cos(), "s": lambda y: y.sin()}
    return smooth(lambda x: getattr(x, f"fresnel_{name}")(), lambda x: turn[name](arb.pi() / 2 * x * x))


def _dawson(x: Any) -> Any:
    return arb.pi().sqrt() / 2 * (-x * x).exp() * x.erfi()


def _spence(x: Any) -> Any:
    return (ONE - x).polylog(2)


ONES: Mapping[str, One] = {
    "Neg": negative,
    "Exp": by_value(lambda x: x.exp(), lambda y: y),
    "Expm1": by_value(lambda x: x.expm1(), lambda y: y + 1),
    "Log": smooth(lambda x: x.log(), lambda x: ONE / x),
    "Log1p": smooth(lambda x: x.log1p(), lambda x: ONE / (ONE + x)),
    "Sqrt": by_value(lambda x: x.sqrt(), lambda y: HALF / y),
    "Rsqrt": by_value(lambda x: x.rsqrt(), lambda y: -HALF * y * y * y),
    "Square": lambda x: chain(x, x.value * x.value, lambda: 2 * x.value),
    "Reciprocal": by_value(lambda x: ONE / x, lambda y: -y * y),
    "Inv": by_value(lambda x: ONE / x, lambda y: -y * y),
    "Sin": smooth(lambda x: x.sin(), lambda x: x.cos()),
    "Cos": smooth(lambda x: x.cos(), lambda x: -x.sin()),
    "Tan": by_value(lambda x: x.tan(), lambda y: ONE + y * y),
    "Asin": smooth(lambda x: x.asin(), lambda x: (ONE - x * x).rsqrt()),
    "Acos": smooth(lambda x: x.acos(), lambda x: -(ONE - x * x).rsqrt()),
    "Atan": smooth(lambda x: x.atan(), lambda x: ONE / (ONE + x * x)),
    "Sinh": smooth(lambda x: x.sinh(), lambda x: x.cosh()),
    "Cosh": smooth(lambda x: x.cosh(), lambda x: x.sinh()),
    "Tanh": by_value(lambda x: x.tanh(), lambda y: ONE - y * y),
    "Asinh": smooth(lambda x: x.asinh(), lambda x: (ONE + x * x).rsqrt()),
    "Acosh": smooth(lambda x: x.acosh(), lambda x: (x * x - ONE).rsqrt()),
    "Atanh": smooth(lambda x: x.atanh(), lambda x: ONE / (ONE - x * x)),
    "Sigmoid": by_value(sigmoid_of, lambda y: y * (ONE - y)),
    "Softplus": smooth(lambda x: x.exp().log1p(), sigmoid_of),
    "Erf": smooth(lambda x: x.erf(), _gaussian),
    "Erfc": smooth(lambda x: x.erfc(), lambda x: -_gaussian(x)),
    "Erfinv": smooth(lambda x: x.erfinv(), _erfinv_slope),
    "Ndtri": smooth(_ndtri, _ndtri_slope),
    "Lgamma": smooth(lambda x: abs(x.gamma()).log() if x < 0 else x.lgamma(), lambda x: x.digamma()),
    "Digamma": smooth(lambda x: x.digamma(), lambda x: polygamma(1, x)),
    "BesselJ0": smooth(lambda x: x.bessel_j(0), lambda x: -x.bessel_j(1)),
    "BesselJ1": _bessel("j", 1, -1),
    "BesselY0": smooth(lambda x: x.bessel_y(0), lambda x: -x.bessel_y(1)),
    "BesselY1": _bessel("y", 1, -1),
    "BesselI0": smooth(lambda x: x.bessel_i(0), lambda x: x.bessel_i(1)),
    "BesselI1": _bessel("i", 1, 1),
    "BesselI0e": _scaled_bessel(0),
    "BesselI1e": _scaled_bessel(1),
    "BesselK0": smooth(lambda x: x.bessel_k(0), lambda x: -x.bessel_k(1)),
    "BesselK1": _bessel("k", 1, 1),
    "BesselK0e": _scaled_k(0),
    "BesselK1e": _scaled_k(1),
    "Expint": smooth(lambda x: x.ei(), lambda x: x.exp() / x),
    "FresnelCos": _fresnel("c"),
    "FresnelSin": _fresnel("s"),
    "Dawsn": smooth(_dawson, lambda x: ONE - 2 * x * _dawson(x)),
    "Spence": smooth(_spence, lambda x: x.log() / (ONE - x)),
}


def power(x: Dual, y: Dual) -> Dual:
    """Return x ** y; a whole exponent that does not move may have any base."""
    if not moves(y):
        y = y.constant
    x, y = alike(x, y)
    whole = objects(np.frompyfunc(lambda e: not y.slopes and e.is_integer(), 1, 1)(y.value))
    value = objects(np.frompyfunc(_power_of, 3, 1)(x.value, y.value, whole))
    by_base = objects(np.frompyfunc(_power_slope, 3, 1)(x.value, y.value, whole)) if x.slopes else value
    by_exponent = value * mapped(lambda b: b.log(), x.value) if y.slopes else value
    return joined(x, y, value, lambda p: scaled(by_base, p), lambda q: scaled(by_exponent, q))


def alike(x: Dual, y: Dual) -> tuple[Dual, Dual]:
    """Return two operands in their common shape."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    return x.map(lambda a: np.broadcast_to(a, shape)), y.map(lambda a: np.broadcast_to(a, shape))


def _power_of(base: Any, exponent: Any, whole: bool) -> Any:
    if whole:
        return base ** exponent.unique_fmpz() if exponent >= 0 else ONE / base ** (-exponent).unique_fmpz()
    return ZERO if base.is_zero() and exponent > 0 else (exponent * base.log()).exp()


def _power_slope(base: Any, exponent: Any, whole: bool) -> Any:
    if exponent.is_zero():
        return ZERO
    return exponent * _power_of(base, exponent - 1, whole)


def without_nan(product: Two) -> Two:
    """Return the kind of an op that is zero wherever its second number is."""

    def kind(x: Dual, y: Dual) -> Dual:
        x, y = alike(x, y)
        zero = mapped(lambda b: b.is_zero(), y.value).astype(bool)
        if not zero.any():
            return product(x, y)
        if any(not s.is_zero() for slope in y.slopes for s in slope[zero]):
            raise Undecided("a number that moves through zero")
        safe = Dual(objects(np.where(zero, ONE, y.value)), y.slopes)
        return product(x, safe).map(lambda a: np.where(zero, ZERO, a))

    return kind


def where_zero(product: Two) -> Two:
    """Return the kind of an op that is zero wherever its first number is, with the slope it has there."""

    def kind(x: Dual, y: Dual) -> Dual:
        x, y = alike(x, y)
        zero = mapped(lambda a: a.is_zero(), x.value).astype(bool)
        found = product(x, Dual(objects(np.where(zero, ONE, y.value)), y.slopes) if zero.any() else y)
        if not zero.any():
            return found
        if x.slopes and any(not s.is_zero() for slope in x.slopes for s in slope[zero]):
            raise Unknown("the slope of x log y at x = 0")
        return found.map(lambda a: np.where(zero, ZERO, a))

    return kind


def angle(y: Dual, x: Dual) -> Dual:
    """Return atan2(y, x)."""
    y, x = alike(y, x)
    square = y.value * y.value + x.value * x.value
    value = np.frompyfunc(arb.atan2, 2, 1)(y.value, x.value)
    return joined(y, x, value, lambda p: scaled(x.value / square, p), lambda q: scaled(-y.value / square, q))


def _xlog(x: Dual, y: Dual) -> Dual:
    return multiply(x, ONES["Log"](y))


def _xlog1p(x: Dual, y: Dual) -> Dual:
    return multiply(x, ONES["Log1p"](y))


def _difference_squared(x: Dual, y: Dual) -> Dual:
    return ONES["Square"](subtract(x, y))


def _polygamma(order: Dual, x: Dual) -> Dual:
    order, x = alike(order, x)
    numbers = objects(np.frompyfunc(lambda n: int(n.unique_fmpz()), 1, 1)(order.value))
    value = objects(np.frompyfunc(polygamma, 2, 1)(numbers, x.value))
    return chain(x, value, lambda: objects(np.frompyfunc(polygamma, 2, 1)(numbers + 1, x.value)))


def _zeta(x: Dual, q: Dual) -> Dual:
    if moves(x):
        raise Unknown("the slope of zeta(x, q) along x")
    x, q = alike(x.constant, q)
    hurwitz = np.frompyfunc(lambda s, a: acb(s).zeta(acb(a)).real, 2, 1)
    return chain(q, objects(hurwitz(x.value, q.value)), lambda: -x.value * hurwitz(x.value + ONE, q.value))


def _igamma(upper: bool) -> Two:
    def kind(a: Dual, x: Dual) -> Dual:
        if moves(a):
            raise Unknown("the slope of igamma(a, x) along a")
        a, x = alike(a.constant, x)
        name = "gamma_upper" if upper else "gamma_lower"
        value = np.frompyfunc(lambda s, z: getattr(z, name)(s, regularized=1), 2, 1)(a.value, x.value)
        density = np.frompyfunc(lambda s, z: ((s - 1) * z.log() - z - s.lgamma()).exp(), 2, 1)
        sign = -1 if upper else 1
        return chain(x, objects(value), lambda: sign * density(a.value, x.value))

    return kind


def moves(x: Dual) -> bool:
    """Return whether an operand has a slope other than zero."""
    return any(not s.is_zero() for slope in x.slopes for s in slope.ravel())


def _grad(local: Callable[[Dual], Dual], of_input: bool = False) -> Two:
    """Return the kind of a gradient op: (value, upstream), or (upstream, input), times the local derivative."""
    return (lambda dy, x: multiply(dy, local(x))) if of_input else (lambda y, dy: multiply(dy, local(y)))


def _one_minus(x: Dual) -> Dual:
    return subtract(lift(1.0), x)


TWOS: Mapping[str, Two] = {
    "Add": add,
    "AddV2": add,
    "Sub": subtract,
    "Mul": multiply,
    "RealDiv": divide,
    "Div": divide,
    "DivNoNan": without_nan(divide),
    "MulNoNan": without_nan(multiply),
    "Pow": power,
    "SquaredDifference": _difference_squared,
    "Atan2": angle,
    "Xlogy": where_zero(_xlog),
    "Xlog1py": where_zero(_xlog1p),
    "Xdivy": where_zero(divide),
    "Polygamma": _polygamma,
    "Zeta": _zeta,
    "Igamma": _igamma(False),
    "Igammac": _igamma(True),
    "SigmoidGrad": _grad(lambda y: multiply(y, _one_minus(y))),
    "TanhGrad": _grad(lambda y: _one_minus(ONES["Square"](y))),
    "SqrtGrad": _grad(lambda y: divide(lift(0.5), y)),
    "RsqrtGrad": _grad(lambda y: multiply(lift(-0.5), multiply(y, ONES["Square"](y)))),
    "ReciprocalGrad": _grad(lambda y: negative(ONES["Square"](y))),
    "InvGrad": _grad(lambda y: negative(ONES["Square"](y))),
    "SoftplusGrad": _grad(ONES["Sigmoid"], of_input=True),
}

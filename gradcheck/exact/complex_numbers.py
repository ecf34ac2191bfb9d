# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops on complex numbers, by their name: as for real ones, where these are differentiable, and the parts.

A slope is that along a direction, so that conjugates and parts, which have no complex derivative, are linear here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from flint import acb

from gradcheck.exact import matrices, reductions
from gradcheck.exact.balls import (
    ONE,
    ZERO,
    Balls,
    Dual,
    Operand,
    Unknown,
    add,
    dual,
    full,
    joined,
    mapped,
    multiply,
    objects,
    scaled,
    subtract,
)
from gradcheck.exact.elementwise import ONES, TWOS, alike, angle, moves
from gradcheck.exact.orders import Attribute, select
from gradcheck.exact.reductions import Kind


def parts(z: Dual) -> tuple[Dual, Dual]:
    """Return the real and the imaginary part."""
    return z.map(_real), z.map(_imaginary)


def conjugate(z: Dual) -> Dual:
    """Return the conjugate."""
    return z.map(lambda a: mapped(lambda x: acb(x).conjugate(), a))


def composed(real: Dual, imaginary: Dual) -> Dual:
    """Return the number with these parts."""
    turned = imaginary.map(lambda a: mapped(lambda x: acb(0, x), a))
    return add(real.map(lambda a: mapped(acb, a)), turned)


def _real(a: Balls) -> Balls:
    return mapped(lambda x: acb(x).real, a)


def _imaginary(a: Balls) -> Balls:
    return mapped(lambda x: acb(x).imag, a)


def _size(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return |z|, whose slope at zero is not known."""
    real, imaginary = parts(dual(inputs[0]))
    square = add(multiply(real, real), multiply(imaginary, imaginary))
    if any(x.is_zero() for x in square.value.ravel()):
        raise Unknown("the size of a complex number that is zero")
    return [ONES["Sqrt"](square)]


def _angle(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    real, imaginary = parts(dual(inputs[0]))
    return [angle(imaginary, real)]


def _cast(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return numbers in another dtype: of a complex number its real part where that is a real one."""
    x = dual(inputs[0])
    if attribute("DstT").is_complex:
        return [x.map(lambda a: mapped(acb, a))]
    if not attribute("DstT").is_floating:
        raise Unknown("a complex number as a whole one")
    return [x.map(_real)]


def _difference_squared(x: Dual, y: Dual) -> Dual:
    gap = subtract(x, y)
    return multiply(gap, conjugate(gap))


def _power(x: Dual, y: Dual) -> Dual:
    """Return x ** y."""
    x, y = alike(x, y)
    power = np.frompyfunc(lambda base, exponent: acb(base) ** acb(exponent), 2, 1)
    value = objects(power(x.value, y.value))
    by_base = y.value * objects(power(x.value, y.value - ONE))
    by_exponent = value * mapped(lambda b: acb(b).log(), x.value) if moves(y) else full(value.shape)
    return joined(x, y, value, lambda p: scaled(by_base, p), lambda q: scaled(by_exponent, q))


def _product(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the products of many matrices, each adjoint where the op says so."""
    a, b = dual(inputs[0]), dual(inputs[1])
    sides = [matrices.transposed(conjugate(x)) if attribute(name) else x for x, name in ((a, "adj_x"), (b, "adj_y"))]
    return [matrices.product(*sides)]


def _fourier(axes: int, inverse: bool) -> Kind:
    """Return the kind of the discrete Fourier transform along some last axes."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x = dual(inputs[0])
        for axis in range(-axes, 0):
            x = _transformed(x, axis, inverse)
        return [x]

    return kind


def _transformed(x: Dual, axis: int, inverse: bool) -> Dual:
    """Return the transform along one axis: flint's own for each row (Bluestein's where the size asks for it)."""

    def moved(a: Balls) -> Balls:
        rows = np.moveaxis(a, axis, -1)
        found = np.empty(rows.shape, object)
        for index in np.ndindex(*rows.shape[:-1]):
            found[index] = acb.dft([acb(z) for z in rows[index]], inverse=inverse) if rows.shape[-1] else rows[index]
        return np.moveaxis(found, -1, axis)

    return x.map(moved)


def _resized(x: Dual, axis: int, size: int) -> Dual:
    """Return an axis cut to a size, or filled with zeros."""

    def moved(a: Balls) -> Balls:
        turned = np.moveaxis(a, axis, -1)[..., :size]
        missing = full((*turned.shape[:-1], size - turned.shape[-1]))
        return np.moveaxis(np.concatenate([turned, missing], -1), -1, axis)

    return x.map(moved)


def _real_fourier(axes: int) -> Kind:
    """Return the kind of the transform of real numbers, of which half is kept."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x, sizes = dual(inputs[0]), [int(n) for n in np.asarray(inputs[1])]
        for axis, size in zip(range(-axes, 0), sizes, strict=True):
            x = _transformed(_resized(x, axis, size), axis, inverse=False)
        return [x.map(lambda a: a[..., : sizes[-1] // 2 + 1])]

    return kind


def _inverse_real_fourier(axes: int) -> Kind:
    """Return the kind of the inverse of that, which takes the other half as the conjugate of the first."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x, sizes = dual(inputs[0]), [int(n) for n in np.asarray(inputs[1])]
        for axis, size in zip(range(-axes, -1), sizes, strict=False):
            x = _transformed(_resized(x, axis, size), axis, inverse=True)
        half = _resized(x, -1, sizes[-1] // 2 + 1)
        return [_transformed(_with_other_half(half, sizes[-1]), -1, inverse=True).map(_real)]

    return kind


def _with_other_half(half: Dual, size: int) -> Dual:
    """Return all numbers of a transform of real ones; those that are their own conjugate lose their imaginary part."""

    def moved(a: Balls) -> Balls:
        own = a.copy()
        for k in {0, size // 2} if size % 2 == 0 else {0}:
            own[..., k] = _real(own[..., k])
        other = mapped(lambda z: acb(z).conjugate(), own[..., 1 : (size + 1) // 2][..., ::-1])
        return np.concatenate([own, other], -1)[..., :size]

    return half.map(moved)


def _of_one(function: Callable[[Dual], Operand]) -> Kind:
    return lambda inputs, attribute: [function(dual(inputs[0]))]


def _of_two(function: Callable[[Dual, Dual], Operand]) -> Kind:
    return lambda inputs, attribute: [function(dual(inputs[0]), dual(inputs[1]))]


# Functions that have a complex derivative, and whose formula holds for complex numbers as it stands.
_SMOOTH = ("Neg", "Exp", "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Inv", "Sin", "Cos", "Tan",
           "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh", "Sigmoid")  # fmt: skip
_SMOOTH_OF_TWO = ("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "SigmoidGrad", "TanhGrad", "SqrtGrad", "RsqrtGrad",
                  "ReciprocalGrad", "InvGrad")  # fmt: skip

COMPLEX_KINDS: Mapping[str, Kind] = {
    **{name: _of_one(ONES[name]) for name in _SMOOTH},
    **{name: _of_two(TWOS[name]) for name in _SMOOTH_OF_TWO},
    "Pow": _of_two(_power),
    "SquaredDifference": _of_two(_difference_squared),
    "Conj": _of_one(conjugate),
    "Real": _of_one(lambda z: z.map(_real)),
    "Imag": _of_one(lambda z: z.map(_imaginary)),
    "Complex": _of_two(composed),
    "ComplexAbs": _size,
    "Angle": _angle,
    "Cast": _cast,
    **dict.fromkeys(
        ("Select", "SelectV2"), lambda inputs, attribute: [select(inputs[0], dual(inputs[1]), dual(inputs[2]))]
    ),
    "Sum": reductions.sums,
    "Mean": reductions.means,
    "Prod": reductions.products,
    "Cumsum": reductions.cumulative(add, ZERO),
    "AddN": reductions.add_n,
    "ZerosLike": reductions.zeros_like,
    "OnesLike": reductions.ones_like,
    "Fill": reductions.filled,
    "MatMul": matrices.mat_mul,
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _product),
    "Einsum": matrices.einsum,
    **{name: _fourier(axes, inverse=False) for axes, name in enumerate(("FFT", "FFT2D", "FFT3D"), 1)},
    **{name: _fourier(axes, inverse=True) for axes, name in enumerate(("IFFT", "IFFT2D", "IFFT3D"), 1)},
    **{name: _real_fourier(axes) for axes, name in enumerate(("RFFT", "RFFT2D", "RFFT3D"), 1)},
    **{name: _inverse_real_fourier(axes) for axes, name in enumerate(("IRFFT", "IRFFT2D", "IRFFT3D"), 1)},
}

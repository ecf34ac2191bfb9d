# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops of linear algebra: products, solutions, inverses, determinants and factors of each last matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flint import arb_mat

from gradcheck.exact.balls import ONE, ZERO, Balls, Dual, Operand, Unknown, dual, full, joined, mapped, objects
from gradcheck.exact.orders import Attribute


def product(a: Dual, b: Dual) -> Dual:
    """Return the matrix product of the last two axes."""
    return joined(
        a, b, np.matmul(a.value, b.value), lambda p: np.matmul(p, b.value), lambda q: np.matmul(a.value, q)
    )  # fmt: skip


def transposed(a: Dual) -> Dual:
    """Return the last two axes exchanged."""
    return a.map(lambda array: np.swapaxes(array, -1, -2))


def mat_mul(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the product of two matrices, each transposed where the op says so."""
    a, b = dual(inputs[0]), dual(inputs[1])
    return [product(transposed(a) if attribute("transpose_a") else a, transposed(b) if attribute("transpose_b") else b)]


def batch_mat_mul(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the products of many matrices."""
    a, b = dual(inputs[0]), dual(inputs[1])
    return [product(transposed(a) if attribute("adj_x") else a, transposed(b) if attribute("adj_y") else b)]


def sparse_mat_mul(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the product of a sparse matrix, given by places, numbers and shape, and a dense one."""
    places, shape = np.asarray(inputs[0]), tuple(int(n) for n in np.asarray(inputs[2]))

    def spread(numbers: Balls) -> Balls:
        found = full(shape)
        for place, number in zip(places, numbers, strict=True):
            found[tuple(place)] += number
        return found

    a, b = dual(inputs[1]).map(spread), dual(inputs[3])
    return [product(transposed(a) if attribute("adjoint_a") else a, transposed(b) if attribute("adjoint_b") else b)]


def einsum(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return what an equation of Einstein's says of one or two operands."""
    text = attribute("equation")
    equation = text.decode() if isinstance(text, bytes) else str(text)
    operands = [dual(x) for x in inputs]
    if len(operands) == 1:
        return [operands[0].map(lambda a: np.einsum(equation, a))]
    if len(operands) != 2:
        raise Unknown("Einsum of more than two operands")
    a, b = operands
    value = np.einsum(equation, a.value, b.value)
    return [joined(a, b, value, lambda p: np.einsum(equation, p, b.value), lambda q: np.einsum(equation, a.value, q))]


def _each(function: Callable[..., Any], shape: Sequence[int], *arrays: Balls) -> Balls:
    """Return a function of matrices, applied to each of many; `shape` is that of one result."""
    batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    spread = [np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in arrays]
    found = np.empty((*batch, *shape), object)
    for index in np.ndindex(*batch):
        found[index] = function(*(a[index] for a in spread))
    return found


def _matrix(a: Balls) -> Any:
    return arb_mat(a.shape[0], a.shape[1], a.ravel().tolist())


def _array(matrix: Any) -> Balls:
    return objects(np.array(matrix.tolist(), object).reshape(matrix.nrows(), matrix.ncols()))


def _inverse(a: Balls) -> Balls:
    return _each(lambda m: _array(_matrix(m).inv()), a.shape[-2:], a)


def _solution(a: Balls, b: Balls) -> Balls:
    return _each(lambda m, r: _array(_matrix(m).solve(_matrix(r))), b.shape[-2:], a, b)


def _with_singular(function: Callable[[], Dual]) -> list[Operand]:
    try:
        return [function()]
    except ZeroDivisionError as error:
        raise Unknown("a matrix that may be singular") from error


def inverse(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return inverses: the slope of inv(A) is -inv(A) dA inv(A)."""
    a = dual(inputs[0])

    def found() -> Dual:
        value = _inverse(a.value)
        result = Dual(value, tuple(-np.matmul(value, np.matmul(s, value)) for s in a.slopes))
        return transposed(result) if attribute("adjoint") else result

    return _with_singular(found)


def _solved(a: Dual, b: Dual) -> Dual:
    """Return inv(A) B, with the slope inv(A) (dB - dA X)."""
    value = _solution(a.value, b.value)
    return joined(
        a, b, value,
        lambda p: -_solution(a.value, objects(np.matmul(p, value))),
        lambda q: _solution(a.value, q),
    )  # fmt: skip


def solve(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the solutions of linear systems."""
    a, b = dual(inputs[0]), dual(inputs[1])
    return _with_singular(lambda: _solved(transposed(a) if attribute("adjoint") else a, b))


def triangular_solve(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the solutions of triangular systems; the other triangle is not read."""
    a, b = dual(inputs[0]), dual(inputs[1])
    half = _lower if attribute("lower") else _upper
    a = a.map(half)
    return _with_singular(lambda: _solved(transposed(a) if attribute("adjoint") else a, b))


def _triangle(a: Balls, below: int = 0) -> Any:
    """Return where the lower triangle of the last two axes is, from so far below the diagonal on."""
    rows, columns = np.indices(a.shape[-2:])
    return rows - columns >= below


def _mask(a: Balls, kept: Any) -> Balls:
    return objects(np.where(kept, a, full(())))


def _lower(a: Balls) -> Balls:
    return _mask(a, _triangle(a))


def _upper(a: Balls) -> Balls:
    return _mask(a, ~_triangle(a, below=1))


def cholesky(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return lower factors; the slope is L half(inv(L) dA inv(L)^T), of the symmetric matrix that is read."""
    a = dual(inputs[0]).map(symmetric)

    def found() -> Dual:
        value = _each(_factor, a.shape[-2:], a.value)
        if not a.slopes:
            return Dual(value)
        inverted = _inverse(value)
        flipped = np.swapaxes(inverted, -1, -2)

        def slope(moved: Balls) -> Balls:
            inner = np.matmul(inverted, np.matmul(moved, flipped))
            diagonal = np.eye(inner.shape[-1], dtype=bool)
            return objects(np.matmul(value, _lower(np.where(diagonal, inner / 2, inner))))

        return Dual(value, tuple(slope(s) for s in a.slopes))

    return _with_singular(found)


def symmetric(a: Balls) -> Balls:
    """Return the matrix of which the lower triangle is read."""
    return objects(np.where(_triangle(a), a, np.swapaxes(a, -1, -2)))


def _factor(a: Balls) -> Balls:
    n = a.shape[0]
    found = full((n, n))
    for j in range(n):
        row = found[j, :j]
        found[j, j] = (a[j, j] - np.add.reduce(row * row, initial=ZERO)).sqrt()
        for i in range(j + 1, n):
            found[i, j] = (a[i, j] - np.add.reduce(found[i, :j] * row, initial=ZERO)) / found[j, j]
    return found


def _determinants(a: Balls) -> Balls:
    batch = a.shape[:-2]
    found = np.empty(batch, object)
    for index in np.ndindex(*batch):
        found[index] = _matrix(a[index]).det()
    return found


def _log_slope(a: Balls, slope: Balls) -> Balls:
    """Return the trace of inv(A) dA, the slope of log |det A|."""
    return objects(np.add.reduce(np.diagonal(_solution(a, slope), axis1=-2, axis2=-1), axis=-1))


def determinant(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return determinants."""
    a = dual(inputs[0])
    value = _determinants(a.value)
    return _with_singular(lambda: Dual(value, tuple(value * _log_slope(a.value, s) for s in a.slopes)))


def log_determinant(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return signs of determinants and logarithms of their sizes."""
    a = dual(inputs[0])
    value = _determinants(a.value)
    signs = Dual(mapped(lambda d: ONE if d > 0 else -ONE, value))
    logs = mapped(lambda d: abs(d).log(), value)
    return [signs, *_with_singular(lambda: Dual(logs, tuple(_log_slope(a.value, s) for s in a.slopes)))]

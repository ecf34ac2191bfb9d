# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops that take matrices apart: eigenvectors, singular vectors, and orthogonal times triangular.

Their vectors are known up to a sign; `like` are the numbers of TensorFlow, which say which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flint import acb_mat, arb_mat

from gradcheck.exact.balls import (
    ONE,
    ZERO,
    Balls,
    Dual,
    Operand,
    Undecided,
    Unknown,
    divide,
    dual,
    full,
    multiply,
    objects,
    subtract,
)
from gradcheck.exact.elementwise import ONES
from gradcheck.exact.matrices import product, symmetric, transposed
from gradcheck.exact.orders import Attribute
from gradcheck.exact.reductions import stack

# An op on inputs, with its attributes and the numbers that TensorFlow gives for it.
Signed = Callable[[Sequence[Operand], Attribute, Sequence[Any]], list[Operand]]


def _eigen(a: Balls) -> tuple[Balls, Balls]:
    """Return the eigenvalues of a symmetric matrix, ascending, and its eigenvectors as columns of length one."""
    n = a.shape[0]
    try:
        found, vectors = acb_mat(arb_mat(n, n, a.ravel().tolist())).eig(right=True)
    except ValueError as error:
        raise Undecided("two eigenvalues that may be the same") from error
    values = objects(np.array([value.real for value in found], object))
    order = np.argsort([float(value.mid()) for value in values])
    columns = full((n, n))
    for place, k in enumerate(order):
        column = np.array([vectors[i, int(k)].real for i in range(n)], object)
        columns[:, place] = column / np.add.reduce(column * column, initial=ZERO).sqrt()
    return values[order], columns


def eigen(a: Dual) -> tuple[Dual, Dual]:
    """Return eigenvalues and eigenvectors of one symmetric matrix.

    Along dA the value of a vector v moves by v'dA v, the vector by the other vectors w times w'dA v over the gap.
    """
    values, vectors = _eigen(a.value)
    turned = [np.matmul(vectors.T, np.matmul(slope, vectors)) for slope in a.slopes]
    diagonal = np.eye(values.size, dtype=bool)
    gaps = objects(np.where(diagonal, ONE, values[None, :] - values[:, None]))
    moved = [np.matmul(vectors, np.where(diagonal, ZERO, inner / gaps)) for inner in turned]
    of_values = tuple(objects(np.diagonal(inner).copy()) for inner in turned)
    return Dual(values, of_values), Dual(vectors, tuple(objects(m) for m in moved))


def _signs(vectors: Dual, like: Any) -> Dual:
    """Return the sign of each column with which it is the one that is meant."""
    own = np.array([[float(x) for x in row] for row in vectors.value]).reshape(vectors.shape)
    return Dual(objects(np.where(np.sum(own * np.asarray(like), 0) < 0, -ONE, ONE)))


def _each_matrix(function: Callable[..., list[Dual]], x: Dual, like: Sequence[Any]) -> list[Operand]:
    """Return what a function makes of each of many matrices and of the numbers that belong to it."""
    batch = x.shape[:-2]
    found = [
        function(x.map(lambda a, at=at: a[at]), *(np.asarray(numbers)[at] for numbers in like))  # type: ignore[misc]
        for at in np.ndindex(*batch)
    ]
    if not batch:
        return list(found[0])
    return [stack(list(parts), 0).map(lambda a: a.reshape(*batch, *a.shape[1:])) for parts in zip(*found, strict=True)]


def self_adjoint(inputs: Sequence[Operand], attribute: Attribute, like: Sequence[Any]) -> list[Operand]:
    """Return eigenvalues and eigenvectors; the lower triangle is read."""

    def one(a: Dual, vectors: Any = None) -> list[Dual]:
        values, own = eigen(a)
        return [values, own if vectors is None else multiply(own, _signs(own, vectors))]

    return _each_matrix(one, dual(inputs[0]).map(symmetric), like[1:] if attribute("compute_v") else ())


def singular(inputs: Sequence[Operand], attribute: Attribute, like: Sequence[Any]) -> list[Operand]:
    """Return singular values, left and right vectors: of a tall matrix those of its square A'A, else of A A'."""
    a = dual(inputs[0])
    if attribute("full_matrices") and a.shape[-1] != a.shape[-2]:
        raise Unknown("all singular vectors of a matrix that is not square")

    def one(x: Dual, left: Any = None, right: Any = None) -> list[Dual]:
        tall = x.shape[0] >= x.shape[1]
        x = x if tall else transposed(x)
        squares, vectors = eigen(product(transposed(x), x))
        squares, vectors = (part.map(lambda b: b[..., ::-1]) for part in (squares, vectors))
        sizes = ONES["Sqrt"](squares)
        if left is not None:
            vectors = multiply(vectors, _signs(vectors, right if tall else left))
        others = divide(product(x, vectors), sizes)
        return [sizes, others, vectors] if tall else [sizes, vectors, others]

    return _each_matrix(one, a, like[1:] if attribute("compute_uv") else ())


def orthogonal(inputs: Sequence[Operand], attribute: Attribute, like: Sequence[Any]) -> list[Operand]:
    """Return orthogonal columns and the triangle that makes the matrix of them, by the rule of Gram and Schmidt."""
    a = dual(inputs[0])
    if a.shape[-2] < a.shape[-1] or (attribute("full_matrices") and a.shape[-1] != a.shape[-2]):
        raise Unknown("the factors of a matrix that is wide, or all columns of one that is tall")

    def one(x: Dual, triangle: Any) -> list[Dual]:
        found: list[Dual] = []
        for k in range(x.shape[1]):
            left = x.map(lambda b, k=k: b[:, k])  # type: ignore[misc]
            for before in found:
                left = subtract(left, multiply(before, _inner(before, left)))
            size = ONES["Sqrt"](_inner(left, left))
            found.append(divide(left, size if np.asarray(triangle)[k, k] >= 0 else size.map(lambda b: -b)))
        q = stack(found, 1)
        return [q, product(transposed(q), x).map(_upper)]

    return _each_matrix(one, a, like[1:])


def _inner(a: Dual, b: Dual) -> Dual:
    return multiply(a, b).map(lambda x: objects(np.add.reduce(x, initial=ZERO)))


def _upper(a: Balls) -> Balls:
    rows, columns = np.indices(a.shape)
    return objects(np.where(rows <= columns, a, full(())))


SIGNED: Mapping[str, Signed] = {"SelfAdjointEigV2": self_adjoint, "Svd": singular, "Qr": orthogonal}

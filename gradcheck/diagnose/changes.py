# SPDX-License-Identifier: Apache-2.0
"""What a rule of one op would give if it were changed as people change it by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import BLOCKS

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.dissection import Edge

# Ops that pass some elements on and others not: to take them for the identity is to forget their mask.
MASKING = frozenset(
    {"Relu", "Relu6", "Select", "SelectV2", "Maximum", "Minimum", "ClipByValue", "Abs", "MatrixBandPart"}
)
# Ops that are linear with a factor of one or minus one: to ignore them is to have the sign wrong.
_SIGNS = frozenset({"Sub", "Neg"})
_MATRIX_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"})
_FACTORS = frozenset({"Mul"}) | _MATRIX_PRODUCTS


@dataclass(frozen=True, slots=True)
class Change:
    """Name a change of one rule: its cause, what is said of it (`{op}` is the op), and what to do."""

    cause: str
    words: str
    hint: str


STOPPED = Change(
    "stopped", "nothing comes through {at}{op}", "add the part of the gradient that comes through {at}{op}"
)
BYPASSED = Change("bypassed", "it ignores the derivative of {op}", "multiply by the derivative of {op} (chain rule)")
WITHOUT_FACTOR = Change(
    "bypassed", "{at}{op} is differentiated without its other factor", "multiply by the other factor of {op}"
)
WITHOUT_SIZE = Change(
    "bypassed", "of the other factor of {op} only the sign is there", "multiply by the other factor of {op}"
)
IGNORED_LINE = Change(
    "bypassed", "it ignores the derivative of the line of {op}", "multiply by the derivative of the line of {op}"
)
UNMASKED = Change("mask", "it ignores {op}", "let the gradient through only where {op} passes its input on")
INVERTED = Change("mask", "the mask of {op} is inverted", "let the gradient through where {op} passes its input on")
NEGATED = Change(
    "sign-flip", "what comes through {op} has the wrong sign", "change the sign of what comes through {op}"
)
TRANSPOSED = Change(
    "transposed", "{op} is differentiated with the wrong factor transposed", "transpose the other factor of {op}"
)
NOT_TRANSPOSED = Change(
    "transposed",
    "{op} is differentiated with its Jacobian in the place of the transposed Jacobian",
    "apply {op} backwards: reversed, turned back, with the other factor transposed",
)
UNSUMMED = Change(
    "missing-term", "{op} lacks the term that sums over its axis", "subtract the sum that {op} mixes into every element"
)


def changes_of(edge: Edge) -> Iterator[tuple[Change, Callable[[Edge], Array | None]]]:
    """Yield the changes that may be made to a rule, simple ones first, each with the part it would give."""
    yield STOPPED, lambda e: np.zeros_like(e.part)
    if edge.op not in _SIGNS:
        yield ignored(edge.op), _bypassed
    yield NEGATED, lambda e: -e.part
    if edge.op in _FACTORS:
        yield WITHOUT_SIZE, lambda e: None if (found := _bypassed(e)) is None else -found
    if edge.op in MASKING:
        yield INVERTED, lambda e: e.upstream - e.part if e.upstream.shape == e.part.shape else None
    if edge.op in _MATRIX_PRODUCTS:
        for number in range(len(_PRODUCTS)):
            found = _product(edge, number)
            if found is not None and not np.allclose(found, edge.part):
                yield TRANSPOSED, lambda e, number=number: _product(e, number)  # type: ignore[misc]
    if edge.op == "Softmax":
        yield UNSUMMED, lambda e: e.upstream * e.output
        yield UNSUMMED, lambda e: e.upstream * e.output * (1 - e.output)
    if edge.op == "LogSoftmax":
        yield UNSUMMED, lambda e: e.upstream
        yield UNSUMMED, lambda e: e.upstream * (1 - np.exp(e.output))
    if edge.part.ndim >= 2 and edge.part.shape[-1] == edge.part.shape[-2]:
        yield TRANSPOSED, lambda e: np.swapaxes(e.part, -1, -2)
    if edge.applied is not None and not np.array_equal(edge.applied, edge.part):
        yield NOT_TRANSPOSED, lambda e: e.applied
    yield from _operands(edge)
    yield from _places(edge)
    yield from _exchanged(edge)
    yield from _reshaped(edge)


def ignored(op: str) -> Change:
    """Return the change that takes an op for the identity."""
    if op in MASKING:
        return UNMASKED
    return WITHOUT_FACTOR if op in _FACTORS else BYPASSED


def delta_of(edge: Edge, part: Array | None) -> Array | None:
    """Return by how much the gradient of the sources changes with another part, None if it is no part of the edge."""
    if part is None or part.shape != edge.part.shape or not np.isfinite(part).all():
        return None
    with np.errstate(all="ignore"):
        return np.asarray(edge.spread @ (part - edge.part).ravel())


def _bypassed(e: Edge) -> Array | None:
    """Return the upstream in the place of what the rule makes of it: reshaped, or summed over what was broadcast."""
    if e.upstream.size == e.part.size:
        return e.upstream.reshape(e.part.shape)
    if e.upstream.size > e.part.size:
        return summed_to(e.upstream, e.part.shape)
    try:
        whole: Array = np.zeros(e.part.shape) + e.upstream
        return whole
    except ValueError:
        return None


def summed_to(array: Array, shape: tuple[int, ...]) -> Array | None:
    """Return an array summed over the axes along which `shape` was broadcast, None if it does not come of that."""
    padded = (1,) * (array.ndim - len(shape)) + shape
    if array.ndim != len(padded) or any(n not in (1, m) for n, m in zip(padded, array.shape, strict=True)):
        return None
    axes = tuple(i for i, (n, m) in enumerate(zip(padded, array.shape, strict=True)) if n != m)
    summed: Array = np.sum(array, axes, keepdims=True)
    return summed.reshape(shape)


_PRODUCTS: tuple[Callable[[Array, Array], Array], ...] = (
    lambda u, w: u @ w,
    lambda u, w: u @ np.swapaxes(w, -1, -2),
    lambda u, w: w @ u,
    lambda u, w: np.swapaxes(w, -1, -2) @ u,
    lambda u, w: np.swapaxes(u, -1, -2) @ w,
    lambda u, w: np.swapaxes(w @ np.swapaxes(u, -1, -2), -1, -2),
)


def _product(e: Edge, number: int) -> Array | None:
    if not e.others or min(e.upstream.ndim, e.others[0].ndim) < 2:
        return None
    try:
        found: Array = _PRODUCTS[number](e.upstream, e.others[0])
    except ValueError:
        return None
    return found if found.shape == e.part.shape else None


def product_of(e: Edge) -> Callable[[Array, Array], Array] | None:
    """Return the matrix product of upstream and other factor that the rule of an edge is, None if it is none."""
    if e.op not in _MATRIX_PRODUCTS:
        return None
    for number, product in enumerate(_PRODUCTS):
        found = _product(e, number)
        if found is not None and np.allclose(found, e.part):
            return product
    return None


def _known(e: Edge) -> Mapping[str, Array]:
    """Return the values that a wrong rule may have multiplied with, by what they are called."""
    known = {"its input": e.value, "its output": e.output}
    if len(e.others) == 1:
        known["its other operand"] = e.others[0]
    return known


def _operands(edge: Edge) -> Iterator[tuple[Change, Callable[[Edge], Array | None]]]:
    """Yield rules with another factor: an operand too many or too few, the value in the place of the derivative."""
    for name in _known(edge):
        yield (
            Change("operand", f"the rule of {{op}} has the factor {name} too much", f"leave {name} out at {{op}}"),
            lambda e, name=name: _same_shape(e, e.part, _known(e)[name], np.multiply),  # type: ignore[misc]
        )
        yield (
            Change("operand", f"the rule of {{op}} lacks the factor {name}", f"multiply by {name} at {{op}}"),
            lambda e, name=name: _same_shape(e, e.part, _known(e)[name], np.divide),  # type: ignore[misc]
        )
        yield (
            Change(
                "operand",
                f"{{op}} is differentiated as if its derivative were {name}",
                "correct the derivative of {op}",
            ),
            lambda e, name=name: _same_shape(e, e.upstream, _known(e)[name], np.multiply),  # type: ignore[misc]
        )
    yield (
        Change(
            "operand",
            "{op} is differentiated as if its derivative were 1 - its output",
            "correct the derivative of {op}",
        ),
        lambda e: _same_shape(e, e.upstream, 1 - e.output, np.multiply),
    )


def _same_shape(e: Edge, a: Array, b: Array, how: Callable[[Array, Array], Array]) -> Array | None:
    if a.shape != e.part.shape or b.shape != e.part.shape:
        return None
    if how is np.divide and not np.all(b):
        return None
    return how(a, b)


def _places(edge: Edge) -> Iterator[tuple[Change, Callable[[Edge], Array | None]]]:
    """Yield parts that are at other places: averaged or summed along an axis, reversed, shifted by one."""
    for axis, size in enumerate(edge.part.shape):
        if size < 2:
            continue
        where = f"along axis {axis}"
        moved: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
            ("axis", "averaged", lambda p, axis=axis: np.broadcast_to(p.mean(axis, keepdims=True), p.shape)),  # type: ignore[misc]
            ("axis", "summed", lambda p, axis=axis: np.broadcast_to(p.sum(axis, keepdims=True), p.shape)),  # type: ignore[misc]
            ("index", "reversed", lambda p, axis=axis: np.flip(p, axis)),  # type: ignore[misc]
            ("index", "shifted by one", lambda p, axis=axis: np.roll(p, 1, axis)),  # type: ignore[misc]
            ("index", "shifted by one", lambda p, axis=axis: np.roll(p, -1, axis)),  # type: ignore[misc]
        )
        for cause, how, change in moved:
            yield (
                Change(cause, f"what comes through {{op}} is {how} {where}", f"leave out that it is {how} {where}"),
                lambda e, change=change: change(e.part),  # type: ignore[misc]
            )


def _exchanged(edge: Edge) -> Iterator[tuple[Change, Callable[[Edge], Array | None]]]:
    """Yield parts in which two blocks of an axis are exchanged, as after tf.split and tf.concat in another order."""
    rule = product_of(edge)
    given = edge.part if rule is None else edge.upstream
    for axis, size in enumerate(given.shape):
        for blocks in (count for count in BLOCKS if size % count == 0 and size >= count):
            for i, j in combinations(range(blocks), 2):
                words = f"blocks {i} and {j} of {blocks} along axis {axis} of what comes through {{op}} are exchanged"
                hint = f"put the blocks along axis {axis} back in the order in which the forward takes them at {{op}}"
                order = [*range(blocks)]
                order[i], order[j] = j, i
                yield Change("index", words, hint), _in_order(rule, axis, order)


def _reshaped(edge: Edge) -> Iterator[tuple[Change, Callable[[Edge], Array | None]]]:
    """Yield what a reshape gives with two axes taken in another order, before it or after: heads, groups, pixels."""
    if edge.op != "Reshape" or edge.upstream.size != edge.part.size:
        return
    change = Change(
        "index",
        "what comes through {op} is put together with its axes in another order",
        "undo {op} with the axes in the order of the forward (tf.repeat and tf.tile, or a transpose, differ in it)",
    )
    for i, j in combinations(range(edge.part.ndim), 2):
        yield change, lambda e, i=i, j=j: _axes_swapped_after(e, i, j)  # type: ignore[misc]
    for i, j in combinations(range(edge.upstream.ndim), 2):
        yield change, lambda e, i=i, j=j: np.swapaxes(e.upstream, i, j).reshape(e.part.shape)  # type: ignore[misc]


def _axes_swapped_after(e: Edge, i: int, j: int) -> Array:
    shape = list(e.part.shape)
    shape[i], shape[j] = shape[j], shape[i]
    return np.swapaxes(e.upstream.reshape(shape), i, j)


def _in_order(
    rule: Callable[[Array, Array], Array] | None, axis: int, order: Sequence[int]
) -> Callable[[Edge], Array | None]:
    """Return what gives an edge's part, or a product of its upstream, with the blocks of an axis in another order."""

    def part(e: Edge) -> Array:
        given = e.part if rule is None else e.upstream
        blocks = np.split(given, len(order), axis)
        moved = np.concatenate([blocks[k] for k in order], axis)
        return moved if rule is None else rule(moved, e.others[0])

    return part

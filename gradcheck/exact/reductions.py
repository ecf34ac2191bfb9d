# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops that reduce, accumulate and scatter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradcheck.exact.balls import (
    ONE,
    ZERO,
    Balls,
    Dual,
    Operand,
    Unknown,
    add,
    divide,
    dual,
    full,
    lift,
    multiply,
    objects,
    total,
)
from gradcheck.exact.elementwise import ONES
from gradcheck.exact.orders import Attribute, extreme

Kind = Callable[[Sequence[Operand], Attribute], list[Operand]]


def _axes(numbers: Operand, rank: int) -> tuple[int, ...]:
    return tuple(sorted({int(axis) % rank for axis in np.asarray(numbers).reshape(-1)})) if rank else ()


def _sum(x: Dual, axes: tuple[int, ...], keep: bool) -> Dual:
    def summed(a: Balls) -> Balls:
        return objects(np.sum(a, axis=axes, keepdims=keep, initial=ZERO)) if axes else a

    return x.map(summed)


def sums(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return sums along axes."""
    x = dual(inputs[0])
    return [_sum(x, _axes(inputs[1], len(x.shape)), bool(attribute("keep_dims")))]


def means(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return means along axes."""
    x = dual(inputs[0])
    axes = _axes(inputs[1], len(x.shape))
    count = int(np.prod([x.shape[axis] for axis in axes]))
    return [_sum(x, axes, bool(attribute("keep_dims"))).map(lambda a: a / count)]


def _flat_rows(x: Dual, axes: tuple[int, ...]) -> tuple[Dual, tuple[int, ...]]:
    """Return an array with the reduced axes as one last axis, and the other axes' sizes."""
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    sizes = tuple(x.shape[axis] for axis in rest)
    return x.map(lambda a: np.transpose(a, [*rest, *axes]).reshape(*sizes, -1)), sizes


def _kept(found: Dual, x: Dual, axes: tuple[int, ...], keep: bool) -> Dual:
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return found.map(lambda a: a.reshape(shape)) if keep else found


def products(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return products along axes."""
    x = dual(inputs[0])
    axes = _axes(inputs[1], len(x.shape))
    rows, sizes = _flat_rows(x, axes)
    found = Dual(full(sizes, ONE))
    for k in range(rows.shape[-1]):
        found = multiply(found, rows.map(lambda a, k=k: a[..., k]))  # type: ignore[misc]
    return [_kept(found, x, axes, bool(attribute("keep_dims")))]


def extremes(best: int) -> Kind:
    """Return the kind of a maximum (1) or minimum (-1) along axes; tied numbers have to move together."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x = dual(inputs[0])
        axes = _axes(inputs[1], len(x.shape))
        if not axes:
            return [x]
        rows, sizes = _flat_rows(x, axes)
        chosen = np.zeros(sizes, np.int64)
        for index in np.ndindex(*sizes):
            chosen[index] = extreme(rows, index, best)
        found = rows.map(lambda a: np.take_along_axis(a, chosen[..., None], -1)[..., 0])
        return [_kept(found, x, axes, bool(attribute("keep_dims")))]

    return kind


def cumulative(step: Callable[[Dual, Dual], Dual], first: Any) -> Kind:
    """Return the kind of a running sum or product."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x, axis = dual(inputs[0]), int(np.asarray(inputs[1]))
        turned = x.map(lambda a: np.moveaxis(a, axis, 0))
        turned = turned.map(lambda a: a[::-1]) if attribute("reverse") else turned
        carried, found = Dual(full(turned.shape[1:], first)), []
        for k in range(turned.shape[0]):
            after = step(carried, turned.map(lambda a, k=k: a[k]))  # type: ignore[misc]
            found.append(carried if attribute("exclusive") else after)
            carried = after
        if not found:
            return [x]
        result = stack(found, 0)
        result = result.map(lambda a: a[::-1]) if attribute("reverse") else result
        return [result.map(lambda a: np.moveaxis(a, 0, axis))]

    return kind


def running_log_sums(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return log(sum(exp(x))) of all numbers up to each: balls need no care for overflow."""
    (sums,) = cumulative(add, ZERO)([ONES["Exp"](dual(inputs[0])), inputs[1]], attribute)
    return [ONES["Log"](dual(sums))]


def numbers_from(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return start, start + step, ... below a limit."""
    start, limit, step = (dual(x) for x in inputs)
    count = int(np.ceil((float(limit.value.item()) - float(start.value.item())) / float(step.value.item())))
    steps = [multiply(step, lift(float(k))) for k in range(max(count, 0))]
    return [stack([add(start, moved) for moved in steps], 0) if steps else lift(np.zeros(0))]


def stack(parts: Sequence[Dual], axis: int) -> Dual:
    """Return arrays along a new axis."""
    count = max(len(part.slopes) for part in parts)
    slopes = [[part.slopes[d] if part.slopes else full(part.shape) for part in parts] for d in range(count)]
    return Dual(np.stack([part.value for part in parts], axis), tuple(np.stack(s, axis) for s in slopes))


def half_squares(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return half of the sum of squares."""
    x = ONES["Square"](dual(inputs[0]))
    return [_sum(x, tuple(range(len(x.shape))), False).map(lambda a: a / 2)]


def norms(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return Euclidean norms along axes."""
    x = dual(inputs[0])
    squares = _sum(ONES["Square"](x), _axes(inputs[1], len(x.shape)), bool(attribute("keep_dims")))
    return [ONES["Sqrt"](squares)]


def add_n(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the sum of arrays."""
    return [total([dual(x) for x in inputs])]


def zeros_like(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return zeros."""
    return [lift(np.zeros(dual(inputs[0]).shape))]


def ones_like(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return ones."""
    return [lift(np.ones(dual(inputs[0]).shape))]


def filled(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return an array of one number."""
    shape = tuple(int(size) for size in np.asarray(inputs[0]))
    return [dual(inputs[1]).map(lambda a: np.broadcast_to(a, shape))]


def bias_add(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return rows plus a bias of the last axis."""
    if attribute("data_format") not in (b"NHWC", "NHWC"):
        raise Unknown("BiasAdd with channels first")
    return [total([dual(inputs[0]), dual(inputs[1])])]


def bias_add_grad(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the sums over all axes but the last."""
    x = dual(inputs[0])
    return [_sum(x, tuple(range(len(x.shape) - 1)), False)]


def scattered(start: Dual, indices: Any, updates: Dual, replace: bool = False) -> Dual:
    """Return an array to which rows were added at indices (..., depth), or in which they were replaced."""
    indices = np.asarray(indices, np.int64)
    places = indices.reshape(-1, indices.shape[-1])
    inner = start.shape[indices.shape[-1] :]

    def put(whole: Any, rows: Any) -> Any:
        found = whole.copy()
        for place, row in zip(places, rows.reshape(len(places), *inner), strict=True):
            if np.all(place >= 0):
                found[tuple(place)] = row if replace else found[tuple(place)] + row
        return found

    count = max(len(start.slopes), len(updates.slopes))
    slopes = tuple(
        put(
            start.slopes[d] if start.slopes else full(start.shape),
            updates.slopes[d] if updates.slopes else full(updates.shape),
        )
        for d in range(count)
    )
    return Dual(put(start.value, updates.value), slopes)


def scatter_nd(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return zeros to which rows were added."""
    shape = tuple(int(size) for size in np.asarray(inputs[2]))
    return [scattered(Dual(full(shape)), inputs[0], dual(inputs[1]))]


def tensor_scatter(replace: bool, sign: int = 1) -> Kind:
    """Return the kind of a scatter into a given tensor."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        updates = dual(inputs[2]).map(lambda a: sign * a)
        return [scattered(dual(inputs[0]), inputs[1], updates, replace)]

    return kind


def _segments(inputs: Sequence[Operand]) -> tuple[Dual, Any, int]:
    """Return rows, the segment of each, and how many segments there are: as given, or up to the last id."""
    x, ids = dual(inputs[0]), np.asarray(inputs[1], np.int64)
    return x, ids, int(np.asarray(inputs[2])) if len(inputs) > 2 else int(ids.max(initial=-1)) + 1


def segment_sums(mean: bool = False) -> Kind:
    """Return the kind of a sum (or mean) over segments: sorted ids alone, or ids and their number."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x, ids, number = _segments(inputs)
        shape = (number, *x.shape[ids.ndim :])
        found = scattered(Dual(full(shape)), ids[..., None], x)
        if mean:
            sizes = np.maximum(np.bincount(ids.ravel(), minlength=number), 1)
            found = divide(found, lift(sizes.reshape(-1, *[1] * (len(shape) - 1))))
        return [found]

    return kind


def segment_products(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return products over segments; of nothing it is one."""
    x, ids, number = _segments(inputs)
    rows = x.map(lambda a: a.reshape(ids.size, *x.shape[ids.ndim :]))
    found = [Dual(full(x.shape[ids.ndim :], ONE)) for _ in range(number)]
    for k, segment in enumerate(ids.ravel()):
        if segment >= 0:
            found[segment] = multiply(found[segment], rows.map(lambda a, k=k: objects(a[k])))  # type: ignore[misc]
    return [stack(found, 0) if found else lift(np.zeros((0, *x.shape[ids.ndim :])))]


def segment_extremes(best: int) -> Kind:
    """Return the kind of a maximum (1) or minimum (-1) over segments; one without members is not known."""

    def kind(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
        x, ids, number = _segments(inputs)
        rows = x.map(lambda a: a.reshape(ids.size, -1))
        found = []
        for segment in range(number):
            members = np.flatnonzero(ids.ravel() == segment)
            if not members.size:
                raise Unknown("an empty segment")
            part = rows.map(lambda a, members=members: a[members].T)  # type: ignore[misc]
            chosen = np.array([extreme(part, (k,), best) for k in range(part.shape[0])])
            found.append(part.map(lambda a, chosen=chosen: a[np.arange(len(chosen)), chosen]))  # type: ignore[misc]
        return [stack(found, 0).map(lambda a: a.reshape(number, *x.shape[ids.ndim :]))]

    return kind


def log_sum_exp(x: Dual) -> Dual:
    """Return log(sum(exp(x))) of each last row; balls need no shift by the largest."""
    return ONES["Log"](_sum(ONES["Exp"](x), (len(x.shape) - 1,), True))

# SPDX-License-Identifier: Apache-2.0
"""Lists of tensors, which loops keep, in ball arithmetic: what each of their ops makes of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.exact.balls import ZERO, Dual, Operand, dual, full, total
from gradcheck.exact.reductions import stack


@dataclass(frozen=True, slots=True)
class Items:
    """Hold what a list of tensors holds; None where nothing was written."""

    values: tuple[Operand | None, ...] = ()


def _whole(value: Any) -> int:
    return int(np.asarray(value))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in np.asarray(value).reshape(-1))


def _read(items: Items, place: int, shape: Any) -> Operand:
    value = items.values[place]
    if value is not None:
        return value
    known = next((v.shape for v in items.values if v is not None), None)
    return Dual(full(known if known is not None else _shape(shape), ZERO))


def _stacked(items: Items, shape: Any) -> Operand:
    parts = [_read(items, place, shape) for place in range(len(items.values))]
    if not parts:
        return Dual(full((0, *(size for size in _shape(shape)))))
    if not any(isinstance(part, Dual) for part in parts):
        return np.stack([np.asarray(part) for part in parts])
    return stack([dual(part) for part in parts], 0)


def _rows(value: Operand) -> Items:
    if isinstance(value, Dual):
        return Items(tuple(value.map(lambda a, k=k: a[k]) for k in range(value.shape[0])))  # type: ignore[misc]
    return Items(tuple(np.asarray(value)))


def _zeros(items: Items) -> Items:
    return Items(tuple(None if v is None else Dual(full(v.shape)) for v in items.values))


def _added(lists: Sequence[Items]) -> Items:
    def added(parts: Sequence[Operand | None]) -> Operand | None:
        there = [dual(part) for part in parts if part is not None]
        return total(there) if there else None

    return Items(tuple(added(parts) for parts in zip(*(items.values for items in lists), strict=True)))


def _set(items: Items, place: int, value: Operand) -> Items:
    return Items((*items.values[:place], value, *items.values[place + 1 :]))


LISTS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "EmptyTensorList": lambda i: [Items()],
    "TensorListReserve": lambda i: [Items((None,) * _whole(i[1]))],
    "TensorListFromTensor": lambda i: [_rows(i[0])],
    "TensorListStack": lambda i: [_stacked(i[0], i[1])],
    "TensorListGetItem": lambda i: [_read(i[0], _whole(i[1]), i[2])],
    "TensorListSetItem": lambda i: [_set(i[0], _whole(i[1]), i[2])],
    "TensorListPushBack": lambda i: [Items((*i[0].values, i[1]))],
    "TensorListPopBack": lambda i: [Items(i[0].values[:-1]), _read(i[0], len(i[0].values) - 1, i[1])],
    "ZerosLike": lambda i: [_zeros(i[0])],
    "AddN": lambda i: [_added(i)],
    "AddV2": lambda i: [_added(i)],
    "TensorListLength": lambda i: [np.int32(len(i[0].values))],
    "TensorListGather": lambda i: [_stacked(Items(tuple(_read(i[0], k, i[2]) for k in _shape(i[1]))), i[2])],
    "TensorListElementShape": lambda i: [np.array(next(v.shape for v in i[0].values if v is not None), np.int32)],
    "TensorListResize": lambda i: [Items((*i[0].values, *[None] * _whole(i[1]))[: _whole(i[1])])],
}

# SPDX-License-Identifier: Apache-2.0
"""The op at other sizes: one row more, one row, an axis of twice the size; and what the bare forward gives there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.operation import Operation, flattened
from gradcheck.measure.pulled import Pulled, pulled_at
from gradcheck.numerics.arrays import AnyArray, Arrays
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.verdict.tolerances import (
    LARGEST_INPUT,
    MIXTURE,
    ROW_FLOOR,
    ROW_RTOL,
    SCALED_IN_DOMAIN,
    SCALED_ROW,
    SHARED_MORE,
)

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


def one_row_more(lab: Lab, plain: Operation) -> tuple[list[Any], Pulled] | None:
    """Return leaves with one row more and what the bare forward gives, None if it takes or uses no further row."""
    for chosen in _alike(lab):
        values = list(lab.values)
        for i in chosen:
            values[i] = _with_row(values[i], lab.leaves[i])
        pulled = pulled_at(lab, plain, values, lab.gradients.state)
        if pulled is not None and _is_square(lab, chosen) and not _keeps_rows(lab, pulled, len(values[chosen[0]])):
            continue
        if pulled is not None and all(_reaches(pulled, lab, i, 0, len(lab.values[i])) for i in chosen):
            return values, pulled
    return None


def one_row_of_integers_more(lab: Lab, plain: Operation) -> Iterator[tuple[int, list[Any], Pulled]]:
    """Yield the place of integers whose rows no other input shares, leaves with one row more of them, and what is made.

    Each output has to keep what it has and get something more.
    """
    for i in _dense(lab):
        value = lab.values[i]
        shared = sum(np.ndim(v) > 0 and len(v) == len(value) for v in lab.values) if np.ndim(value) else 0
        if shared != 1 or value.dtype.kind not in "iu":
            continue
        values = [*lab.values[:i], np.concatenate([value, np.roll(value[:1], 1, axis=-1)]), *lab.values[i + 1 :]]
        pulled = pulled_at(lab, plain, values, lab.gradients.state)
        if pulled is not None and all(map(_leaves_others, pulled.outputs, lab.outputs)):
            yield i, values, pulled


def is_batch(lab: Lab, values: Arrays, wanted: Pulled) -> bool:
    """Return whether rows may come in any number: a further one leaves the others alone, or all may change places.

    A matrix of three rows that mean three things (a projection, coordinates) can be given a fourth by accident.
    """
    chosen = [i for i, (a, b) in enumerate(zip(values, lab.values, strict=True)) if a is not b]
    another = lab.case.surrogate or lab.case.reference
    here = pulled_at(lab, lab.bare, lab.values, lab.gradients.state) if another else None
    whole = lab.outputs if here is None else here.outputs
    if all(_leaves_others(more, own) for more, own in zip(wanted.outputs, whole, strict=False)):
        return True
    turned = [value[::-1].copy() if i in chosen else value for i, value in enumerate(lab.values)]
    found = pulled_at(lab, lab.bare, turned, lab.gradients.state)
    own_rows = len(lab.values[chosen[0]])
    if found is None or len(found.outputs) != len(whole):
        return False
    return all(_changes_places(a, b, own_rows) for a, b in zip(found.outputs, whole, strict=True))


def _leaves_others(more: AnyArray, own: AnyArray) -> bool:
    """Return whether an output has one row more along one axis, and before that is what it was."""
    shapes = list(zip(np.shape(more), np.shape(own), strict=False))
    longer = [axis for axis, (a, b) in enumerate(shapes) if a != b]
    if np.ndim(more) != np.ndim(own) or len(longer) != 1 or np.shape(more)[longer[0]] != np.shape(own)[longer[0]] + 1:
        return False
    return _near(np.take(more, range(np.shape(own)[longer[0]]), axis=longer[0]), own)


def _changes_places(turned: AnyArray, own: AnyArray, rows: int) -> bool:
    """Return whether an output stays as it is, or turns round with the rows."""
    if np.shape(turned) != np.shape(own):
        return False
    along = tuple(axis for axis, size in enumerate(np.shape(own)) if size == rows)
    return _near(turned, own) or any(_near(turned, np.flip(own, axes)) for axes in (*((a,) for a in along), along))


def one_row(lab: Lab, plain: Operation) -> tuple[list[Any], Pulled] | None:
    """Return the first row of the leaves, None if the op makes something else of it.

    A single row broadcasts, so that a call may pass which makes no sense.  It does make sense where
    each output is that of the first row of all, or a number that is made of all rows, as a loss.
    """
    state = lab.gradients.state
    whole = pulled_at(lab, plain, lab.values, state)
    for chosen in _alike(lab):
        values = list(lab.values)
        if len(values[chosen[0]]) < 2:
            return None
        if (_is_square(lab, chosen) and lab.one_row_more is None) or not _takes_a_row_more(lab, plain, chosen):
            continue
        for i in chosen:
            values[i] = values[i][:1]
        one = pulled_at(lab, plain, values, state)
        if one is None or whole is None:
            continue
        if len(one.outputs) != len(whole.outputs):
            continue
        rows, pairs = len(lab.values[chosen[0]]), list(zip(one.outputs, whole.outputs, strict=True))
        if pairs and all(_is_first_row(a, b) or _is_of_all_rows(a, b, rows) for a, b in pairs):
            return values, one
    return None


def _takes_a_row_more(lab: Lab, plain: Operation, chosen: Sequence[int]) -> bool:
    """Return whether the bare forward takes one row more: what is made for so many rows takes one by broadcasting."""
    values = list(lab.values)
    for i in chosen:
        values[i] = _with_row(values[i], lab.leaves[i])
    return pulled_at(lab, plain, values, lab.gradients.state) is not None


def rows_alone(lab: Lab, values: list[Any]) -> list[Any] | None:
    """Return leaves with the rows only that are not all zero, None if all are kept or the op takes no fewer."""
    for chosen in _alike(lab):
        rows = np.any([np.any(wide(values[i]).reshape(len(values[i]), -1) != 0, axis=1) for i in chosen], axis=0)
        # Where all are zero one row shows it.
        rows[0] |= not rows.any()
        if not rows.all():
            fewer = [value[rows] if i in chosen else value for i, value in enumerate(values)]
            if pulled_at(lab, lab.bare, fewer, lab.gradients.state) is not None:
                return fewer
    return None


def _is_square(lab: Lab, chosen: Sequence[int]) -> bool:
    """Return whether a square matrix is among some leaves: its rows are a batch, or it means nothing with one less."""
    return any(np.ndim(lab.values[i]) == 2 and len(set(lab.values[i].shape)) == 1 for i in chosen)


def _keeps_rows(lab: Lab, pulled: Pulled, rows: int) -> bool:
    """Return whether each output has a row for each row, and those of the sample are what they are without the new."""
    pairs = list(zip(pulled.outputs, lab.outputs, strict=False))
    return bool(pairs) and all(
        np.ndim(more) and len(more) == rows and np.shape(more[:-1]) == np.shape(own) and _near(more[:-1], own)
        for more, own in pairs
    )


def _is_first_row(one: AnyArray, whole: AnyArray) -> bool:
    return bool(np.ndim(whole)) and one.shape == whole[:1].shape and _near(one, whole[:1])


def _is_of_all_rows(one: AnyArray, whole: AnyArray, rows: int) -> bool:
    """Return whether an output has no axis of rows, and what is made of one row is a number."""
    return one.shape == whole.shape and rows not in np.shape(whole) and bool(np.isfinite(wide(one)).all())


def _near(a: AnyArray, b: AnyArray) -> bool:
    return close(a, b, ROW_RTOL, ROW_FLOOR * largest(b))


def _alike(lab: Lab) -> list[tuple[int, ...]]:
    """Return groups of leaves whose first axis may be the batch: all of its size, or those of the highest rank."""
    lead = next((np.shape(v)[0] for v, leaf in zip(lab.values, lab.leaves, strict=True)
                 if np.ndim(v) and leaf.differentiated), None)  # fmt: skip
    same = [i for i in _dense(lab) if np.ndim(lab.values[i]) and np.shape(lab.values[i])[0] == lead]
    if lead == 1 and len(same) > 1:
        # One row may be a batch of one, or something that broadcasts along it.
        return []
    rank = max((np.ndim(lab.values[i]) for i in same), default=0)
    groups = dict.fromkeys((tuple(same), tuple(i for i in same if np.ndim(lab.values[i]) == rank)))
    return [g for g in groups if any(lab.leaves[i].differentiated for i in g)]


def _with_row(value: AnyArray, leaf: Leaf) -> Any:
    if not len(value):
        return np.zeros((1, *value.shape[1:]), value.dtype)
    return np.concatenate([value, _like(value, leaf, 0)[:1]])


def _like(value: AnyArray, leaf: Leaf, axis: int) -> Any:
    """Return values near those at hand that are none of them: equal rows hide what mixes them up."""
    if not leaf.differentiated or value.dtype.kind not in "fcV":
        return value
    old = wide(value)
    if value.shape[axis] > 1:
        # Between two that are there, so that no domain is left and no tie is made.
        return (MIXTURE[0] * old + MIXTURE[1] * np.roll(old, -1, axis)).astype(value.dtype)
    low, high = leaf.domain or (-np.inf, np.inf)
    return (SCALED_ROW * old if low <= 0 <= high else np.clip(SCALED_IN_DOMAIN * old, low, high)).astype(value.dtype)


def longer_along(lab: Lab, plain: Operation, axis: int) -> Iterator[tuple[int, list[Any], Pulled]]:
    """Yield larger sizes along an axis, with the leaves and what the bare forward gives, where it takes and uses them.

    Twice as much, because halves, heads and windows divide it too, and one more, because of odd and even lengths; of
    which pairs are made may leave a single one out, so that one more than twice as much is tried then.
    """
    own = own_size(lab, axis)
    for sizes in ((2 * own,), (own + 1, 2 * own + 1)) if own else ():
        found = next(((size, more) for size in sizes if (more := grown(lab, plain, axis, size))), None)
        if found is not None:
            yield found[0], *found[1]


def grown(lab: Lab, plain: Operation, axis: int, size: int, limited: bool = True) -> tuple[list[Any], Pulled] | None:
    """Return leaves of another size along an axis, None if the bare forward does not take or use them.

    `limited`: not if they become so large that only the sample itself is affordable.
    """
    lead = _lead(lab, axis)
    if lead is None:
        return None
    if limited and lab.layout.inputs.width * size > LARGEST_INPUT * lab.values[lead].shape[axis]:
        return None
    for chosen, back in _growing(lab, lead, axis):
        if _of_a_square(lab, chosen, back) and (axis or lab.one_row_more is None):
            continue
        if any(_is_of_shares(lab, i, back) for i in chosen):
            continue
        values = list(lab.values)
        for i in chosen:
            values[i] = _enlarged(values[i], lab.leaves[i], back, size)
        pulled = pulled_at(lab, plain, values, lab.gradients.state)
        if pulled is not None and all(_is_used(lab, plain, pulled, values, i, back) for i in chosen):
            return values, pulled
    return None


def alike_everywhere(lab: Lab, plain: Operation) -> Iterator[tuple[int, int, list[Any], Pulled]]:
    """Yield sizes that several axes have, larger ones, the leaves with these, and what the bare forward gives.

    These are the two axes of a square, a contraction, the steps of sequences and of their labels.  The parity stays:
    a kernel of odd size may be meant to be odd.
    """
    axes = [(i, axis) for i in _dense(lab) for axis in range(np.ndim(lab.values[i]))]
    given = _numbers([lab.case.build or {}, lab.case.arguments])
    for size in dict.fromkeys(lab.values[i].shape[axis] for i, axis in axes):
        chosen = [(i, axis) for i, axis in axes if lab.values[i].shape[axis] == size]
        too_large = lab.layout.inputs.width * (size + SHARED_MORE) ** 2 > LARGEST_INPUT * size**2
        shares = any(_is_of_shares(lab, i, axis) for i, axis in chosen)
        if len(chosen) < 2 or size < 2 or size in given or too_large or shares:
            continue
        values = list(lab.values)
        for i, axis in chosen:
            values[i] = _enlarged(values[i], lab.leaves[i], axis, size + SHARED_MORE)
        pulled = pulled_at(lab, plain, values, lab.gradients.state)
        if pulled is not None and all(_reaches(pulled, lab, i, axis, size) for i, axis in chosen):
            yield size, size + SHARED_MORE, values, pulled


def _lead(lab: Lab, axis: int) -> int | None:
    """Return the first input that has an axis, None if there is none or the arguments name its size."""
    lead = next((i for i in lab.sources if np.ndim(lab.values[i]) > axis), None)
    if lead is None or lab.values[lead].shape[axis] < 2 or lab.layout.inputs.width > LARGEST_INPUT:
        return None
    given = _numbers([lab.case.build or {}, lab.case.arguments])
    return None if lab.values[lead].shape[axis] in given or lead not in _dense(lab) else lead


def own_size(lab: Lab, axis: int) -> int:
    """Return the size of an axis of the first input that has it, 0 where it may not be another one."""
    lead = _lead(lab, axis)
    return 0 if lead is None else int(lab.values[lead].shape[axis])


def _growing(lab: Lab, lead: int, axis: int) -> list[tuple[tuple[int, ...], int]]:
    """Return groups of leaves that grow together, with the axis along which they do."""
    if axis == 0:
        return [(chosen, 0) for chosen in _alike(lab)]
    size, back = lab.values[lead].shape[axis], axis - np.ndim(lab.values[lead])
    same = [i for i in _dense(lab) if np.ndim(lab.values[i]) >= -back and lab.values[i].shape[back] == size]
    return [(chosen, back) for chosen in dict.fromkeys((tuple(same), (lead,)))]


def _of_a_square(lab: Lab, chosen: Sequence[int], axis: int) -> bool:
    """Return whether an axis is one of the two of square matrices, which are none with one axis of another size."""
    shapes = [lab.values[i].shape for i in chosen if np.ndim(lab.values[i]) >= 2]
    return any(s[-1] == s[-2] and axis % len(s) >= len(s) - 2 for s in shapes)


def _is_of_shares(lab: Lab, leaf: int, axis: int) -> bool:
    """Return whether an axis is the one along which a leaf sums to one."""
    rank = np.ndim(lab.values[leaf])
    return lab.leaves[leaf].shares and axis % rank == rank - 1


def _dense(lab: Lab) -> list[int]:
    return [i for i, leaf in enumerate(lab.leaves)
            if leaf.indices is None and leaf.row_lengths is None and leaf.structure is None]  # fmt: skip


def _enlarged(value: AnyArray, leaf: Leaf, axis: int, size: int) -> Any:
    """Return values with as many more along an axis as are wanted, each block made of the one before."""
    blocks, block = [value], value
    while sum(b.shape[axis] for b in blocks) < size:
        block = _like(block, leaf, axis)
        blocks.append(block)
    return np.concatenate(blocks, axis=axis).take(range(size), axis=axis)


def _numbers(given: Any) -> set[int]:
    """Return the numbers in arguments: an op that is given a size may rely on it."""
    return {int(item) for item in flattened(given) if isinstance(item, int | float) and float(item).is_integer()}


def _reaches(pulled: Pulled, lab: Lab, leaf: int, axis: int, start: int) -> bool:
    """Return whether some of what is new along an axis matters to the outputs; boxes of four numbers ignore a fifth."""
    if leaf not in lab.sources:
        return True
    gradient = pulled.gradients[lab.sources.index(leaf)]
    return gradient is not None and bool(np.any(np.moveaxis(wide(gradient), axis, 0)[start:] != 0))


def _is_used(lab: Lab, plain: Operation, pulled: Pulled, values: Arrays, leaf: int, axis: int) -> bool:
    """Return whether what is new along an axis matters to the outputs where it is, or where it is extreme.

    Most of what is sorted has no part in a median, and what is negative none in what a relu gives.
    """
    start = np.shape(lab.values[leaf])[axis]
    if _reaches(pulled, lab, leaf, axis, start):
        return True
    extremes = lab.leaves[leaf].differentiated and values[leaf].dtype.kind in "fV"
    return any(_moves(lab, plain, pulled, values, leaf, axis, pick) for pick in ((np.min, np.max) if extremes else ()))


def _moves(lab: Lab, plain: Operation, pulled: Pulled, values: Arrays, leaf: int, axis: int, pick: Any) -> bool:
    """Return whether an output is another one where all that is new is an extreme of what was there before."""
    there, start = values[leaf].copy(), np.shape(lab.values[leaf])[axis]
    np.moveaxis(there, axis, 0)[start:] = pick(wide(lab.values[leaf])).astype(there.dtype)
    moved = pulled_at(lab, plain, [*values[:leaf], there, *values[leaf + 1 :]], lab.gradients.state)
    return moved is not None and not all(map(np.array_equal, moved.outputs, pulled.outputs))

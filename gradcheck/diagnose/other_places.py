# SPDX-License-Identifier: Apache-2.0
"""Tests for gradients whose numbers are right and stand in other places: transposed, reversed, shifted, permuted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnose.evidence import Diagnosis, Evidence, explained
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CLOSE, LONG_ENOUGH, MOST_AXES


def transposed(e: Evidence) -> Diagnosis | None:
    """Name two axes that are exchanged."""
    for i, j in combinations(range(len(e.shape)), 2):
        swapped = np.swapaxes(e.reference, i, j)
        if swapped.shape == e.gradient.shape and explained(e, swapped):
            return Diagnosis(
                "transposed",
                f"the gradient equals the reference with axes {i} and {j} exchanged",
                "transpose the returned gradient",
            )
    return None


def not_transposed(e: Evidence) -> Diagnosis | None:
    """Name the Jacobian itself in the place of its transpose: a rotation that is not turned back."""
    if e.jvp is None or not explained(e, e.jvp):
        return None
    return Diagnosis(
        "transposed",
        "the gradient is J u where J^T u belongs: the Jacobian is not transposed",
        "transpose the factor that the upstream is multiplied with (tf.matmul: transpose_a, transpose_b); of a"
        " permutation take the inverse (tf.argsort), of a rotation the other angle",
    )


def reversed_along(e: Evidence) -> Diagnosis | None:
    """Name an axis along which the gradient is turned round."""
    for axis, size in enumerate(e.shape):
        if size >= 2 and explained(e, np.flip(e.reference, axis)):
            return Diagnosis(
                "index",
                f"the gradient equals the reference reversed along axis {axis}",
                f"reverse the returned gradient along axis {axis}",
            )
    return None


def shifted(e: Evidence) -> Diagnosis | None:
    """Name an axis along which the gradient is shifted by one or two, whatever is at the edges."""
    for axis, size in enumerate(e.shape):
        for places in (1, -1, 2, -2):
            inside = np.arange(max(places, 0), size + min(places, 0))
            if inside.size <= LONG_ENOUGH or e.complex:
                continue
            candidate = e.gradient.copy()
            np.moveaxis(candidate, axis, 0)[inside] = np.moveaxis(e.reference, axis, 0)[inside - places]
            if explained(e, candidate) and np.count_nonzero(np.moveaxis(e.wrong, axis, 0)[inside]) >= LONG_ENOUGH:
                towards, back = ("end", "start") if places > 0 else ("start", "end")
                return Diagnosis(
                    "index",
                    f"the gradient is the reference shifted by {abs(places)} along axis {axis}, towards its {towards}",
                    f"shift the gradient by {abs(places)} towards the {back} of axis {axis}: look at the padding"
                    " and at where slices begin",
                )
    return None


def permuted(e: Evidence) -> Diagnosis | None:
    """Name numbers that are right and stand in other places along an axis, as after tf.concat for tf.stack."""
    for axis, size in enumerate(e.shape):
        if size < LONG_ENOUGH + 1 or e.complex or not e.usable.all():
            continue
        gradient, reference = _keys(e.gradient, axis), _keys(e.reference, axis)
        if np.unique(reference).size < size:
            continue
        order = np.empty(size, np.int64)
        order[np.argsort(gradient)] = np.argsort(reference)
        if not explained(e, np.take(e.reference, order, axis)):
            continue
        return Diagnosis(
            "index",
            f"the gradient holds the right numbers in other places along axis {axis}: {_moved(order)}",
            f"put the parts back in the order of the input along axis {axis}"
            + (
                ": it takes every second number, so tf.stack and tf.reshape, not tf.concat"
                if _is_every_second(order)
                else ""
            ),
        )
    return None


def _is_every_second(order: NDArray[np.int64]) -> bool:
    """Return whether the even places come first and the odd ones after them, or the other way round."""
    halves = np.concatenate([np.arange(0, order.size, 2), np.arange(1, order.size, 2)])
    return bool(np.array_equal(order, halves) or np.array_equal(np.argsort(order), halves))


def _moved(order: NDArray[np.int64]) -> str:
    """Return in words what stands where: `at 2, 3, 0 those of 3, 0, 2`, of the places that hold another's numbers."""
    places = np.flatnonzero(order != np.arange(order.size))
    more = ", ..." if places.size > MOST_AXES else ""
    at, of = (", ".join(map(str, found[:MOST_AXES])) + more for found in (places, order[places]))
    return f"at {at} those of {of}"


def _keys(array: Array, axis: int) -> Array:
    """Return one number for each slice along an axis, by which slices differ: a sum with unlike weights."""
    slices = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    keys: Array = slices @ np.cos(np.arange(slices.shape[1]))
    return keys


def scattered(e: Evidence) -> Diagnosis | None:
    """Name numbers that are right and stand in other places, whatever the axes: those of two lists, sorted, agree."""
    where = e.wrong & e.usable
    right = np.sort(e.reference[where])
    apart = np.count_nonzero(np.diff(right) > CLOSE * np.abs(right[1:]))
    if e.complex or apart < LONG_ENOUGH:
        return None
    placed = np.empty_like(right)
    placed[np.argsort(e.gradient[where])] = right
    candidate = e.reference.copy()
    candidate[where] = placed
    if not explained(e, candidate):
        return None
    return Diagnosis(
        "index",
        f"the gradient holds the right numbers in other places: {right.size} of {e.wrong.size} elements have another's",
        "put the parts back in the order of the input: look at the axes in tf.reshape and tf.transpose, and at the"
        " indices in tf.gather and tf.scatter_nd",
    )

# SPDX-License-Identifier: Apache-2.0
"""A point in packed coordinates as the op takes it: inputs and variables rounded to their own dtypes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.backend.tensorflow import inputs as drawing
from gradcheck.backend.tensorflow.graph_facts import graph_facts
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.numerics.arrays import AnyArray, Array

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


def own_point(lab: Lab, x: Array) -> list[AnyArray]:
    """Return the leaves at x, rounded to their own dtypes."""
    values = list(lab.values)
    for position, value in zip(lab.sources, lab.layout.inputs.unpack(x), strict=False):
        values[position] = value.astype(lab.values[position].dtype)
    return values


def own_variables(lab: Lab, x: Array) -> list[Any]:
    """Return the values of the variables at x, rounded to their own dtypes."""
    parts = lab.layout.inputs.unpack(x)[len(lab.sources) :]
    return [part.astype(lab.kept(v).dtype) for part, v in zip(parts, lab.variables, strict=True)]


def in_own_dtypes(lab: Lab, x: Array) -> Array:
    """Return x with every coordinate rounded to the dtype of its input or variable."""
    narrow = own_point(lab, x)
    return lab.layout.inputs.pack([*(narrow[i] for i in lab.sources), *own_variables(lab, x)])


def moves_variables(lab: Lab, x: Array) -> bool:
    """Return whether a variable has another value at x than at the sample."""
    pairs = zip(own_variables(lab, x), lab.variables, strict=True)
    return any(not np.array_equal(new, lab.kept(variable)) for new, variable in pairs)


def drawn_anew(lab: Lab, number: int) -> list[Leaf] | None:
    """Return another draw of the inputs, None if that cannot be drawn or has other shapes."""
    case = lab.case
    try:
        leaves, _ = drawing.draw(replace(case, seed=case.seed + 1 + number), lab.asked, 0)
    except drawing.InputError:
        return None
    same = all(np.shape(leaf.values) == np.shape(own) for leaf, own in zip(leaves, lab.values, strict=True))
    return leaves if same else None


def redrawn(lab: Lab, base: Array, number: int) -> Array | None:
    """Return another draw of the random inputs as a point, None if nothing is drawn."""
    leaves = lab.drawn_anew(number)
    if leaves is None:
        return None
    drawn = lab.layout.inputs.pack([*(leaves[i].values for i in lab.sources), *(lab.kept(v) for v in lab.variables)])
    return None if np.array_equal(drawn, base) else drawn


def movable_of(lab: Lab) -> frozenset[Any]:
    """Return references to the variables that may have other values: those that the op and its surrogate read."""
    if lab.case.variables == "none":
        return frozenset()
    used = {variable.variable.ref() for variable in lab.every_variable}
    if lab.case.surrogate:
        facts = graph_facts(lab.gradients_of(lab.bare), lab.values)
        used = {v.variable.ref() for v in lab.every_variable if facts.reads(v.variable)}
    return frozenset(used)


def parameters_of(lab: Lab) -> NDArray[np.int64]:
    """Return the coordinates of single numbers whose sign has a meaning: given, or drawn on one side of zero."""
    again = drawn_anew(lab, 0)
    if again is None:
        return np.zeros(0, np.int64)
    given = np.zeros(lab.layout.inputs.width, bool)
    for position, part in zip(lab.sources, lab.layout.inputs.ranges(), strict=False):
        value, (low, high) = lab.values[position], lab.leaves[position].ends
        signed = low > 0 or high < 0 or np.array_equal(again[position].values, value)
        given[part] = value.size == 1 and signed and bool(value.all())
    return np.flatnonzero(given)

# SPDX-License-Identifier: Apache-2.0
"""What is known about one wrong gradient, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradcheck.numerics.arrays import AnyArray, Array
from gradcheck.verdict.tolerances import CLOSE, LEFT_OVER


@dataclass(frozen=True, slots=True)
class Trial:
    """Hold another draw of the input: its values, where the gradient was wrong, and where it was right.

    Neither is an element at which the error is only too small to matter; `faint` is where it is wrong by much
    less than elsewhere; `gap` is how far it is from autodiff, beside its size.
    """

    input: Array
    wrong: NDArray[np.bool_]
    right: NDArray[np.bool_]
    faint: NDArray[np.bool_]
    gap: Array


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what is known about one wrong gradient; arrays have the input's shape.

    `usable` marks elements with a reference; `others` maps the other inputs to their
    (gradient, reference); `terms` are the parts of the reference that come through each use
    of the input; `outputs` pairs (gradient, reference) for the upstream of one output alone;
    `trials` are further draws, the case's own first; `reaches` says whether the outputs depend on
    the input at all; `jvp` is J u where input and output have one shape; `patterns` are what a sum
    over an axis is multiplied with (the output, ...); `given` are the inputs that are not
    differentiated.  Complex inputs have a last axis of two.
    """

    gradient: Array
    reference: Array
    wrong: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    labels: NDArray[np.int8]
    output_shapes: Sequence[tuple[int, ...]]
    others: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    terms: Sequence[Array] = ()
    outputs: Sequence[tuple[str, Array, Array]] = ()
    trials: Sequence[Trial] = ()
    diagonal: Array | None = None
    jvp: Array | None = None
    upstream: Array | None = None
    complex: bool = False
    reaches: bool = True
    patterns: Mapping[str, Array] = field(default_factory=dict)
    given: Mapping[str, AnyArray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the input."""
        return self.gradient.shape[:-1] if self.complex else self.gradient.shape

    @property
    def output_size(self) -> int:
        """Return the number of elements of the outputs."""
        return sum(math.prod(shape) for shape in self.output_shapes)

    @property
    def repeated(self) -> bool:
        """Return whether an output has the axes of the input among its own: each element comes in several outputs."""
        return any(_in_order([n for n in self.shape if n > 1], shape) for shape in self.output_shapes)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Return where a reference is known and it or the gradient is not zero: zeros are right by any formula."""
        return np.asarray(self.usable & ((self.gradient != 0) | (self.reference != 0)))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Name a cause, say what was seen and what to change.

    `moving`: the wrong elements depend on the values; `tentative`: one changed rule of the forward says more.
    """

    cause: str
    message: str
    hint: str | None = None
    moving: bool = False
    tentative: bool = False


def _in_order(axes: Sequence[int], among: Sequence[int]) -> bool:
    """Return whether `axes` are found among others in their order."""
    left = iter(among)
    return all(axis in left for axis in axes)


def close(a: Array, b: Array, usable: NDArray[np.bool_]) -> bool:
    """Return whether two gradients agree to a thousandth, element by element."""
    if a.shape != b.shape or not usable.any():
        return False
    a, b = a[usable], b[usable]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    largest = float(np.abs(b).max())
    return bool(np.all(np.abs(a - b) <= CLOSE * np.maximum(np.abs(b), CLOSE * largest)) and largest > 0)


def explained(e: Evidence, candidate: Array, left_over: float = LEFT_OVER) -> bool:
    """Return whether `candidate` accounts for the gradient: close to it, and hardly any of the error left over.

    Without the second condition a gradient that is wrong by a ten-thousandth would equal its
    own reference.
    """
    if candidate.shape != e.gradient.shape or not close(e.gradient, candidate, e.usable):
        return False
    left = np.linalg.norm((e.gradient - candidate)[e.usable])
    return bool(left <= left_over * np.linalg.norm((e.gradient - e.reference)[e.usable]))


def conjugate(gradient: Array, reference: Array, usable: NDArray[np.bool_]) -> bool:
    """Return whether a complex gradient, given as (..., 2) reals, is the conjugate of its reference."""
    flipped = reference * np.array([1.0, -1.0])
    return close(gradient, flipped, usable) and not close(reference, flipped, usable)

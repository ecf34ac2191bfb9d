# SPDX-License-Identifier: Apache-2.0
"""Whether changed rules of the forward explain a wrong gradient, at two points that were drawn independently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnose.changes import Change, delta_of
from gradcheck.measure.dissected import Draw
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import CHANGED_LOW_RTOL, CHANGED_RTOL, CHANGED_SCALE

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.dissection import Edge
    from gradcheck.backend.tensorflow.switchboard import Group


@dataclass(frozen=True, slots=True)
class Match:
    """Hold a change that explains a gradient, the rules that it changes, and whether it suits the other inputs too.

    `two` says that two things are wrong, not one.
    """

    change: Change
    edges: tuple[Edge | Group, ...]
    clean: bool
    two: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Hold what a change has to add to the bare forward's gradient at one point, and how exactly."""

    gap: Array
    tolerance: float

    def is_closed_by(self, delta: Array) -> bool:
        """Return whether a change gives the gradient under test; True where nothing has to be added."""
        return not self.gap.any() or bool(np.abs(delta - self.gap).max() <= self.tolerance)

    def closed_by(self, deltas: Array) -> NDArray[np.bool_]:
        """Return which of many changes, one in each row, give the gradient under test."""
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(deltas - self.gap).max(axis=1) <= self.tolerance)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold the gaps of one input at every point, those of all inputs, and where the input is among them."""

    part: slice
    own: tuple[Gap, ...]
    whole: tuple[Gap, ...]

    def explained_by(self, deltas: Iterable[Array | None]) -> bool | None:
        """Return whether a change is right for the other inputs too, None if it does not explain this one.

        `deltas` are what it adds at each point; those after the first that does not fit are not computed.
        """
        clean = True
        for delta, own, whole in zip(deltas, self.own, self.whole, strict=False):
            if delta is None or not own.gap.any() or not own.is_closed_by(delta[self.part]):
                return None
            clean = clean and whole.is_closed_by(delta)
        return clean


def wanted_of(draws: Sequence[Draw], part: slice, wide: bool) -> Wanted:
    """Return what changes have to explain: the gradient of one input, as exactly as the op's precision allows."""
    return Wanted(part, *(tuple(_gap(draw, where, wide) for draw in draws) for where in (part, slice(None))))


def _gap(draw: Draw, part: slice, wide: bool) -> Gap:
    gap = (draw.gradient - draw.right)[part]
    scale = max(np.abs(draw.gradient).max(), np.abs(draw.right).max())
    rtol = CHANGED_RTOL if wide else CHANGED_LOW_RTOL
    return Gap(gap, float(rtol * np.abs(gap).max(initial=0.0) + CHANGED_SCALE * scale))


def delta_with(edge: Edge, changed: Callable[[Edge], Array | None]) -> Array | None:
    """Return by how much the gradient of the sources changes with a rule, None where the change cannot be made."""
    with np.errstate(all="ignore"):
        return delta_of(edge, changed(edge))

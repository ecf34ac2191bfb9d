# SPDX-License-Identifier: Apache-2.0
"""Points on both sides of every condition that steers the values of the forward or of grad_fn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gradcheck.backend.tensorflow.condition_notes import TOGETHER
from gradcheck.backend.tensorflow.conditions import Condition, Key, Sides
from gradcheck.files import shown
from gradcheck.measure.lab import Lab
from gradcheck.measure.own_points import in_own_dtypes
from gradcheck.measure.steering import NOWHERE, Steering
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.descent import deepened, reached, rounded
from gradcheck.results import Reach, Unreached
from gradcheck.sites.redraws import redraws_and_grid
from gradcheck.sites.special import special_rows
from gradcheck.sites.switches import Side, turned
from gradcheck.verdict.tolerances import (
    FEWEST_LOOKS,
    FOLLOWED_OPS,
    INSIDE,
    JOINT_STARTS,
    JOINTS_TRIED,
    MOST_LOOKS,
    SAME_LEAST,
    SEARCH_SHARE,
    SITES_REACHED,
    STARTS,
)

# Conditions that hold in a whole range, in which round numbers are nothing special.
INEQUALITIES = ("Greater", "GreaterEqual", "Less", "LessEqual", "Relu", "Relu6", "ReluGrad", "Maximum", "Minimum")
NO_SLOPE = "no input moves it"
NO_TIME = "no time was left to look for it"
NOT_FOUND = "no input was found that reaches it"


@dataclass(frozen=True, slots=True)
class BranchSite:
    """Hold coordinates at which a condition is on a side on which it is not at the sample."""

    x: Array
    condition: Condition | None = None
    side: bool = True


@dataclass(slots=True)
class Search:
    """Collect which sides were reached, where first (a place in `pool`), and how near the others came."""

    lab: Lab
    steering: Steering
    conditions: dict[Key, Condition] = field(default_factory=dict)
    reached: set[Side] = field(default_factory=set)
    first: dict[Side, int] = field(default_factory=dict)
    near: dict[Side, list[tuple[float, int]]] = field(default_factory=dict)
    pool: list[Array] = field(default_factory=list)
    sites: list[BranchSite] = field(default_factory=list)
    looks: int = 0
    started: float = field(default_factory=lambda: time.perf_counter())

    @property
    def over(self) -> bool:
        """Return whether the search has had its share of the case's time: of a large op one look takes long."""
        return time.perf_counter() - self.started > SEARCH_SHARE * self.lab.case.timeout

    @property
    def missing(self) -> list[Side]:
        """Return the sides that were not reached, those of single conditions first."""
        every = [(key, side) for key, c in self.conditions.items() for side in ((True,) if c.joint else (True, False))]
        left = [side for side in every if side not in self.reached and self._is_possible(side[0])]
        return sorted(left, key=lambda side: self.conditions[side[0]].joint)

    def _is_possible(self, key: Key) -> bool:
        """Return whether conditions may hold together: not where one of them was never seen on its side."""
        graph, _, tag = key
        if not self.conditions[key].joint:
            return True
        *names, number = tag.split()
        singles = (((graph, name, ""), side) for name, side in zip(names, TOGETHER[int(number)], strict=True))
        return all(single in self.reached or single[0] not in self.conditions for single in singles)

    def look(self, x: Array) -> list[Side]:
        """Note the sides at a point; return those that are new."""
        self.looks += 1
        found = self.steering.sides(x)
        if found is None:
            return []
        number, new = len(self.pool), []
        self.pool.append(x)
        for key, sides in found.items():
            self.conditions.setdefault(key, sides.condition)
            for side in (True, False):
                if sides.on(side):
                    if (key, side) not in self.reached:
                        new.append((key, side))
                        self.first[key, side] = number
                    self.reached.add((key, side))
                else:
                    self._note_distance(key, side, sides, number)
        return new

    def _note_distance(self, key: Key, side: bool, sides: Sides, number: int) -> None:
        distance = float(sides.distance(side))
        if np.isfinite(distance):
            self.near.setdefault((key, side), []).append((distance, number))

    def settle(self, x: Array) -> Array:
        """Return the point inside its domain, on numbers of the op's own dtype."""
        low, high = self.lab.layout.inputs.bounds()
        # At the very end of a domain slopes may be infinite, and nothing can be compared.
        width = np.where(np.isfinite(high - low), high - low, 0.0)
        margin = INSIDE * width + INSIDE**2 * (width == 0)
        return in_own_dtypes(self.lab, np.clip(np.nan_to_num(x), low + margin, high - margin))

    def drive(self, side: Side) -> Array | None:
        """Return a point on a side, None if no start leads to one."""
        toward = self.steering.toward(*side)
        least = [np.inf]

        def counted(x: Array, depth: float) -> tuple[bool, float, Array]:
            self.looks += 1
            if self.over:
                return NOWHERE
            found = toward(x, depth)
            least[-1] = min(least[-1], found[1])
            return found

        condition = self.conditions[side[0]]
        starts = JOINT_STARTS if condition.joint else STARTS
        for _, number in sorted(self.near.get(side, []))[:starts]:
            found = reached(counted, self.pool[number], self.settle)
            if found is None and (condition.joint or condition.op not in INEQUALITIES):
                found = rounded(counted, self.pool[number], self.settle)
            if found is not None:
                return deepened(counted, found, self.settle)
            if len(least) > 1 and abs(least[-1] - least[-2]) <= SAME_LEAST * least[-1]:
                # Two ways down end equally far away: that is the least distance there is.
                return None
            least.append(np.inf)
        return None

    def reach(self) -> Reach:
        """Return how many sides there are, how many were reached, and the others."""
        # Those without a line are TensorFlow's own, in the gradients of its ops.
        single = {key: c for key, c in self.conditions.items() if not c.joint and c.file}
        missed = [(key, side) for key, side in self.missing if key in single]
        unreached = tuple(
            Unreached(shown(single[key].file), single[key].line, single[key].op, side, self._why((key, side)))
            for key, side in missed
        )
        only = tuple(f"{shown(c.file)}:{c.line}" for c in self.steering.only_in_grad)
        return Reach(2 * len(single), 2 * len(single) - len(missed), unreached, only)

    def _why(self, side: Side) -> str:
        if self.over:
            return NO_TIME
        distances = {distance for distance, _ in self.near.get(side, [])}
        return NO_SLOPE if len(distances) <= 1 and len(self.pool) > 1 else NOT_FOUND


def searched(lab: Lab, steering: Steering) -> Search:
    """Return the search after every side was looked for, within the number of looks that the op's size allows."""
    search = Search(lab, steering)
    search.look(lab.vector())
    if not search.conditions:
        return search
    looks = int(np.clip(FOLLOWED_OPS / max(steering.size, 1), FEWEST_LOOKS, MOST_LOOKS))
    known = [site.x for site in redraws_and_grid(lab)]
    for x in known:
        if not search.missing or search.over:
            break
        search.look(search.settle(x))
    for x in special_rows(lab):
        if search.over:
            break
        settled = search.settle(x)
        new = search.look(settled)
        search.sites.append(_site(search, settled, new))
    _drive_all(search, looks)
    if any(not search.conditions[key].joint for key, _ in search.missing):
        # They are compared where the op is set up anew.
        search.reached.update(side for _, new in turned(lab) for side in new)
    return search


def _drive_all(search: Search, looks: int) -> None:
    tried: set[Side] = set()
    joints = 0
    while search.looks < looks and len(search.sites) < SITES_REACHED and not search.over:
        side = next((side for side in search.missing if side not in tried), None)
        if side is None:
            return
        tried.add(side)
        if search.conditions[side[0]].joint and (joints := joints + 1) > JOINTS_TRIED:
            return
        x = search.drive(side)
        if x is not None:
            new = search.look(x)
            search.reached.add(side)
            search.sites.append(_site(search, x, [side, *new]))
            # What was beyond reach may be near now.
            tried -= {other for other in tried if other not in search.reached and other in search.near}
            tried.add(side)


def _site(search: Search, x: Array, new: list[Side]) -> BranchSite:
    if not new:
        return BranchSite(x)
    key, side = new[0]
    return BranchSite(x, search.conditions[key], side)


def reached_sites(search: Search) -> Iterator[BranchSite]:
    """Yield the sites, those at which a condition changes its side first."""
    yield from sorted(search.sites, key=lambda site: site.condition is None)


def other_sides(search: Search) -> Iterator[BranchSite]:
    """Yield a point for each side of a single condition that the sample does not have."""
    for (key, side), number in search.first.items():
        condition = search.conditions[key]
        if number and not condition.joint:
            yield BranchSite(search.pool[number], condition, side)

# SPDX-License-Identifier: Apache-2.0
"""Find the one rule that, changed, gives the gradient under test: it is right but for that.

The gradient of the bare forward is a sum over the ops' rules, so that a changed rule costs one product
with how its input depends on the sources.  A change counts only if it gives the gradient at two points
that were drawn independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.backend.tensorflow.switchboard import IGNORED, Group
from gradcheck.diagnose.changes import (
    IGNORED_LINE,
    NEGATED,
    STOPPED,
    TRANSPOSED,
    Change,
    changes_of,
    delta_of,
    ignored,
)
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.diagnose.names_of_ops import NAMES
from gradcheck.diagnose.other_operands import Moved, OtherOperand, Seen, other_operands
from gradcheck.diagnose.other_steps import other_steps
from gradcheck.measure.dissected import Draw
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.numerics.arrays import Array
from gradcheck.scanning.returns import source_at
from gradcheck.verdict.tolerances import (
    CHANGED_COORDINATES,
    CHANGED_LOW_RTOL,
    CHANGED_PAIRS,
    CHANGED_RTOL,
    CHANGED_SCALE,
    LEAST_INNER_FACTOR,
    LINES_CHANGED,
)

# Causes that a change may have, the simplest explanation first (the order is that of issue 22's prototype).
SIMPLE_CAUSES = (
    *("stopped", "mask", "bypassed", "missing-term", "sign-flip", "inner-factor", "transposed", "axis", "operand"),
    "index",
)

TWO_CHANGES = "it is right except for two things:"
_IN_PAIRS = ("stopped", "bypassed", "mask", "sign-flip")


@dataclass(frozen=True, slots=True)
class _Match:
    change: Change
    edges: tuple[Edge | Group, ...]
    clean: bool


def refined(lab: Lab, measurement: Measurement, diagnosis: Diagnosis) -> Diagnosis:
    """Return what one changed rule of the forward says, if one explains the gradient; else what was said before."""
    change = counterfactual(lab, measurement)
    if change is None or (diagnosis.cause, change.cause) == ("constant-factor", "inner-factor"):
        return diagnosis
    if diagnosis.cause == "one-output":
        return replace(diagnosis, message=f"{diagnosis.message}: {change.message}", hint=change.hint)
    # What does not come through an op is the term that is missing.
    missing = (diagnosis.cause, change.cause) == ("missing-term", "stopped")
    return replace(change, cause=diagnosis.cause) if missing else change


def counterfactual(lab: Lab, measurement: Measurement) -> Diagnosis | None:
    """Return the change of one rule (or of two) that explains a wrong gradient, None if none is found."""
    if not _applies(lab, measurement):
        return None
    found: list[_Match] = []
    if lab.layout.inputs.width <= CHANGED_COORDINATES and lab.dissected is not None:
        found = _in_parts(lab, lab.dissected, measurement.part)
    found = found or list(_in_lines(lab, measurement.part))
    if not found:
        return None
    best = min(found, key=lambda match: (not match.clean, SIMPLE_CAUSES.index(match.change.cause), len(match.edges)))
    return _worded(best)


def _in_parts(lab: Lab, draws: tuple[Draw, Draw], part: slice) -> list[_Match]:
    """Return the changes of one op's rule that explain a gradient, or of two."""
    wanted = _wanted(draws, part, lab.precision.op.wide)
    return (
        list(_single(draws, wanted))
        or list(islice(_other_operands(lab, draws, wanted), 1))
        or list(islice(_other_steps(lab, draws, wanted), 1))
        or list(_lines(draws, wanted))
        or list(_pairs(draws, wanted))
    )


def _in_lines(lab: Lab, part: slice) -> Iterator[_Match]:
    """Yield the changes of the rules of a line, every time that it runs or once, that explain a gradient."""
    switched = lab.switched
    if switched is None:
        return
    wanted, numbers = _wanted(switched.draws, part, lab.precision.op.wide), range(len(switched.draws))
    for group, how in islice(((g, how) for g in switched.board.groups for how in g.changes()), LINES_CHANGED):
        deltas = (switched.delta(number, group, how) for number in numbers)
        clean = wanted.explained_by(deltas)
        if clean is not None:
            change = ignored(group.op) if how == IGNORED else _SWITCHED[how]
            yield _Match(change, (group,), clean)


_SWITCHED = {"stopped": STOPPED, "negated": NEGATED, "turned": TRANSPOSED}


def _applies(lab: Lab, measurement: Measurement) -> bool:
    plain = all(slot.plain and not slot.complex for slot in [*lab.slots, *lab.layout.outputs.slots])
    return lab.custom and plain and not (measurement.by_user or lab.random or lab.facts.stateless)


@dataclass(frozen=True, slots=True)
class _Gap:
    """Hold what a change has to add to the bare forward's gradient at one point, and how exactly."""

    gap: Array
    tolerance: float

    def is_closed_by(self, delta: Array) -> bool:
        """Return whether a change gives the gradient under test; True where nothing has to be added."""
        return not self.gap.any() or bool(np.abs(delta - self.gap).max() <= self.tolerance)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Hold the gaps of one input at every point, those of all inputs, and where the input is among them."""

    part: slice
    own: tuple[_Gap, ...]
    whole: tuple[_Gap, ...]

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


def _wanted(draws: Sequence[Draw], part: slice, wide: bool) -> _Wanted:
    return _Wanted(part, *(tuple(_gap(draw, where, wide) for draw in draws) for where in (part, slice(None))))


def _gap(draw: Draw, part: slice, wide: bool) -> _Gap:
    gap = (draw.gradient - draw.right)[part]
    scale = max(np.abs(draw.gradient).max(), np.abs(draw.right).max())
    rtol = CHANGED_RTOL if wide else CHANGED_LOW_RTOL
    return _Gap(gap, float(rtol * np.abs(gap).max(initial=0.0) + CHANGED_SCALE * scale))


def _single(draws: tuple[Draw, Draw], wanted: _Wanted) -> Iterator[_Match]:
    first = draws[0]
    for i, edge in enumerate(first.edges):
        for change, changed in changes_of(edge):
            clean = wanted.explained_by(_delta(draw.edges[i], changed) for draw in draws)
            if clean is not None:
                yield _Match(change, (edge,), clean)
        factor = _factor(first, edge, wanted.part)
        if factor is not None:
            more = ((factor - 1) * (draw.edges[i].spread @ draw.edges[i].part.ravel()) for draw in draws)
            clean = wanted.explained_by(more)
            if clean is not None:
                words = f"what comes through {{op}} has the factor {factor:.6g}"
                change = Change("inner-factor", words, f"divide what comes through {{op}} by {factor:.6g}")
                yield _Match(change, (edge,), clean)


def _other_operands(lab: Lab, draws: tuple[Draw, Draw], wanted: _Wanted) -> Iterator[_Match]:
    """Yield rules that are right but for a value in the place of which they see another one of the forward."""
    for other in other_operands(draws):
        clean = wanted.explained_by(delta_of(draw.edges[other.edge], other.part(draw)) for draw in draws)
        if clean is not None:
            words = f"{{op}} is differentiated with {_seen(lab, draws[0], other)}"
            change = Change("operand", words, f"use {other.own} as it is in the derivative of {{op}}")
            yield _Match(change, (draws[0].edges[other.edge],), clean)


def _other_steps(lab: Lab, draws: tuple[Draw, Draw], wanted: _Wanted) -> Iterator[_Match]:
    """Yield rules that see another value of a loop at every step."""
    for other in other_steps(draws):
        clean = wanted.explained_by(other.delta(draw) for draw in draws)
        if clean is not None:
            seen = _value_named(lab, draws[0], other.seen[0])
            words = f"{{op}} is differentiated at every step with {seen} in the place of {other.own}"
            change = Change("operand", words, f"use {other.own} as it is at that step in the derivative of {{op}}")
            yield _Match(change, (draws[0].edges[other.edges[0]],), clean)


def _seen(lab: Lab, draw: Draw, other: OtherOperand) -> str:
    """Return what a rule sees in words."""
    if isinstance(other.seen, Moved):
        return f"{other.own} {other.seen.how} along axis {other.seen.axis}"
    return f"{_value_named(lab, draw, other.seen)} in the place of {other.own}"


def _value_named(lab: Lab, draw: Draw, seen: Seen) -> str:
    """Return a value of the forward in words: an input by its name, else the op that gives it."""
    value, parts = seen.at(draw), lab.layout.inputs.unpack(lab.precision.point.x)
    for slot, part in zip(lab.slots, parts, strict=True):
        if part.shape == value.shape and np.array_equal(part, value):
            return f"`{slot.name}`"
    edge = draw.edges[seen.edge]
    if seen.given:
        return f"the value of {_named(edge)}"
    maker = next((e for e in draw.edges if e.output.shape == value.shape and np.array_equal(e.output, value)), None)
    return f"what goes into {_named(edge)}" if maker is None else f"the value of {_named(maker)}"


def _lines(draws: tuple[Draw, Draw], wanted: _Wanted) -> Iterator[_Match]:
    """Yield lines whose ops are all ignored: the upstream of the last passes for that of the first."""
    lines: dict[tuple[str, int], list[int]] = {}
    for number, edge in enumerate(draws[0].edges):
        if edge.file:
            lines.setdefault((edge.file, edge.line), []).append(number)
    firsts = [(number, numbers) for numbers in lines.values() for number in numbers]
    for i, j in ((first, last) for first, line in firsts for last in _near_lines(draws[0], first, line, wanted)):
        clean = wanted.explained_by(
            draw.edges[i].spread @ (draw.edges[j].upstream.ravel() - draw.edges[i].part.ravel()) for draw in draws
        )
        if clean is not None:
            yield _Match(IGNORED_LINE, (draws[0].edges[i],), clean)


def _near_lines(draw: Draw, first: int, line: Sequence[int], wanted: _Wanted) -> list[int]:
    """Return the ops of a line whose upstream, in the place of the first op's part, gives the gradient at one point."""
    edge = draw.edges[first]
    last = [j for j in line if draw.edges[j].name != edge.name and draw.edges[j].upstream.size == edge.part.size]
    if not last:
        return []
    upstreams = np.stack([draw.edges[j].upstream.ravel() for j in last], axis=1)
    deltas = edge.spread[wanted.part] @ (upstreams - edge.part.ravel()[:, None])
    near = np.abs(deltas - wanted.own[0].gap[:, None]).max(axis=0) <= wanted.own[0].tolerance
    return [last[k] for k in np.flatnonzero(near)]


def _factor(draw: Draw, edge: Edge, part: slice) -> float | None:
    """Return the factor on what comes through an edge that fits best, None where it is one or nothing comes."""
    through = (edge.spread @ edge.part.ravel())[part]
    size = float(through @ through)
    if size == 0:
        return None
    factor = 1 + float(through @ (draw.gradient - draw.right)[part]) / size
    return factor if min(abs(factor), abs(factor - 1), abs(factor + 1)) > LEAST_INNER_FACTOR else None


@dataclass(frozen=True, slots=True)
class _Simple:
    """Hold a change that may be one of two, and what it does to the gradient at both points."""

    edge: int
    change: Change
    deltas: tuple[Array, ...]


def _pairs(draws: tuple[Draw, Draw], wanted: _Wanted) -> Iterator[_Match]:
    """Yield the first two simple changes that explain the gradient together."""
    for a, b in _near_pairs(list(_simple(draws)), wanted):
        one, other = (draws[0].edges[simple.edge] for simple in (a, b))
        # What a change does depends on the other where the gradient comes through both.
        if a.edge == b.edge or one.name in other.before or other.name in one.before:
            continue
        clean = wanted.explained_by(x + y for x, y in zip(a.deltas, b.deltas, strict=True))
        if clean is not None:
            words = f"{a.change.words.replace('{op}', '{0}')}, and {b.change.words.replace('{op}', '{1}')}"
            hint = f"{a.change.hint.replace('{op}', '{0}')}; {b.change.hint.replace('{op}', '{1}')}"
            yield _Match(Change(a.change.cause, words, hint), (one, other), clean)
            return


def _near_pairs(simple: Sequence[_Simple], wanted: _Wanted) -> Iterator[tuple[_Simple, _Simple]]:
    """Yield the pairs of changes that give the gradient at the first point, all second ones of a first at once."""
    if len(simple) < 2:
        return
    first = np.stack([change.deltas[0][wanted.part] for change in simple])
    for i, delta in enumerate(first[:-1]):
        with np.errstate(all="ignore"):
            near = np.abs(delta + first[i + 1 :] - wanted.own[0].gap).max(axis=1) <= wanted.own[0].tolerance
        for j in np.flatnonzero(near):
            yield simple[i], simple[i + 1 + int(j)]


def _simple(draws: tuple[Draw, Draw]) -> Iterator[_Simple]:
    found = (
        _Simple(i, change, tuple(delta for draw in draws if (delta := _delta(draw.edges[i], changed)) is not None))
        for i, edge in enumerate(draws[0].edges)
        for change, changed in changes_of(edge)
        if change.cause in _IN_PAIRS
    )
    yield from islice((simple for simple in found if len(simple.deltas) == len(draws)), CHANGED_PAIRS)


def _delta(edge: Edge, changed: Callable[[Edge], Array | None]) -> Array | None:
    """Return by how much the gradient of the sources changes with a rule, None where the change cannot be made."""
    with np.errstate(all="ignore"):
        return delta_of(edge, changed(edge))


def _worded(match: _Match) -> Diagnosis:
    named = [_named(edge) for edge in match.edges]
    but = "it is right except that" if len(named) == 1 else TWO_CHANGES
    fill = {"op": named[0]} if len(named) == 1 else {}
    words = match.change.words.format(*named, **fill)
    return Diagnosis(match.change.cause, f"{but} {words}", match.change.hint.format(*named, **fill))


def _named(edge: Edge | Group) -> str:
    """Return an op in words: its name in TensorFlow, the user's line, and which run of it if one is meant."""
    name = NAMES.get(edge.op, edge.op)
    if isinstance(edge, Group) and edge.step is not None:
        name = f"run {edge.step + 1} of {name}"
    if not edge.file:
        return name
    source = source_at(edge.file, edge.line)
    return f"{name} ({source.file}:{source.line}: `{source.text}`)".replace("{", "(").replace("}", ")")

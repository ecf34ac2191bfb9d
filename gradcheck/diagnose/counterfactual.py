# SPDX-License-Identifier: Apache-2.0
"""Find the one rule that, changed, gives the gradient under test: it is right but for that.

The gradient of the bare forward is a sum over the ops' rules, so that a changed rule costs one product
with how its input depends on the sources.  A change counts only if it gives the gradient at two points
that were drawn independently.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from gradcheck.backend.tensorflow.dissection import Edge
from gradcheck.backend.tensorflow.switchboard import IGNORED, Group
from gradcheck.diagnose.changes import (
    NEGATED,
    STOPPED,
    TRANSPOSED,
    Change,
    changes_of,
    delta_of,
    ignored,
)
from gradcheck.diagnose.evidence import Diagnosis
from gradcheck.diagnose.left_out import held_values, ignored_lines, passed_over
from gradcheck.diagnose.matches import Match, Wanted, delta_with, wanted_of
from gradcheck.diagnose.names_of_ops import NAMES
from gradcheck.diagnose.other_operands import Moved, OtherOperand, Seen, other_operands
from gradcheck.diagnose.other_steps import other_steps
from gradcheck.diagnose.two_changes import pairs, two_factors
from gradcheck.measure.dissected import Draw
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import Measurement
from gradcheck.scanning.returns import source_at
from gradcheck.verdict.tolerances import (
    CHANGED_COORDINATES,
    LEAST_INNER_FACTOR,
    LINES_CHANGED,
    SEARCH_SECONDS,
)

# Causes that a change may have, the simplest explanation first (the order is that of issue 22's prototype).
SIMPLE_CAUSES = (
    *("stopped", "mask", "bypassed", "missing-term", "sign-flip", "inner-factor", "transposed", "axis", "operand"),
    "index",
)

TWO_CHANGES = "it is right except for two things:"
_IN_PAIRS = ("stopped", "bypassed", "mask", "sign-flip")


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
    found: list[Match] = []
    if lab.layout.inputs.width <= CHANGED_COORDINATES and lab.dissected is not None:
        found = _in_parts(lab, lab.dissected, measurement.part)
        if not found and lab.dissected_held is not None:
            found = _in_parts(lab, lab.dissected_held, measurement.part)
    found = found or list(_in_lines(lab, measurement.part))
    if not found:
        return None
    best = min(found, key=lambda match: (not match.clean, SIMPLE_CAUSES.index(match.change.cause), len(match.edges)))
    return _worded(best)


def _in_parts(lab: Lab, draws: tuple[Draw, Draw], part: slice) -> list[Match]:
    """Return the changes of one op's rule that explain a gradient, or of two."""
    wanted = wanted_of(draws, part, lab.precision.op.wide)
    return (
        list(_single(draws, wanted))
        or list(ignored_lines(draws, wanted))
        or list(islice(_other_operands(lab, draws, wanted), 1))
        or list(islice(_other_steps(lab, draws, wanted), 1))
        or list(islice(held_values(draws, wanted), 1))
        or list(islice(passed_over(draws, wanted), 1))
        or list(pairs(draws, wanted))
        or list(two_factors(draws, wanted))
    )


def _in_lines(lab: Lab, part: slice) -> Iterator[Match]:
    """Yield the changes of the rules of a line, every time that it runs or once, that explain a gradient."""
    switched = lab.switched
    if switched is None:
        return
    wanted, numbers = wanted_of(switched.draws, part, lab.precision.op.wide), range(len(switched.draws))
    end = time.process_time() + SEARCH_SECONDS
    for group, how in islice(((g, how) for g in switched.board.groups for how in g.changes()), LINES_CHANGED):
        if time.process_time() > end:
            return
        deltas = (switched.delta(number, group, how) for number in numbers)
        clean = wanted.explained_by(deltas)
        if clean is not None:
            change = ignored(group.op) if how == IGNORED else _SWITCHED[how]
            yield Match(change, (group,), clean)


_SWITCHED = {"stopped": STOPPED, "negated": NEGATED, "turned": TRANSPOSED}


def _applies(lab: Lab, measurement: Measurement) -> bool:
    plain = all(slot.plain and not slot.complex for slot in [*lab.slots, *lab.layout.outputs.slots])
    return lab.custom and plain and not (measurement.by_user or lab.random or lab.facts.stateless)


def _single(draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    first = draws[0]
    for i, edge in enumerate(first.edges):
        for change, changed in changes_of(edge):
            clean = wanted.explained_by(delta_with(draw.edges[i], changed) for draw in draws)
            if clean is not None:
                yield Match(change, (edge,), clean)
        factor = _factor(first, edge, wanted.part)
        if factor is not None:
            more = ((factor - 1) * (draw.edges[i].spread @ draw.edges[i].part.ravel()) for draw in draws)
            clean = wanted.explained_by(more)
            if clean is not None:
                words = f"what comes through {{op}} has the factor {factor:.6g}"
                change = Change("inner-factor", words, f"divide what comes through {{op}} by {factor:.6g}")
                yield Match(change, (edge,), clean)


def _other_operands(lab: Lab, draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield rules that are right but for a value in the place of which they see another one of the forward."""
    for other in other_operands(draws):
        clean = wanted.explained_by(delta_of(draw.edges[other.edge], other.part(draw)) for draw in draws)
        if clean is not None:
            words = f"{{op}} is differentiated with {_seen(lab, draws[0], other)}"
            change = Change("operand", words, f"use {other.own} as it is in the derivative of {{op}}")
            yield Match(change, (draws[0].edges[other.edge],), clean)


def _other_steps(lab: Lab, draws: tuple[Draw, Draw], wanted: Wanted) -> Iterator[Match]:
    """Yield rules that see another value of a loop at every step."""
    for other in other_steps(draws):
        clean = wanted.explained_by(other.delta(draw) for draw in draws)
        if clean is not None:
            seen = _value_named(lab, draws[0], other.seen[0])
            words = f"{{op}} is differentiated at every step with {seen} in the place of {other.own}"
            change = Change("operand", words, f"use {other.own} as it is at that step in the derivative of {{op}}")
            yield Match(change, (draws[0].edges[other.edges[0]],), clean)


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


def _factor(draw: Draw, edge: Edge, part: slice) -> float | None:
    """Return the factor on what comes through an edge that fits best, None where it is one or nothing comes."""
    through = (edge.spread @ edge.part.ravel())[part]
    size = float(through @ through)
    if size == 0:
        return None
    factor = 1 + float(through @ (draw.gradient - draw.right)[part]) / size
    return factor if min(abs(factor), abs(factor - 1), abs(factor + 1)) > LEAST_INNER_FACTOR else None


def _worded(match: Match) -> Diagnosis:
    named, at = [_named(edge) for edge in match.edges], [_operand(edge) for edge in match.edges]
    if len(set(zip(at, named, strict=True))) < len(named):
        named = [f"{name}, number {number} of {len(named)}," for number, name in enumerate(named, 1)]
    but = TWO_CHANGES if match.two else "it is right except that"
    fill = {"op": named[0], "at": at[0]} if len(named) == 1 else {"at": at}
    words = match.change.words.format(*named, **fill)
    return Diagnosis(match.change.cause, f"{but} {words}", match.change.hint.format(*named, **fill))


def _operand(edge: Edge | Group) -> str:
    """Return in words which operand of an op an edge goes to, nothing where there is one alone."""
    if isinstance(edge, Group) or edge.op not in _WITH_TWO or not edge.others:
        return ""
    return f"the {'first' if edge.position == 0 else 'second'} operand of "


# Ops whose operands people tell apart by their place.
_WITH_TWO = frozenset(
    {"AddV2", "Sub", "Mul", "RealDiv", "Pow", "Maximum", "Minimum", "SquaredDifference", "MatMul", "BatchMatMulV2"}
)


def _named(edge: Edge | Group) -> str:
    """Return an op in words: its name in TensorFlow, the user's line, and which run of it if one is meant."""
    name = NAMES.get(edge.op, edge.op)
    if isinstance(edge, Group) and edge.step is not None:
        name = f"run {edge.step + 1} of {name}"
    if not edge.file:
        return name
    source = source_at(edge.file, edge.line)
    return f"{name} ({source.file}:{source.line}: `{source.text}`)".replace("{", "(").replace("}", ")")

# SPDX-License-Identifier: Apache-2.0
"""The gradient of the gradient, against finite differences of it and autodiff's second derivative."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import first_line
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.second_derivative import Second, SecondDerivative
from gradcheck.checks.check import OUTPUTS, TENSORS, Check, Item, Need
from gradcheck.diagnose.finding import seen_in
from gradcheck.diagnose.inner_rules import without, wrong_inside
from gradcheck.differences.assess import Outcome, assess
from gradcheck.differences.vector_function import Point
from gradcheck.measure.gradients import tolerance_of
from gradcheck.measure.lab import Lab
from gradcheck.measure.measurement import WITHOUT_SLOPE
from gradcheck.measure.precision import FLOAT64, REWRITTEN
from gradcheck.numerics.arrays import Array, Arrays
from gradcheck.numerics.closeness import largest, worst_first
from gradcheck.numerics.packing import Slot
from gradcheck.numerics.random_streams import signed_uniform
from gradcheck.results import Element, Finding, Skipped
from gradcheck.verdict.tolerances import (
    HALF_SECOND_RTOL,
    HALVES,
    ROUNDOFF,
    SECOND_LIMIT,
    SECOND_NOTHING,
    SECOND_ROUNDINGS,
    SECOND_RTOL,
    SECOND_STEP,
)
from gradcheck.ways import OUTSIDE_TAPE, Way

NAME = "second order"
# In the place of an outcome: the difference has a slope where the second derivative is no number.
FINITE = -1
BLOCKING = frozenset(
    {"gradient-mismatch", "gradient-shape", "gradient-dtype", "gradient-missing", "upstream-nonlinear"}
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """With `order: 2`, differentiate w . gradient and compare it with finite differences of it."""
    second = _second_of(lab)
    values, error = _first_way(lab, second)
    if values is None:
        yield _missing_finding("all inputs", f"differentiating the gradient raises {error}")
        return
    compared = _kept_rules if lab.case.intended else _differences
    slope, outcome, tolerance = compared(lab, second.directions, values)
    wrong = False
    inside = wrong_inside(lab, lambda: _is_right(lab, second, slope, outcome)) if Outcome.WRONG in outcome else None
    for index, (slot, part) in enumerate(zip(lab.slots, lab.layout.inputs.ranges(), strict=True)):
        bad = outcome[part] == Outcome.WRONG
        if values.missing[index]:
            if bad.any() or _large(slope[part], outcome[part]):
                wrong = True
                worst = float(
                    np.nanmax(np.abs(np.where(outcome[part] != Outcome.UNDECIDED, slope[part], 0.0)), initial=0.0)
                )
                yield _missing_finding(slot.name, f"it is None, by finite differences it is up to {worst:.6g}")
            continue
        lost = ~np.isfinite(values.packed[part]) & np.isfinite(slope[part]) & (outcome[part] == FINITE)
        if bad.any():
            wrong = True
            finding = _mismatch(lab, index, part, values.packed, slope, tolerance, bad)
            yield finding if inside is None else _of_inside(finding, inside)
        elif lost.any():
            wrong = True
            yield _nonfinite(slot, values.packed[part], slope[part], lost)
    if not wrong:
        yield from _through_upstream(lab, second)
        yield from _other_ways(lab, second, values)


ORDER_2 = Need(lambda lab: lab.case.order > 1, "the case does not say `order: 2`", option=True)

CHECK = Check(NAME, "second_order", ask, needs=(ORDER_2, TENSORS, OUTPUTS), pointless_after=BLOCKING)


def _nonfinite(slot: Slot, values: Array, slope: Array, lost: np.ndarray) -> Finding:
    first = int(np.argmax(lost))
    return Finding(
        "second-order-mismatch",
        f"the second derivative with respect to `{slot.name}` is {values[first]} at {list(slot.where(first))}; by"
        f" finite differences of the gradient it is {slope[first]:.6g}",
        hint="a power, a root or a division in grad_fn has no derivative there: guard its argument, not its result",
        wrt=slot.name,
    )


def _second_of(lab: Lab) -> SecondDerivative:
    """Return the second derivative along random directions, one for each input and variable."""
    drawn = signed_uniform(lab.rng("second"), lab.layout.inputs.width)
    return SecondDerivative(lab.gradients, lab.layout, lab.upstream, tuple(lab.layout.inputs.unpack(drawn)))


def _through_upstream(lab: Lab, second: SecondDerivative) -> Iterator[Finding]:
    """Compare d(w . gradient)/d upstream with the difference of the forward along w, which it equals."""
    precision = lab.precision
    if lab.case.surrogate or lab.case.expected_vjp or not precision.op.wide:
        return
    direction = lab.layout.inputs.pack(second.directions)
    step = SECOND_STEP * float(np.median(precision.point.sizes)) / max(float(np.abs(direction).max()), 1.0)
    x = precision.point.x
    sides = np.stack([x + step * direction, x - step * direction])
    tried = refused(
        lambda: (
            second.through_upstream(lab.operation),
            second.through_upstream(lab.plain()),
            precision.op.evaluate(sides),
        )
    )
    if tried is None:
        return
    found, plain, (ahead, behind) = tried
    wanted = (ahead - behind) / (2 * step)
    largest = float(np.abs(wanted).max(initial=0.0))
    loose = HALF_SECOND_RTOL if lab.rounds_to_half else SECOND_RTOL
    limit = loose * (np.abs(wanted) + largest)
    # Autodiff, which shares no rule with the op, has to confirm the difference.
    if plain is None or not np.all(np.abs(plain - wanted) <= limit):
        return
    if found is None and largest > SECOND_NOTHING:
        yield _missing_finding("the upstream gradient", "it is None, so a gradient of this gradient loses a part")
    elif found is not None and not np.all(np.abs(found - wanted) <= limit):
        worst = int(np.argmax(np.abs(found - wanted)))
        yield Finding(
            "second-order-mismatch",
            f"the derivative of the gradient with respect to the upstream is wrong: {found[worst]:.6g}, by finite"
            f" differences {wanted[worst]:.6g}",
            hint="the gradient must be differentiable in the upstream too: no tf.stop_gradient or .numpy() on it",
        )


def _large(slope: Array, outcome: np.ndarray) -> bool:
    decided = outcome != Outcome.UNDECIDED
    return bool(np.any(np.abs(slope[decided]) > SECOND_NOTHING))


def _missing_finding(name: str, how: str) -> Finding:
    return Finding(
        "second-order-missing",
        f"there is no second derivative with respect to {_quoted(name)}: {how}",
        hint="look for tf.stop_gradient, .numpy() or numpy_function in grad_fn; or set `order: 1`",
        wrt=None if name in ("all inputs", "the upstream gradient") else name,
    )


def _quoted(name: str) -> str:
    return name if " " in name else f"`{name}`"


def _mismatch(
    lab: Lab,
    index: int,
    part: slice,
    values: Array,
    slope: Array,
    tolerance: Array,
    bad: np.ndarray,
) -> Finding:
    slot = lab.slots[index]
    point = lab.vector()[part]
    plain = _autodiff(lab)
    elements = []
    for i in worst_first(bad, values[part], slope[part], lab.show):
        g, t = float(values[part][i]), float(slope[part][i])
        a = None if plain is None else float(plain[part][i])
        elements.append(
            Element(slot.where(int(i)), float(point[i]), g, a, t, abs(g - t), abs(g - t) / (abs(t) or 1.0),
                    float(tolerance[part][i]))
        )  # fmt: skip
    return Finding(
        "second-order-mismatch",
        f"the second derivative with respect to `{slot.name}` is wrong at {int(bad.sum())} of {bad.size} elements:"
        " finite differences of the gradient say otherwise",
        hint="grad_fn hides how the gradient depends on the input: compute it from the inputs with TensorFlow ops",
        wrt=slot.name,
        elements=tuple(elements),
        wrong=int(bad.sum()),
    )


def _of_inside(finding: Finding, name: str) -> Finding:
    return replace(
        finding,
        message=f"{finding.message}. {without(name)}",
        hint=f"correct the gradient of `{name}`: write a case for it",
    )


def _is_right(lab: Lab, second: SecondDerivative, slope: Array, outcome: np.ndarray) -> bool:
    """Return whether the second derivative, as the recorder lets rules run now, is that of the differences."""
    found = refused(lambda: second.of(lab.operation, lab.first_way, wide=False))
    decided = outcome != Outcome.UNDECIDED
    if found is None or not decided.any():
        return False
    got, wanted = found.packed[decided], slope[decided]
    return bool(np.all(np.abs(got - wanted) <= _allowed(lab, wanted)))


def _allowed(lab: Lab, wanted: Array) -> Array:
    """Return how far a second derivative in the op's own dtype may be from the wanted one."""
    loose = HALF_SECOND_RTOL if lab.rounds_to_half else SECOND_RTOL
    return np.asarray(loose * (np.abs(wanted) + largest(wanted)))


def _autodiff(lab: Lab) -> Array | None:
    second = _second_of(lab)
    found = refused(lambda: second.of(lab.plain(), lab.first_way, wide=False))
    return None if found is None else found.packed


def _first_way(lab: Lab, second: SecondDerivative) -> tuple[Second | None, str]:
    """Return the second derivative in the precision of the first one, else in the op's own dtype."""
    op = lab.precision.op
    attempts: list[Callable[[], Second]] = []
    if op.name == FLOAT64:
        attempts.append(lambda: second.of(lab.operation, lab.first_way, wide=True))
    elif op.name == REWRITTEN:
        variables = [v.variable for v in lab.every_variable]
        attempts.append(lambda: second.in_rewritten_graph(lab.operation, variables))
    attempts.append(lambda: second.of(lab.operation, lab.first_way, wide=False))
    message = ""
    for attempt in attempts:
        try:
            return attempt(), ""
        except Exception as error:
            if own_fault(error):
                raise
            message = first_line(error)
    return None, message


def _kept_rules(lab: Lab, directions: Arrays, values: Second) -> tuple[Array, Any, Array]:
    """Return autodiff's second derivative through the inner rules that are `intended`: no difference sees those."""
    plain = _autodiff(lab)
    if plain is None:
        nothing = np.full(values.packed.size, np.nan)
        return nothing, np.full(nothing.size, Outcome.UNDECIDED, np.int8), nothing
    limit = _allowed(lab, plain) + SECOND_NOTHING
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(values.packed - plain) <= limit) & np.isfinite(plain)
    return plain, np.where(wrong, Outcome.WRONG, Outcome.AGREES).astype(np.int8), limit


def _differences(lab: Lab, directions: Arrays, values: Second) -> tuple[Array, Any, Array]:
    """Return differences of w . g along every coordinate, in the widest precision of the first derivative."""
    precision = lab.precision
    op, base = precision.op, precision.point
    packed = lab.layout.inputs.pack(directions)

    def evaluate(rows: Array) -> Array:
        return np.stack([op.gradient(row, base.cotangent) for row in rows])

    point = Point(
        evaluate, base.x, evaluate(base.x[None])[0], packed, base.low, base.high, base.roundoff, base.quantize
    )
    tolerance = tolerance_of(lab, precision)
    chosen = np.arange(base.x.size)
    if chosen.size > SECOND_LIMIT:
        chosen = np.sort(lab.rng("second sample").choice(chosen, SECOND_LIMIT, replace=False))
    part = assess(point, values.packed, tolerance, lab.rng("second differences"), chosen, precision.trusted)
    count = base.x.size
    slope, limit = np.full(count, np.nan), np.zeros(count)
    outcome = np.full(count, Outcome.UNDECIDED, np.int8)
    slope[chosen], limit[chosen], outcome[chosen] = part.value, part.tolerance, part.outcome
    # Where the value under test is no number, nothing is decided; where there is a slope is known all the same.
    smooth = ~np.isin(part.label, WITHOUT_SLOPE) & ~np.isfinite(values.packed[chosen])
    outcome[chosen[smooth]] = FINITE
    return slope, outcome, limit


def _other_ways(lab: Lab, second: SecondDerivative, base: Second) -> Iterator[Finding | Skipped]:
    """Compare the other modes and tapes with the first way, each in the op's own dtype."""
    own, ways = refused(lambda: second.of(lab.operation, lab.first_way, wide=False)), lab.ways
    if own is not None and own.missing == base.missing:
        # The first way itself is compared where the graph that was differentiated has more.
        base, ways = own, lab.ways[1:]
    # What is zero in one input has the rounding of what is not in others.
    rounding = SECOND_ROUNDINGS * ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"]) * largest(base.packed)
    for way in ways:
        try:
            got = second.of(lab.operation, way, wide=False)
        except Exception as error:
            if own_fault(error):
                raise
            if way.tape == OUTSIDE_TAPE and re.search("out of scope|cannot be accessed|inaccessible", str(error)):
                reason = "TensorFlow cannot differentiate a custom gradient twice this way"
                yield Skipped(f"{NAME}: {way.label}", reason)
                continue
            if _plain_works(lab, way, second):
                why = f"in {way.label}, differentiating the gradient raises {first_line(error)}"
                yield seen_in(way, _missing_finding("all inputs", why))
                return
            continue
        for slot, part, a, b in zip(lab.slots, lab.layout.inputs.ranges(), base.missing, got.missing, strict=True):
            x, y = base.packed[part], got.packed[part]
            scale = float(np.abs(x).max(initial=0.0))
            if b and not a and scale > SECOND_NOTHING and _plain_works(lab, way, second):
                yield seen_in(way, _missing_finding(slot.name, f"it is None in {way.label} only"))
                return
            loose = HALF_SECOND_RTOL if lab.dtype in HALVES else SECOND_RTOL
            if not a and not b and np.any(np.abs(x - y) > loose * (np.abs(x) + scale) + rounding):
                finding = Finding(
                    "second-order-mismatch",
                    f"the second derivative with respect to `{slot.name}` differs between {lab.first_way.label} and"
                    f" {way.label}",
                    hint="a custom gradient inside grad_fn may be bypassed in one of them",
                    wrt=slot.name,
                )
                yield seen_in(way, finding)
                return


def _plain_works(lab: Lab, way: Way, second: SecondDerivative) -> bool:
    found = refused(lambda: second.of(lab.plain(), way, wide=False))
    return found is not None and not all(found.missing)

# SPDX-License-Identifier: Apache-2.0
"""Name the mistake behind a wrong gradient, each cause by a stated test; `unknown`, never a guess."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from gradcheck.diagnose.evidence import Diagnosis, Evidence, close, explained
from gradcheck.diagnose.given import at_given
from gradcheck.diagnose.other_places import not_transposed, permuted, reversed_along, scattered, shifted, transposed
from gradcheck.diagnose.regions import diagonal_or_not, moving_elements, part_of_complex, region_or_elements
from gradcheck.differences.ladder import Label
from gradcheck.numerics.arrays import Array
from gradcheck.scanning.syntax import as_multiplier
from gradcheck.verdict.tolerances import (
    CLOSE,
    COUNTABLE,
    DENOMINATORS,
    FACTOR_LEFT_OVER,
    FRACTION_RTOL,
    LEFT_OVER,
    LONG_ENOUGH,
    MAX_TERMS,
    MOST_AXES,
    VANISHING,
    WEAK,
    ZERO_ATOL,
    ZERO_RTOL,
)

UNNAMED = "the gradient matches none of the usual mistakes"
LACKING = "what it lacks"


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return the first cause whose test is met, the most specific tests first."""
    tests: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
        _straight_through,
        _zero,
        _one_output,
        _sign_flip,
        _exchanged,
        _factor,
        transposed,
        not_transposed,
        _swapped,
        part_of_complex,
        reversed_along,
        shifted,
        permuted,
        scattered,
        diagonal_or_not,
        region_or_elements,
        _missing_term,
        _changed_term,
        _missing_sum,
        moving_elements,
        _one_factor,
    )
    for test in tests:
        diagnosis = test(evidence)
        if diagnosis is not None:
            return _with_given(evidence, diagnosis) if diagnosis.cause == "elements" else diagnosis
    if evidence.upstream is not None and close(evidence.gradient, evidence.upstream, evidence.usable):
        return Diagnosis(
            "bypassed", "it is the upstream gradient unchanged", "multiply upstream by the op's derivative"
        )
    return Diagnosis("unknown", UNNAMED)


def _with_given(e: Evidence, diagnosis: Diagnosis) -> Diagnosis:
    """Return where elements are wrong with what the inputs that are not differentiated are there."""
    found = at_given(np.asarray(e.wrong.any(axis=-1)) if e.complex else e.wrong, e.given)
    if found is None:
        return diagnosis
    where, hint = found
    return replace(diagnosis, message=f"{diagnosis.message}, {where}", hint=hint)


def _straight_through(e: Evidence) -> Diagnosis | None:
    # A maximum or a mask is also flat at the elements that do not count, but not everywhere.
    flat = np.isin(e.labels, (Label.FLAT, Label.STAIRCASE, Label.JUMP))
    if not flat.all() or np.any(np.abs(e.reference[e.wrong]) > 0):
        return None
    if not e.reaches:
        return _no_effect(e)
    return Diagnosis(
        "straight-through",
        "the forward is constant or a staircase here, and the gradient is not zero",
        "if this is meant, declare the function whose gradient it is: `surrogate: identity` (and define"
        " `identity` in the module)",
    )


def _no_effect(e: Evidence) -> Diagnosis:
    names = ", ".join(f"`{name}`" for name in e.given)
    message = "the outputs do not depend on this input, however it changes, and the gradient is not zero"
    hint = "return None or zeros for it; declare an index or a flag with `differentiate: none`"
    if names:
        message = f"with these values of {names} {message}"
        hint = f"let the gradient through only where the forward takes this input: look at {names}; or {hint}"
    return Diagnosis("no-effect", message, hint)


def _zero(e: Evidence) -> Diagnosis | None:
    largest = float(np.abs(e.reference[e.usable]).max(initial=0.0))
    if np.any(np.abs(e.gradient[e.usable]) > ZERO_RTOL * largest):
        return None
    most = float(np.abs(e.gradient[e.usable]).max(initial=0.0))
    said = "the gradient is zero everywhere, the reference is not"
    if most:
        said = f"the gradient is at most {most:.3g}, next to nothing beside the reference of {largest:.3g}"
    return Diagnosis("zero", said, "return the gradient of this input")


def _sign_flip(e: Evidence) -> Diagnosis | None:
    if not explained(e, -e.reference):
        return None
    return Diagnosis("sign-flip", "the gradient is minus the reference", "change the sign of the returned gradient")


def _factor(e: Evidence) -> Diagnosis | None:
    g, r = e.gradient[e.usable], e.reference[e.usable]
    size = float(np.abs(r).max()) if r.size else 0.0
    strong = np.abs(r) > WEAK * size
    if not strong.any() or not np.isfinite(g).all():
        return None
    ratio = float(np.median(g[strong] / r[strong]))
    if ratio == 0 or not explained(e, ratio * e.reference, FACTOR_LEFT_OVER):
        return None
    counted = _element_count(ratio, e)
    if r.size == 1 and counted is None and not _simple(ratio):
        return None
    if counted is not None:
        count, what = counted
        return Diagnosis(
            "mean-not-sum",
            f"gradient / reference = {ratio:.6g}: off by {what}, {count}",
            f"divide the gradient by {count}: the forward takes a mean, so that each element has 1/{count} of it"
            if ratio > 1
            else f"multiply the gradient by {count}: where grad_fn takes a mean, write tf.reduce_sum",
        )
    return Diagnosis(
        "constant-factor",
        f"gradient / reference = {ratio:.6g} at every element",
        _undone(ratio),
    )


def _undone(ratio: float) -> str:
    """Return what takes a factor out of the gradient: of a third, to multiply by 3."""
    inverse = as_multiplier(ratio, FRACTION_RTOL)
    return f"divide the gradient by {ratio:.6g}" if inverse is None else f"multiply the gradient by {inverse:.6g}"


def _simple(ratio: float) -> bool:
    """Return whether a ratio is a fraction people write, to the last digits: one element alone proves no factor."""
    return any(abs(ratio * d - round(ratio * d)) < VANISHING * abs(ratio * d) for d in range(1, DENOMINATORS + 1))


def _element_count(ratio: float, e: Evidence) -> tuple[int, str] | None:
    """Return the count of elements that a ratio equals, and what it counts: those that a mean would have divided by."""
    size = math.prod(e.shape)
    candidates: dict[int, str] = {}
    for shape in e.output_shapes:
        for count in _summed(e.shape, shape):
            candidates.setdefault(count, "the number of elements per output")
        for count in _summed(shape, e.shape):
            candidates.setdefault(count, "the number of outputs per element")
    for axis, count in enumerate(e.shape):
        if count in candidates:
            candidates[count] = f"the size of axis {axis}"
    if size >= COUNTABLE:
        candidates[size] = "the number of elements"
    for count, what in sorted(candidates.items()):
        if count > 1 and any(abs(ratio - c) <= CLOSE * c for c in (count, 1 / count)):
            return count, what
    return None


def _summed(shape: tuple[int, ...], result: tuple[int, ...]) -> set[int]:
    """Return over how many elements a sum can go that makes `result` of `shape`: the axes that it leaves out."""
    left = [n for n in result if n > 1]
    axes = [n for n in shape if n > 1]
    if len(axes) > MOST_AXES:
        return set()
    kept = (chosen for chosen in combinations(range(len(axes)), len(left)) if [axes[i] for i in chosen] == left)
    counts = {math.prod(n for i, n in enumerate(axes) if i not in chosen) for chosen in kept}
    return counts - {1}


def _exchanged(e: Evidence) -> Diagnosis | None:
    """Name the input that got this one's gradient while its own came here."""
    for name, (gradient, reference) in e.others.items():
        if (
            explained(e, reference)
            and close(gradient, e.reference, e.usable)
            and not close(gradient, reference, e.usable)
        ):
            return _of_another(f"`{name}`, and the other way round")
    return None


def _swapped(e: Evidence) -> Diagnosis | None:
    for name, (_, reference) in e.others.items():
        if explained(e, reference):
            return _of_another(f"`{name}`")
    return None


def _of_another(name: str) -> Diagnosis:
    return Diagnosis(
        "swapped-inputs",
        f"the gradient equals the reference of {name}",
        "return the gradients in the order of the op's arguments",
    )


def _one_output(e: Evidence) -> Diagnosis | None:
    if len(e.outputs) < 2:
        return None
    bad = [name for name, g, r in e.outputs if not close(g, r, e.usable) and not _both_zero(g, r)]
    reached = [name for name, g, r in e.outputs if not _both_zero(g, r)]
    # Of an input that reaches one output only the output says nothing.
    if len(bad) != 1 or len(reached) < 2:
        return None
    said, hint = (
        f"only the part that comes from {bad[0]} is wrong",
        f"look at how grad_fn uses the upstream of {bad[0]}",
    )
    g, r = next((g, r) for name, g, r in e.outputs if name == bad[0])
    part = Evidence(g, r, np.asarray(g != r), e.usable, e.labels, e.output_shapes, complex=e.complex)
    detail = next((found for test in _OF_A_PART if (found := test(part))), None)
    if detail is None:
        return Diagnosis("one-output", said, hint, tentative=True)
    if detail.cause == "zero":
        return Diagnosis("one-output", f"nothing comes from {bad[0]}", f"add what comes from the upstream of {bad[0]}")
    return Diagnosis("one-output", f"{said}: there {detail.message}", f"{hint}: {detail.hint}")


def _both_zero(g: Array, r: Array) -> bool:
    return not np.any(g) and not np.any(np.abs(r) > ZERO_ATOL)


# What may be said of the part of one output.
_OF_A_PART = (_zero, _sign_flip, _factor, transposed, reversed_along, shifted)


def _missing_term(e: Evidence) -> Diagnosis | None:
    if e.diagonal is not None and explained(e, e.diagonal):
        return Diagnosis(
            "missing-term",
            "only the effect of each element on its own output is there; its effect on the others is missing",
            "add the cross terms of the Jacobian",
        )
    for part, which in _parts(e):
        if explained(e, e.reference - part, _left_by_chance(e)):
            return Diagnosis(
                "missing-term",
                f"the gradient equals the reference without {which}",
                "add the missing term (product rule, or a second use of the input)",
                tentative=e.gradient.size == 1,
            )
    return None


def _changed_term(e: Evidence) -> Diagnosis | None:
    for part, which in _parts(e):
        if explained(e, e.reference - 2 * part, _left_by_chance(e)):
            return Diagnosis(
                "sign-flip",
                f"the gradient equals the reference with the sign of {which} changed",
                "change the sign of that term (a quotient or a norm in the forward gives a minus)",
                tentative=e.gradient.size == 1,
            )
        if explained(e, e.reference + part, _left_by_chance(e)):
            words = f"the gradient equals the reference with {which} twice"
            return Diagnosis("inner-factor", words, "count that term once", tentative=e.gradient.size == 1)
    return None


def _left_by_chance(e: Evidence) -> float:
    """Return what may be left of the error: of a single number little, as some sum of terms is near any number."""
    return LEFT_OVER if e.gradient.size > 1 else FRACTION_RTOL


def _parts(e: Evidence) -> Iterator[tuple[Array, str]]:
    """Yield sums of some of the terms of the reference, the smallest sums first, with their name."""
    terms = list(e.terms)[:MAX_TERMS]
    for count in range(1, len(terms)):
        for chosen in combinations(range(len(terms)), count):
            part = sum((terms[i] for i in chosen), np.zeros_like(e.reference))
            if np.any(np.abs(part) > 0):
                yield part, f"{count} of the {len(terms)} terms through which the input reaches the output"


def _missing_sum(e: Evidence) -> Diagnosis | None:
    """Name an error that is, in every row, one number times a pattern, as in a softmax without its sum."""
    if e.complex or not e.usable.all():
        return None
    error = e.gradient - e.reference
    for axis in range(len(e.shape)):
        if e.shape[axis] < LONG_ENOUGH:
            continue
        for name, pattern in e.patterns.items():
            strength = np.sum(pattern * pattern, axis, keepdims=True)
            if pattern.shape != error.shape or not np.all(strength > 0):
                continue

            # Where all of the gradient is such a multiple, so is any error.
            if _left_over(error, pattern, axis) <= CLOSE < _left_over(e.gradient, pattern, axis):
                return Diagnosis(
                    "missing-term",
                    f"{LACKING} is, along axis {axis}, one number times {name}: a term that sums over the axis",
                    f"add the term that sums upstream over axis {axis}: a softmax, a mean and a norm mix elements",
                    tentative=True,
                )
    return None


def _one_factor(e: Evidence) -> Diagnosis | None:
    """Name a power of the input or the output by which the gradient is off, as after a wrong exponent."""
    for name, pattern in e.patterns.items():
        if pattern.shape != e.reference.shape or not np.all(pattern != 0) or np.ptp(np.abs(pattern)) == 0:
            continue
        for power, factor in ((1, name), (2, f"{name} squared"), (-1, f"1 / {name}"), (-2, f"1 / {name} squared")):
            if explained(e, e.reference * pattern**power):
                extra = "too much" if power > 0 else "missing"
                times = name if abs(power) == 1 else f"{name} squared"
                return Diagnosis(
                    "operand",
                    f"gradient / reference = {factor} at every element",
                    f"a factor, {times}, is {extra}: look at the exponents",
                )
    return None


def _left_over(values: Array, pattern: Array, axis: int) -> float:
    """Return the share of values that is not, along an axis, one number times a pattern."""
    strength = np.sum(pattern * pattern, axis, keepdims=True)
    fitted = np.sum(values * pattern, axis, keepdims=True) / strength * pattern
    return float(np.linalg.norm(values - fitted) / (np.linalg.norm(values) or 1.0))

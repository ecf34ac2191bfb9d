"""Name the mistake behind a wrong gradient, each cause by a stated test; `unknown`, never a guess."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gradcheck.numerics.ladder import Array, Label

CLOSE = 1e-3
LEFT_OVER = 0.02
# Two factors that differ by a hundredth of what they are off by are two.
FACTOR_LEFT_OVER = 0.005
ROUNDING = 1e-9
MAX_TERMS = 8
SEPARATED = 3
FADING = 0.02
# Fewer numbers than this are easily multiples of anything.
LONG_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """Hold another draw of the input: its values, where the gradient was wrong, and where it was right.

    Neither is an element at which the error is only too small to matter.
    """

    input: Array
    wrong: NDArray[np.bool_]
    right: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold what is known about one wrong gradient; arrays have the input's shape.

    `usable` marks elements with a reference; `others` maps the other inputs to their
    (gradient, reference); `terms` are the parts of the reference that come through each use
    of the input; `outputs` pairs (gradient, reference) for the upstream of one output alone;
    `trials` are further draws, the case's own first; `reaches` says whether the outputs depend on
    the input at all; `patterns` are what a sum over an axis is multiplied with (the output, ...).
    Complex inputs have a last axis of two.
    """

    gradient: Array
    reference: Array
    wrong: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    labels: NDArray[np.int8]
    output_size: int
    others: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    terms: Sequence[Array] = ()
    outputs: Sequence[tuple[str, Array, Array]] = ()
    trials: Sequence[Trial] = ()
    diagonal: Array | None = None
    upstream: Array | None = None
    complex: bool = False
    reaches: bool = True
    patterns: Mapping[str, Array] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the input."""
        return self.gradient.shape[:-1] if self.complex else self.gradient.shape

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Return where gradient or reference is not zero: elsewhere it is right whatever the formula."""
        return np.asarray((self.gradient != 0) | (self.reference != 0))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Name a cause, say what was seen and what to change."""

    cause: str
    message: str
    hint: str | None = None


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


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return the first cause whose test is met, the most specific tests first."""
    tests: tuple[Callable[[Evidence], Diagnosis | None], ...] = (
        _straight_through,
        _zero,
        _one_output,
        _sign_flip,
        _factor,
        _transposed,
        _swapped,
        _part_of_complex,
        _diagonal_or_not,
        _region_or_elements,
        _missing_term,
        _missing_sum,
        _moving_elements,
    )
    for test in tests:
        diagnosis = test(evidence)
        if diagnosis is not None:
            return diagnosis
    if evidence.upstream is not None and close(evidence.gradient, evidence.upstream, evidence.usable):
        return Diagnosis("unknown", "it is the upstream gradient unchanged", "multiply upstream by the op's derivative")
    return Diagnosis("unknown", "the gradient matches none of the usual mistakes")


def _straight_through(e: Evidence) -> Diagnosis | None:
    # A maximum or a mask is also flat at the elements that do not count, but not everywhere.
    flat = np.isin(e.labels, (Label.FLAT, Label.STAIRCASE, Label.JUMP))
    if not flat.all() or np.any(np.abs(e.reference[e.wrong]) > 0):
        return None
    if not e.reaches:
        return Diagnosis(
            "unknown",
            "the outputs do not depend on this input, however it changes, and the gradient is not zero",
            "return None or zeros for it; declare an index or a flag with `differentiate: none`",
        )
    return Diagnosis(
        "straight-through",
        "the forward is constant or a staircase here, and the gradient is not zero",
        "if this is meant, declare the function whose gradient it is: `surrogate: identity` (and define"
        " `identity` in the module)",
    )


def _zero(e: Evidence) -> Diagnosis | None:
    largest = float(np.abs(e.reference[e.usable]).max(initial=0.0))
    if np.any(np.abs(e.gradient[e.usable]) > ROUNDING * largest):
        return None
    return Diagnosis(
        "zero", "the gradient is zero everywhere, the reference is not", "return the gradient of this input"
    )


def _sign_flip(e: Evidence) -> Diagnosis | None:
    if not explained(e, -e.reference):
        return None
    return Diagnosis("sign-flip", "the gradient is minus the reference", "change the sign of the returned gradient")


def _factor(e: Evidence) -> Diagnosis | None:
    g, r = e.gradient[e.usable], e.reference[e.usable]
    size = float(np.abs(r).max()) if r.size else 0.0
    strong = np.abs(r) > 1e-3 * size
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
            f"{'divide' if ratio > 1 else 'multiply'} the gradient by {count}: a mean is a sum divided by the count",
        )
    return Diagnosis(
        "constant-factor",
        f"gradient / reference = {ratio:.6g} at every element",
        f"divide the gradient by {ratio:.6g}",
    )


def _simple(ratio: float) -> bool:
    """Return whether a ratio is a fraction people write; one element alone proves no factor."""
    return any(abs(ratio * d - round(ratio * d)) < 1e-4 * abs(ratio * d) for d in range(1, 13))


def _element_count(ratio: float, e: Evidence) -> tuple[int, str] | None:
    """Return the count of elements that a ratio equals, and what it counts."""
    size, out = math.prod(e.shape), e.output_size
    candidates = {size: "the number of elements", out: "the number of outputs"}
    if out < size:
        candidates |= {size // out: "the number of elements per output"} if out else {}
        candidates = {n: f"the size of axis {axis}" for axis, n in enumerate(e.shape)} | candidates
    elif size < out:
        candidates |= {out // max(size, 1): "the number of outputs per element"}
    for count, what in sorted(candidates.items()):
        if count >= (2 if size != out else 5) and any(abs(ratio - c) <= CLOSE * c for c in (count, 1 / count)):
            return count, what
    return None


def _transposed(e: Evidence) -> Diagnosis | None:
    for i, j in combinations(range(len(e.shape)), 2):
        swapped = np.swapaxes(e.reference, i, j)
        if swapped.shape == e.gradient.shape and explained(e, swapped):
            return Diagnosis(
                "transposed",
                f"the gradient equals the reference with axes {i} and {j} exchanged",
                "transpose the returned gradient",
            )
    return None


def _swapped(e: Evidence) -> Diagnosis | None:
    for name, (gradient, reference) in e.others.items():
        if explained(e, reference):
            back = close(gradient, e.reference, e.usable)
            also = ", and the other way round" if back else ""
            return Diagnosis(
                "swapped-inputs",
                f"the gradient equals the reference of `{name}`{also}",
                "return the gradients in the order of the op's arguments",
            )
    return None


def _one_output(e: Evidence) -> Diagnosis | None:
    if len(e.outputs) < 2:
        return None
    bad = [name for name, g, r in e.outputs if not close(g, r, e.usable) and not _both_zero(g, r)]
    if len(bad) != 1:
        return None
    return Diagnosis(
        "one-output",
        f"only the part that comes from {bad[0]} is wrong",
        f"look at how grad_fn uses the upstream of {bad[0]}",
    )


def _both_zero(g: Array, r: Array) -> bool:
    return not np.any(g) and not np.any(np.abs(r) > 1e-12)


def _missing_term(e: Evidence) -> Diagnosis | None:
    if e.diagonal is not None and explained(e, e.diagonal):
        return Diagnosis(
            "missing-term",
            "only the effect of each element on its own output is there; its effect on the others is missing",
            "add the cross terms of the Jacobian",
        )
    terms = list(e.terms)[:MAX_TERMS]
    if len(terms) < 2:
        return None
    for count in range(1, len(terms)):
        for chosen in combinations(range(len(terms)), count):
            missing = sum((terms[i] for i in chosen), np.zeros_like(e.reference))
            if np.any(np.abs(missing) > 0) and explained(e, e.reference - missing):
                return Diagnosis(
                    "missing-term",
                    f"the gradient equals the reference without {count} of the {len(terms)} terms through which"
                    " the input reaches the output",
                    "add the missing term (product rule, or a second use of the input)",
                )
    return None


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
            fitted = np.sum(error * pattern, axis, keepdims=True) / strength * pattern
            if np.linalg.norm(error - fitted) <= CLOSE * np.linalg.norm(error):
                return Diagnosis(
                    "missing-term",
                    f"what it lacks is, along axis {axis}, one number times {name}: a term that sums over the axis",
                    f"add the term that sums upstream over axis {axis}: a softmax, a mean and a norm mix elements",
                )
    return None


def _part_of_complex(e: Evidence) -> Diagnosis | None:
    if not e.complex:
        return None
    real, imaginary = e.wrong[..., 0].any(), e.wrong[..., 1].any()
    if real == imaginary:
        return None
    part = "real" if real else "imaginary"
    return Diagnosis(
        "elements",
        f"wrong only in the {part} part",
        "TensorFlow's gradient of f is upstream * conj(df/dz): see what the derivative does to the"
        f" {part} part of its input",
    )


def _diagonal_or_not(e: Evidence) -> Diagnosis | None:
    if e.complex or len(e.shape) < 2 or e.shape[-1] != e.shape[-2] or e.shape[-1] < 3:
        return None
    diagonal = np.broadcast_to(np.eye(e.shape[-1], dtype=bool), e.shape)
    for place, where in ((diagonal, "on"), (~diagonal, "off")):
        if np.array_equal(e.wrong, place & e.alive) and np.any(e.alive & ~place):
            hint = "look at the term that reaches only these entries (a trace, a determinant, a symmetric part)"
            return Diagnosis("elements", f"wrong only {where} the diagonal", hint)
    return None


def _region_or_elements(e: Evidence) -> Diagnosis | None:
    if e.wrong[e.alive].all() and all(t.wrong.all() for t in e.trials[1:]):
        return None
    values = np.concatenate([t.input.ravel() for t in e.trials]) if e.trials else np.zeros(0)
    wrong = np.concatenate([t.wrong.ravel() for t in e.trials]) if e.trials else np.zeros(0, bool)
    right = np.concatenate([t.right.ravel() for t in e.trials]) if e.trials else np.zeros(0, bool)
    # An error that fades away has no border.
    fading = np.mean(~wrong & ~right) > FADING if wrong.size else False
    # The same place at every draw, whatever its value, is a place and not a range.
    same_place = len(e.trials) > 1 and all(np.array_equal(t.wrong, e.trials[0].wrong) for t in e.trials)
    if not same_place and not fading and wrong.any() and right.any():
        region = _region(values[wrong | right], wrong[wrong | right], certain=len(e.trials) > 1)
        if region is not None:
            return Diagnosis(
                "region",
                f"wrong only where the input {region}",
                f"look at the branch of grad_fn for inputs that are so ({region})",
            )
    if same_place or len(e.trials) <= 1:
        return _elements(e)
    return None


def _region(values: Array, wrong: NDArray[np.bool_], certain: bool) -> str | None:
    """Return the range of the input, or of its size, that separates wrong from right values."""
    if not certain and min(np.count_nonzero(wrong), np.count_nonzero(~wrong)) < SEPARATED:
        return None
    region = _range_of(values, wrong)
    if region is not None:
        return region
    region = _range_of(np.abs(values), wrong)
    return f"in size {region}" if region is not None else None


def _range_of(values: Array, wrong: NDArray[np.bool_]) -> str | None:
    """Return the range that holds every wrong value and no right one, None if there is none."""
    bad, good = values[wrong], values[~wrong]
    low, high = float(bad.min()), float(bad.max())
    if ((good >= low) & (good <= high)).any():
        return None
    if low == high and bad.size > 1:
        return f"is {low:g}"
    below, above = good[good < low], good[good > high]
    if not below.size and not above.size:
        return None
    if not below.size:
        return f"is below {_border(high, float(above.min()))}"
    if not above.size:
        return f"is above {_border(low, float(below.max()))}"
    if bad.size < 2:
        return None
    return f"is between {_border(low, float(below.max()))} and {_border(high, float(above.min()))}"


def _border(inner: float, outer: float) -> str:
    """Return the roundest number between two values."""
    low, high = min(inner, outer), max(inner, outer)
    if low <= 0 <= high:
        return "0"
    for digits in range(1, 5):
        rounded = float(f"{(low + high) / 2:.{digits}g}")
        if low <= rounded <= high:
            return f"{rounded:g}"
    return f"{(low + high) / 2:.4g}"


def _elements(e: Evidence) -> Diagnosis | None:
    wrong = e.wrong.any(axis=-1) if e.complex else e.wrong
    places = np.argwhere(wrong)
    count, total = len(places), wrong.size
    if count == 0 or count > total / 2 or total < 2 or e.wrong[e.alive].all():
        return None
    for axis in range(wrong.ndim):
        lines = np.unique(places[:, axis])
        if len(lines) == 1 and wrong.shape[axis] > 1 and count > 1:
            hint = "look at what is special about this index (first, last, padding)"
            return Diagnosis("elements", f"wrong only at index {lines[0]} of axis {axis}", hint)
    listed = ", ".join(str(list(map(int, p))) for p in places[:5]) + (", ..." if count > 5 else "")
    hint = "look at what is special about these indices (first, last, duplicates, padding)"
    return Diagnosis("elements", f"wrong only at {count} of {total} elements: {listed}", hint)


def _moving_elements(e: Evidence) -> Diagnosis | None:
    """Name single elements whose place depends on the values, as the largest of a row."""
    found = _elements(e)
    if found is None:
        return None
    return Diagnosis(
        "elements",
        f"{found.message}; at other places for other values",
        "look at what depends on the values of the other elements (a maximum, an order, a tie, a mask)",
    )


def conjugate(gradient: Array, reference: Array, usable: NDArray[np.bool_]) -> bool:
    """Return whether a complex gradient, given as (..., 2) reals, is the conjugate of its reference."""
    flipped = reference * np.array([1.0, -1.0])
    return close(gradient, flipped, usable) and not close(reference, flipped, usable)

# SPDX-License-Identifier: Apache-2.0
"""Name the place of a mistake: a range of the input, some elements, a part of complex numbers, the diagonal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradcheck.diagnose.evidence import Diagnosis, Evidence, Trial
from gradcheck.numerics.arrays import Array
from gradcheck.verdict.tolerances import (
    BORDER_DIGITS,
    FADES_BY,
    FADES_IN_RANK,
    FADING,
    INDICES_NAMED,
    LONG_ENOUGH,
    SELDOM,
    SEPARATED,
    SMALLEST_MATRIX,
)


def part_of_complex(e: Evidence) -> Diagnosis | None:
    """Name the real or the imaginary part if only that is wrong."""
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


def diagonal_or_not(e: Evidence) -> Diagnosis | None:
    """Name the diagonal of square matrices, or all beside it."""
    if e.complex or len(e.shape) < 2 or e.shape[-1] != e.shape[-2] or e.shape[-1] < SMALLEST_MATRIX:
        return None
    diagonal = np.broadcast_to(np.eye(e.shape[-1], dtype=bool), e.shape)
    for place, where in ((diagonal, "on"), (~diagonal, "off")):
        if np.array_equal(e.wrong, place & e.alive) and np.any(e.alive & ~place):
            hint = "look at the term that reaches only these entries (a trace, a determinant, a symmetric part)"
            return Diagnosis("elements", f"wrong only {where} the diagonal", hint)
    return None


def region_or_elements(e: Evidence) -> Diagnosis | None:
    """Name a range of the input that holds what is wrong at every draw, or the same elements at every draw."""
    if e.wrong[e.alive].all() and all(t.wrong.all() for t in e.trials[1:]):
        return None
    values = np.concatenate([t.input.ravel() for t in e.trials]) if e.trials else np.zeros(0)
    wrong = np.concatenate([t.wrong.ravel() for t in e.trials]) if e.trials else np.zeros(0, bool)
    right = np.concatenate([t.right.ravel() for t in e.trials]) if e.trials else np.zeros(0, bool)
    faint = np.concatenate([t.faint.ravel() for t in e.trials]) if e.trials else np.zeros(0, bool)
    # An error that fades away has a border only where it does not fade.
    fading = wrong.size > 0 and (np.mean((~wrong & ~right) | faint) > FADING or np.mean(right) < SELDOM)
    plain = wrong & ~faint if fading else wrong
    between = values[~plain & ~right] if fading else np.zeros(0)
    # The same place at every draw, whatever its value, is a place and not a range.
    same_place = len(e.trials) > 1 and all(np.array_equal(t.wrong, e.trials[0].wrong) for t in e.trials)
    if not same_place and plain.any() and right.any():
        region = _region(values[plain | right], plain[plain | right], between, certain=len(e.trials) > 1)
        if region is not None:
            return in_region(region)
    if same_place or len(e.trials) <= 1:
        return _elements(e)
    return None


def fades_away(trials: Sequence[Trial]) -> bool:
    """Return whether the error gets smaller and smaller beyond the wrong values: it has no border then.

    What is right on one side of a condition is right to rounding, however near it is.
    """
    values, gaps, wrong = (
        np.concatenate([getattr(t, name).ravel() for t in trials]) for name in ("input", "gap", "wrong")
    )
    beyond = ~wrong & (gaps > 0)
    if not wrong.any() or beyond.sum() <= LONG_ENOUGH:
        return False
    distance, gap = np.abs(values[beyond, None] - values[wrong]).min(axis=1), gaps[beyond]
    goes_on = gap.max() > max(FADES_BY * gap.min(), gaps[wrong].min() / FADES_BY)
    return bool(goes_on and np.corrcoef(_ranks(distance), _ranks(gap))[0, 1] < FADES_IN_RANK)


def _ranks(numbers: Array) -> Array:
    return np.argsort(np.argsort(numbers)).astype(np.float64)


def in_region(region: str) -> Diagnosis:
    """Return the diagnosis for a range of the input."""
    return Diagnosis(
        "region",
        f"wrong only where the input {region}",
        f"look at the branch of grad_fn for an input that {region}",
    )


def _region(values: Array, wrong: NDArray[np.bool_], between: Array, certain: bool) -> str | None:
    """Return the range of the input, or of its size, that separates wrong from right values.

    None of those that are neither, `between`, may lie at its border.
    """
    if not certain and min(np.count_nonzero(wrong), np.count_nonzero(~wrong)) < SEPARATED:
        return None
    region = _range_of(values, wrong, between)
    if region is not None:
        return region
    region = _range_of(np.abs(values), wrong, np.abs(between))
    if region is not None and not values[wrong].any():
        return "is 0"
    return f"{region} in absolute value" if region is not None else None


def region_of(values: Array, wrong: NDArray[np.bool_], right: NDArray[np.bool_]) -> str | None:
    """Return the range of values, or of their sizes, that holds all the wrong ones and no right one."""
    some = wrong | right
    if not (wrong.any() and right.any()):
        return None
    return _region(values[some], wrong[some], values[~some], certain=True)


def _range_of(values: Array, wrong: NDArray[np.bool_], between: Array) -> str | None:
    """Return the range that holds every wrong value and no right one, None if there is none."""
    bad, good = values[wrong], values[~wrong]
    low, high = float(bad.min()), float(bad.max())
    if ((good >= low) & (good <= high)).any():
        return None
    if low == high and bad.size > 1:
        return f"is {low:g}"
    below, above = good[good < low], good[good > high]
    lowest, highest = below.max(initial=-np.inf), above.min(initial=np.inf)
    borders = (np.isfinite(lowest) & (between > lowest) & (between < low)) | (
        np.isfinite(highest) & (between > high) & (between < highest)
    )
    if borders.any():
        return None
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
    for digits in BORDER_DIGITS:
        rounded = float(f"{(low + high) / 2:.{digits}g}")
        if low <= rounded <= high:
            return f"{rounded:g}"
    return f"{(low + high) / 2:.4g}"


def domain_between(values: Array, good: NDArray[np.bool_]) -> str:
    """Return the range, as a spec writes it, that holds the good values and no other one; "" if none does."""
    x, good = np.ravel(values).astype(np.float64), np.ravel(good)
    bad = ~good & np.isfinite(x)
    if not (bad.any() and good.any()):
        return ""
    low, high = float(x[good].min()), float(x[good].max())
    below, above = x[bad & (x < low)], x[bad & (x > high)]
    if below.size + above.size != bad.sum():
        return ""
    first = _border(low, float(below.max())) if below.size else "-.inf"
    last = _border(high, float(above.min())) if above.size else ".inf"
    return f"[{first}, {last}]"


def _elements(e: Evidence) -> Diagnosis | None:
    wrong = e.wrong.any(axis=-1) if e.complex else e.wrong
    places = np.argwhere(wrong)
    count, total = len(places), int(np.sum(e.usable.any(axis=-1) if e.complex else e.usable))
    if count == 0 or count > total / 2 or total < 2 or e.wrong[e.alive].all():
        return None
    for axis in range(wrong.ndim):
        lines = np.unique(places[:, axis])
        if len(lines) == 1 and wrong.shape[axis] > 1 and count > 1:
            hint = "look at what is special about this index (first, last, padding)"
            return Diagnosis("elements", f"wrong only at index {lines[0]} of axis {axis}", hint)
    listed = ", ".join(str(list(map(int, p))) for p in places[:INDICES_NAMED]) + (
        ", ..." if count > INDICES_NAMED else ""
    )
    hint = "look at what is special about these indices (first, last, duplicates, padding)"
    return Diagnosis("elements", f"wrong only at {count} of {total} elements: {listed}", hint)


def moving_elements(e: Evidence) -> Diagnosis | None:
    """Name single elements whose place depends on the values, as the largest of a row."""
    found = _elements(e)
    if found is None:
        return None
    return Diagnosis(
        "elements",
        f"{found.message}; at other places for other values",
        "look at what depends on the values of the other elements (a maximum, an order, a tie, a mask)",
        moving=True,
    )

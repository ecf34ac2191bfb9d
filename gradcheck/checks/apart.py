# SPDX-License-Identifier: Apache-2.0
"""Where a gradient and its value differ between two ways by more than rounding, and the reasons not to blame that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.runs import Run
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import own_gradient, own_values
from gradcheck.numerics.arrays import Array, Mask
from gradcheck.numerics.closeness import largest, wide
from gradcheck.verdict.exemptions import CHAOS
from gradcheck.verdict.rounding import beyond, bias_of, nothing_left
from gradcheck.verdict.tolerances import (
    CHAOTIC_GROWTH,
    DOUBLE_ROUNDOFF,
    LOST_ROUNDINGS,
    NUDGED,
    NUDGES,
    OWN_SHARE,
    SPECIAL_ROUNDINGS,
    TIE_SAFETY,
    XLA_FACTORS_RTOL,
)
from gradcheck.ways import TAPES, XLA, Way


@dataclass(frozen=True, slots=True)
class Apart:
    """Hold a run, the one that it is compared with, and the elements at which gradient and value differ."""

    way: Way
    run: Run
    base: Run
    gradient: Array
    base_gradient: Array
    gradient_odd: Mask
    value_odd: Mask
    roundoff: float

    @property
    def any(self) -> bool:
        """Return whether anything differs."""
        return bool(self.gradient_odd.any() or self.value_odd.any())

    def values(self, lab: Lab) -> tuple[Array, Array]:
        """Return both values, packed."""
        return own_values(lab, self.run), own_values(lab, self.base)

    def without(self, gradient: Mask, value: Mask) -> Apart:
        """Return the same with fewer elements."""
        return replace(self, gradient_odd=self.gradient_odd & ~gradient, value_odd=self.value_odd & ~value)

    @property
    def nothing(self) -> tuple[Mask, Mask]:
        """Return masks that cover no element."""
        return self.gradient_odd & False, self.value_odd & False


def apart_of(lab: Lab, way: Way, run: Run) -> Apart:
    """Return where a run differs from the first one."""
    rounding, base = lab.rounding, lab.first
    if way.mode == XLA and lab.facts.stateless:
        # XLA draws other numbers from the same seed: compare with autodiff of the same draw.
        base = _of_the_same_draw(lab, way, run)
        rounding = replace(rounding, gradient=own_gradient(lab, base), value=own_values(lab, base))
    value, base_value = own_values(lab, run), own_values(lab, base)
    value_odd = beyond(value, base_value, rounding.value, rounding.value_tolerance, rounding.roundoff)
    if value_odd.any():
        value_odd &= _clearer(value, base_value, lab.noise.value)
    del value, base_value
    gradient, base_gradient = own_gradient(lab, run), own_gradient(lab, base)
    odd = beyond(gradient, base_gradient, rounding.gradient, rounding.gradient_tolerance, rounding.roundoff)
    if odd.any():
        odd &= _clearer(gradient, base_gradient, lab.noise.gradient)
    else:
        odd |= _off_by_a_factor(lab, gradient, base_gradient, rounding.roundoff)
    return Apart(way, run, base, gradient, base_gradient, odd, value_odd, rounding.roundoff)


def _of_the_same_draw(lab: Lab, way: Way, run: Run) -> Run:
    """Return the values of the bare forward in a way, and the gradient that is meant there."""
    base = lab.run_plain(way) or run
    if lab.case.expected_vjp:
        return replace(base, gradients=run.gradients)
    if lab.case.surrogate:
        other = refused(lambda: lab.gradients_of(lab.bare).run(way, lab.values, lab.upstream))
        return replace(base, gradients=(other or run).gradients)
    return base


@dataclass(frozen=True, slots=True)
class Reason:
    """Name a reason and the elements of gradient and value that it covers."""

    reason: str
    covers: Callable[[Lab, Apart], tuple[Mask, Mask]]
    named: bool = False

    def said(self, way: Way) -> str:
        """Return the reason, with the way where it matters."""
        return f"{way.label}: {self.reason}" if self.named else self.reason


def _decomposed(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    if apart.way.mode != XLA or not lab.facts.decomposes:
        return apart.nothing
    return apart.nothing[0], apart.value_odd & _of_one_size(*apart.values(lab), apart.roundoff)


def _special(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    if apart.way.mode != XLA or not lab.facts.special or not apart.value_odd.any():
        return apart.nothing
    return apart.nothing[0], apart.value_odd & _near_as_one(*apart.values(lab), apart.roundoff)


def _tensorflows(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    if apart.way.mode != XLA or not apart.gradient_odd.any() or not (lab.custom or lab.facts.decomposes):
        return apart.nothing
    gap = apart.gradient - apart.base_gradient
    return apart.gradient_odd & _differs_without_the_rule(lab, apart.way, gap), apart.nothing[1]


def _chaotic(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    return (apart.gradient_odd, apart.value_odd) if lab.growth > CHAOTIC_GROWTH else apart.nothing


def _tied(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    if not _goes_away(lab, apart.way):
        return apart.nothing
    # That one of them is no number is no matter of rounding.
    lost = np.isfinite(apart.gradient) != np.isfinite(apart.base_gradient)
    return apart.gradient_odd & ~lost, apart.value_odd


def _rounding_alone(lab: Lab, apart: Apart) -> tuple[Mask, Mask]:
    """Cover what is of the size of roundings of the upstream (a gradient) or of the inputs (a value)."""
    unit, rounding = apart.roundoff, lab.rounding
    upstream, inputs = largest(lab.cotangent), largest(lab.vector())
    value, base = apart.values(lab)
    gradient = nothing_left(apart.gradient, apart.base_gradient, rounding.gradient, upstream, unit)
    left = nothing_left(value, base, rounding.value, inputs, unit)
    if (apart.value_odd & ~left).any():
        # Of a one in the forward, as in log(1 + x) of a small x, more roundings are left than of the inputs.
        more = nothing_left(value, base, rounding.value, max(1.0, inputs), unit, LOST_ROUNDINGS)
        left = left | more if (more & apart.value_odd).any() and _agree_in_float64(lab, apart.way) else left
    return apart.gradient_odd & gradient, apart.value_odd & left


def _agree_in_float64(lab: Lab, way: Way) -> bool:
    """Return whether the op's values are the same in both ways when it is called in float64."""
    values, upstream = ([_in_float64(v) for v in given] for given in (lab.values, lab.upstream))
    runs = refused(lambda: (lab.run(values=values, upstream=upstream), lab.run(way, upstream, values)))
    if runs is None:
        return False
    one, other = (own_values(lab, run) for run in runs)
    return bool(np.all(np.abs(one - other) <= DOUBLE_ROUNDOFF * max(1.0, largest(one), largest(lab.vector()))))


def _in_float64(value: Any) -> Any:
    return value.astype(np.float64) if np.asarray(value).dtype == np.float32 else value


# Every reason not to blame a difference between two ways, the cheapest first.
EXEMPTIONS = (
    Reason("the terms cancel: nothing but rounding is left", _rounding_alone),
    Reason("XLA takes another sign or phase for the factors of a matrix, which is as right", _decomposed),
    Reason("XLA computes special functions by formulas of its own, exact to roundings of one", _special),
    Reason("TensorFlow's own gradient of the forward differs under XLA as much", _tensorflows),
    Reason(CHAOS, _chaotic),
    Reason("the modes differ at this very input only (a tie that rounding decides)", _tied, named=True),
)


def _of_one_size(found: Array, base: Array, roundoff: float) -> Mask:
    """Return where two values differ in sign or phase only, which a decomposition leaves open, or as an iteration."""
    with np.errstate(all="ignore"):
        gap = np.abs(np.abs(found) - np.abs(base))
        return np.asarray(gap <= max(np.sqrt(roundoff), XLA_FACTORS_RTOL) * np.fmax(np.abs(base), largest(base)))


def _near_as_one(found: Array, base: Array, roundoff: float) -> Mask:
    """Return where two values differ by roundings of one, or of themselves."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(found - base) <= SPECIAL_ROUNDINGS * roundoff * (1 + np.abs(base)))


def _differs_without_the_rule(lab: Lab, way: Way, gap: Array) -> Mask:
    """Return where TensorFlow's own gradient of the forward differs between the ways about as much.

    With the tape inside XLA compiles forward and backward as one program, as it does a rule that computes the forward
    once more: what is rounded there is not what a forward hands over.
    """
    here = lab.run_plain()
    there = [run for tape in TAPES if (run := lab.run_plain(replace(way, tape=tape))) is not None]
    if here is None or not there:
        return np.zeros(gap.size, bool)
    with np.errstate(all="ignore"):
        own = np.fmax.reduce([np.abs(own_gradient(lab, run) - own_gradient(lab, here)) for run in there])
        # With other factors of a matrix every element is another one.
        own = np.fmax(own, largest(own)) if lab.facts.decomposes else own
        return np.asarray(np.abs(gap) <= OWN_SHARE * own)


def _off_by_a_factor(lab: Lab, found: Array, base: Array, roundoff: float) -> np.ndarray:
    """Return where an input's gradient has one factor throughout, which the wide rounding of half precision hides."""
    odd = np.zeros(base.size, bool)
    if not lab.rounds_to_half or lab.case.rtol is not None or lab.case.atol is not None:
        return odd
    for part in lab.layout.inputs.ranges():
        if bias_of(found[part], base[part], roundoff) is not None:
            odd[part] = base[part] != 0
    return odd


def _clearer(found: Array, base: Array, noise: Array) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ~(np.abs(found - base) <= noise)


def _goes_away(lab: Lab, way: Way) -> bool:
    """Return whether the difference disappears when the inputs move a little: then it is a tie."""
    rounding = lab.rounding
    # Eight times what half precision rounds is all there is.
    safety = 1.0 if lab.rounds_to_half else TIE_SAFETY
    for number in range(NUDGES):
        rng = lab.rng("nudge", str(number))
        values = [_nudged(v, leaf.differentiated, rng) for v, leaf in zip(lab.values, lab.leaves, strict=True)]
        runs = refused(lambda values=values: (lab.run(values=values), lab.run(way, values=values)))  # type: ignore[misc]
        if runs is None:
            return False
        a, b = runs
        for one, two, tolerance in (
            (own_gradient(lab, a), own_gradient(lab, b), rounding.gradient_tolerance),
            (own_values(lab, a), own_values(lab, b), rounding.value_tolerance),
        ):
            if beyond(two, one, one, safety * tolerance, rounding.roundoff).any():
                return False
        if _off_by_a_factor(lab, own_gradient(lab, b), own_gradient(lab, a), rounding.roundoff).any():
            return False
    return True


def _nudged(value, differentiated: bool, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    if not differentiated or not value.size:
        return value
    size = np.abs(value.astype(np.complex128)).mean() or 1.0
    noise = NUDGED * float(size) * rng.uniform(-1, 1, value.shape)
    return (wide(value) + noise).astype(value.dtype)

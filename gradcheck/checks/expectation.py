# SPDX-License-Identifier: Apache-2.0
"""Is a gradient that is a random estimate right in expectation?

Its mean over draws is compared with the reference by its standard error: that of score functions, of
Gumbel-softmax, of masks that grad_fn draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.checks.check import INPUTS, OUTPUTS, Check, Item, Need
from gradcheck.diagnose.expectation import biased, noisy, summary, undeclared
from gradcheck.measure.estimate import Estimate, estimate_of, exactly
from gradcheck.measure.gradients import expected_vjp
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import Array, Mask
from gradcheck.numerics.closeness import close, largest
from gradcheck.results import Comparison, Finding
from gradcheck.verdict.tolerances import AUTODIFF_RTOL, DRAWS, FALSE_ALARM, FEWEST_DRAWS, LEAST_BIAS

ASKED = Need(lambda lab: lab.case.expectation is not None, "the case has no `expectation`", option=True)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare the mean over draws with the reference; what is off once is drawn again."""
    given = lab.case.expectation or {}
    draws, seed = int(given.get("samples", DRAWS)), int(given.get("seed", lab.case.seed))
    reference = _reference(lab, draws, seed)
    if reference is None:
        yield undeclared(lab)
        return
    mean = estimate_of(lab, lab.operation, draws, seed, reference.mean)
    pathwise = False
    odd = off(mean, reference) | _scaled(lab, mean, reference)
    if odd.any():
        # Of a heavy tail a thousand draws may hold too much once.
        mean = estimate_of(lab, lab.operation, draws, seed + 1, reference.mean)
        odd &= off(mean, reference) | _scaled(lab, mean, reference)
        pathwise = bool(odd.any()) and _is_pathwise(lab, seed)
    for slot, part in zip(lab.slots, lab.layout.inputs.ranges(), strict=True):
        yield _comparison(lab, slot.name, mean, reference, part, odd)
        if odd[part].any() and draws >= FEWEST_DRAWS:
            yield biased(lab, slot, part, mean, reference, odd, pathwise)
        elif draws < FEWEST_DRAWS or _drowned(mean, reference, part):
            yield noisy(slot.name, mean)
    yield summary(mean, reference)


CHECK = Check("expectation", "expectation", ask, (ASKED, INPUTS, OUTPUTS), estimates=True)


def _reference(lab: Lab, draws: int, seed: int) -> Estimate | None:
    """Return what the mean is compared with, None if nothing gives it.

    That is what the case declares, or autodiff of the bare forward: of a forward that draws too over as many
    draws, if a gradient passes through what it draws.
    """
    if lab.case.expected_vjp:
        exact = expected_vjp(lab, lab.precision.point).gradient
        return exactly(exact, len(lab.slots))
    declared = lab.case.surrogate or lab.case.reference
    if not declared and lab.random and lab.facts.cuts:
        return None
    return refused(lambda: estimate_of(lab, lab.bare, draws if lab.random else 2, seed))


def _is_pathwise(lab: Lab, seed: int) -> bool:
    """Return whether the gradient of each draw is autodiff's, through which what is drawn does not change."""
    if not lab.facts.cuts:
        return False
    own, plain = (
        refused(lambda op=op: estimate_of(lab, op, FEWEST_DRAWS, seed).mean)  # type: ignore[misc]
        for op in (lab.operation, lab.plain())
    )
    return own is not None and plain is not None and close(own, plain, AUTODIFF_RTOL, AUTODIFF_RTOL * largest(plain))


def margin(mean: Estimate, reference: Estimate) -> Array:
    """Return how far the mean of a right gradient may be from its reference."""
    # The chance that one of n normal numbers is larger than z is below n exp(-z^2 / 2).
    z = np.sqrt(2 * np.log(2 * max(mean.mean.size, 1) / FALSE_ALARM))
    error = np.sqrt(_pooled(mean, reference) / mean.draws + reference.error**2)
    return np.asarray(z * error + LEAST_BIAS * np.abs(reference.mean))


def _scaled(lab: Lab, mean: Estimate, reference: Estimate) -> Mask:
    """Return the elements of gradients that are one factor off on average, by more than chance explains.

    Only of a reference that is no estimate itself.
    """
    odd = np.zeros(mean.mean.size, bool)
    z = np.sqrt(2 * np.log(2 * len(lab.slots) / FALSE_ALARM))
    if reference.variance.any():
        return odd
    for part, factor, error in zip(lab.layout.inputs.ranges(), mean.factors, mean.factor_errors, strict=True):
        odd[part] = abs(factor - 1) > z * error + LEAST_BIAS
    return np.asarray(odd & (reference.mean != 0))


def _drowned(mean: Estimate, reference: Estimate, part: slice) -> bool:
    """Return whether the draws tell no element of a gradient from zero."""
    wanted = np.abs(reference.mean[part])
    return bool(wanted.any() and (margin(mean, reference)[part] > wanted).all())


def _pooled(mean: Estimate, reference: Estimate) -> Array:
    """Return the variance of each element, of one that did not vary by chance that of the others in proportion."""
    squares = reference.mean**2
    varied = (mean.variance > 0) & (squares > 0)
    if not varied.any():
        return mean.variance
    typical = float(np.median(mean.variance[varied] / squares[varied]))
    return np.asarray(np.fmax(mean.variance, typical * squares))


def off(mean: Estimate, reference: Estimate) -> Mask:
    """Return the elements that are further from the reference than chance explains."""
    gap = np.abs(mean.mean - reference.mean)
    tiny = LEAST_BIAS**2 * float(np.abs(reference.mean).max(initial=0.0))
    return np.asarray(~(gap <= margin(mean, reference) + tiny))


def _comparison(lab: Lab, name: str, mean: Estimate, reference: Estimate, part: slice, odd: Mask) -> Comparison:
    gap = np.abs(mean.mean - reference.mean)[part]
    wanted = np.abs(reference.mean[part])
    relative = np.divide(gap, wanted, where=wanted > 0, out=np.zeros_like(gap))
    way = lab.first_way
    return Comparison(
        "expectation", name, way.mode, way.tape, way.device, lab.dtype, not odd[part].any(), int(gap.size),
        float(gap.max(initial=0.0)), float(relative.max(initial=0.0)),
        float(margin(mean, reference)[part].max(initial=0.0)),
    )  # fmt: skip

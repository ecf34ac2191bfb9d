"""Tell what is wrong far from the sample, with the inputs that must be far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.subject import Subject
from gradcheck.results import Element, Finding

NEAR_ZERO = 0.02


@dataclass(frozen=True, slots=True)
class Distant:
    """Hold a coordinate at which the gradient is wrong far from the sample.

    `moved` are the coordinates (with their values) that must be far; `slowly` says that the gap
    grows over a long stretch of the way there, `restless` that slopes beside it follow no order.
    """

    coordinate: int
    input: float
    analytic: float
    autodiff: float | None
    slope: float
    tolerance: float
    own_dtype: bool
    moved: tuple[tuple[int, float], ...] = ()
    slowly: bool = False
    restless: bool = False

    @property
    def excused(self) -> bool:
        """Return whether the op itself may be at fault there, or not be meant for it."""
        return self.slowly or self.restless


def findings_of(subject: Subject, bad: Sequence[Distant]) -> Iterator[Finding]:
    """Return a finding for what is no number, what is wrong, and what parts from autodiff slowly or without order.

    An op that does not come to rest at one point may seem to at another, and mean as little.
    """
    restless = any(b.restless for b in bad)
    for told, some in (
        (_not_finite, [b for b in bad if b.own_dtype]),
        (_wrong, [b for b in bad if not (b.own_dtype or b.excused or restless)]),
        (_excused, [b for b in bad if not b.own_dtype and (b.excused or restless)]),
    ):
        if some:
            yield told(subject, some)


def _not_finite(subject: Subject, some: Sequence[Distant]) -> Finding:
    return _finding(
        subject,
        some,
        "gradient-nonfinite",
        f"is {some[0].analytic} {place(subject, some[0])}; the reference there is {some[0].slope:.6g}",
        "something is divided by zero: guard the denominator, not the result: y = tf.where(ok, x, 1.0), then divide"
        if all(value == 0 for _, value in some[0].moved or ((0, some[0].input),))
        else "an intermediate value overflows or 0 * inf appears: use a stable form (tf.sigmoid, tf.nn.softplus)",
    )


def _wrong(subject: Subject, some: Sequence[Distant]) -> Finding:
    return _finding(
        subject,
        some,
        "gradient-mismatch",
        f"is wrong {place(subject, some[0])}: {some[0].analytic:.6g}, the reference is {some[0].slope:.6g}",
        "the formula holds near the sample only: look for a branch or a clip at large or small inputs; if such inputs"
        " never come, say so with `domain`",
        "region",
    )


def _excused(subject: Subject, some: Sequence[Distant]) -> Finding:
    how = "little by little on the way to inputs far from the sample"
    if any(bad.restless for bad in some):
        how = "away from the sample, where the slopes of the op follow no order"
    return _finding(
        subject,
        some,
        "inconclusive",
        f"parts from autodiff {how}: {place(subject, some[0])} it is {some[0].analytic:.6g}, the reference is"
        f" {some[0].slope:.6g}",
        "an iteration that does not converge there does so, and a formula that is an approximation; give the range of"
        " real inputs with `domain`",
        "domain",
        "warning",
    )


def _finding(
    subject: Subject,
    some: Sequence[Distant],
    code: str,
    said: str,
    hint: str,
    cause: str | None = None,
    level: str = "error",
) -> Finding:
    slot, _ = locate(subject, some[0].coordinate)
    return Finding(
        code,
        f"the gradient of `{slot.name}` {said}",
        cause,
        level,
        hint=hint,
        wrt=slot.name,
        mode="eager",
        dtype=subject.dtype,
        elements=elements_at(subject, some),
    )


def place(subject: Subject, bad: Distant) -> str:
    """Say which inputs are away from the sample, and how far."""
    if not bad.moved or len(bad.moved) > 2:
        slot, _ = locate(subject, bad.coordinate)
        if bad.moved:
            zeros = all(value == 0 for _, value in bad.moved)
            return f"where {len(bad.moved)} inputs are {'zero' if zeros else 'far from the sample'}"
        return f"at {slot.name} = {bad.input:.6g}{_far(bad.input)}"
    places = []
    for coordinate, value in bad.moved:
        slot, local = locate(subject, coordinate)
        index = ", ".join(map(str, slot.where(local)))
        places.append(f"{slot.name}[{index}] = {value:.6g}" if index else f"{slot.name} = {value:.6g}")
    return f"at {' and '.join(places)}{_far(*(value for _, value in bad.moved))}"


def _far(*values: float) -> str:
    """Say that values are far from the sample; those near zero need no word."""
    return ", far from the sample" if any(abs(value) > NEAR_ZERO for value in values) else ""


def elements_at(subject: Subject, some: Sequence[Distant]) -> tuple[Element, ...]:
    """Return the rows of the table, as many as are shown."""
    return tuple(_element(subject, b) for b in some[: subject.cache.get("show", 10)])


def locate(subject: Subject, coordinate: int) -> tuple[Slot, int]:
    """Return the slot of a coordinate, and its number there."""
    for slot, part in zip(subject.slots, subject.layout.inputs.ranges(), strict=True):
        if part.start <= coordinate < part.stop:
            return slot, coordinate - part.start
    raise IndexError(coordinate)


def _element(subject: Subject, bad: Distant) -> Element:
    slot, local = locate(subject, bad.coordinate)
    gap = abs(bad.analytic - bad.slope)
    return Element(
        slot.where(local),
        bad.input,
        bad.analytic,
        bad.autodiff,
        bad.slope,
        gap,
        gap / (abs(bad.slope) or 1.0),
        bad.tolerance,
    )

"""How much rounding explains: tolerances for gradients and values in the op's own dtype."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.noise import DRAWS
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.gradients import main_gradient, main_reference
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.parts import parts_of
from gradcheck.numerics.tolerance import ROUNDOFF, rounding_tolerance
from gradcheck.spec.model import Case

# Factors closer to one than this are nobody's mistake; of fewer elements a factor has to be plain.
SHARED, ENOUGH, FEW_SHARED = 1e-4, 4, 0.1


@dataclass(frozen=True, slots=True)
class Rounding:
    """Hold the float64 gradient and value with what one rounding of the own dtype may do to them."""

    gradient: Array
    value: Array
    gradient_tolerance: Array
    value_tolerance: Array
    roundoff: float
    wide: bool


def rounding_of(subject: Subject) -> Rounding:
    """Return the rounding of the subject, measured once."""
    return subject.once("rounding", lambda: _measure(subject))  # type: ignore[no-any-return]


def _measure(subject: Subject) -> Rounding:
    reference = main_reference(subject)
    realm, point = reference.realm, reference.point
    dtypes = [slot.dtype for slot in (*subject.slots, *subject.layout.outputs.slots)]
    unit = max(ROUNDOFF.get(dtype, 2.0**-24) for dtype in (*dtypes, subject.coarsest))
    gradient = main_gradient(subject)
    rng = subject.rng("rounding")
    moved_gradient, moved_value = np.zeros(gradient.size), np.zeros(point.y.size)
    for _ in range(DRAWS):
        there = point.clipped(last_digits_moved(point.x, unit, rng))
        if not realm.wide:
            there = realm.quantize(there[None])[0]
        # An op may refuse what is beside the sample: values at the edge of what it is for.
        with contextlib.suppress(tf.errors.OpError):
            _widen(moved_gradient, realm.gradient(there, last_digits_moved(point.cotangent, unit, rng)), gradient)
        _widen(moved_value, point.evaluate(there[None])[0], point.y)
        del there
    tolerances = rounding_tolerance(gradient, moved_gradient, unit), rounding_tolerance(point.y, moved_value, unit)
    if subject.case.rtol is not None or subject.case.atol is not None:
        _allow(subject.case, tolerances[0], gradient)
        _allow(subject.case, tolerances[1], point.y)
    return Rounding(gradient, point.y, *tolerances, unit, realm.wide)


def _allow(case: Case, tolerance: Array, exact: Array) -> None:
    """Raise a tolerance to what the user allows; what rounding explains stays allowed."""
    np.fmax(tolerance, (case.atol or 0.0) + (case.rtol or 0.0) * np.abs(exact), out=tolerance)


def _widen(moved: Array, there: Array, here: Array) -> None:
    """Note in `moved` how far `there` is, part by part as it may be long."""
    with np.errstate(all="ignore"):
        for part in parts_of(moved.size):
            np.fmax(moved[part], np.abs(there[part] - here[part]), out=moved[part])


def last_digits_moved(values: Array, unit: float, rng: np.random.Generator) -> Array:
    """Return values that are larger or smaller by `unit`, beside themselves."""
    moved = rng.choice([-1.0, 1.0], values.size)
    moved *= unit
    moved += 1
    moved *= values
    return moved


def beyond(found: Array, base: Array, exact: Array, tolerance: Array, roundoff: float) -> np.ndarray:
    """Return where two results of the own dtype differ by more than rounding explains.

    What the base loses against float64, there or typically, may be lost by the other way too, by
    another path; half of the digits may go by internal cancellation.
    """
    different = np.zeros(base.shape, bool)
    if _surely_close(found, base, tolerance, roundoff):
        return different
    loss, slack = _loss(base, exact), 0.0
    for _ in range(2):
        for part in parts_of(base.size):
            different[part] = _differs(found[part], base[part], exact[part], tolerance[part] + slack, loss, roundoff)
        if not different.any():
            break
        slack = _coarseness(found, exact, roundoff) / 2
    return different


def _surely_close(found: Array, base: Array, tolerance: Array, roundoff: float) -> bool:
    """Return whether two results are as close as they need to be whatever the base loses, part by part."""
    for part in parts_of(base.size):
        a, b = found[part], base[part]
        with np.errstate(all="ignore"):
            close = np.abs(a - b) <= 2 * tolerance[part] + np.sqrt(roundoff) * np.abs(b)
        if not np.all((close & np.isfinite(a) & np.isfinite(b)) | (a == b) | (np.isnan(a) & np.isnan(b))):
            return False
    return True


def _coarseness(found: Array, exact: Array, roundoff: float) -> float:
    """Return how far a way is off wherever one looks: XLA's kernels of some functions know fewer digits than eager's.

    Nothing if it is off by one factor, and at most the half of the digits of the largest, so that a
    way that is wrong everywhere is not excused by that.
    """
    both = np.isfinite(found) & np.isfinite(exact)
    if not both.any() or _loss(found, exact).systematic:
        return 0.0
    typical = float(np.median(np.abs(found[both] - exact[both])))
    return min(8 * typical, float(np.sqrt(roundoff)) * float(np.abs(exact[both]).max()))


@dataclass(frozen=True, slots=True)
class _Loss:
    """Hold what the base loses against float64: the typical relative error, and what remains anywhere."""

    typical: float = 0.0
    quantum: float = 0.0
    systematic: bool = False


def _differs(found: Array, base: Array, exact: Array, tolerance: Array, loss: _Loss, roundoff: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        lost = np.zeros(base.shape)
        if not loss.systematic:
            lost = np.fmax(8 * np.fmax(np.abs(base - exact), loss.typical * np.abs(exact)), loss.quantum)
        allowed = 2 * tolerance + lost + np.sqrt(roundoff) * np.fmax(np.abs(base), np.abs(exact))
        allowed = np.where(np.isfinite(allowed), allowed, np.inf)
        different = np.abs(found - base) > allowed
        return np.asarray(different | (np.isfinite(base) != np.isfinite(found)))


def _loss(base: Array, exact: Array) -> _Loss:
    usable = np.isfinite(base) & np.isfinite(exact)
    if not usable.any():
        return _Loss()
    with np.errstate(all="ignore"):
        # A difference of nearly equal numbers leaves some roundings of these, whatever remains.
        apart = float(np.max(np.abs(base - exact), where=usable, initial=0.0))
        quantum = min(8 * apart, 1e-3 * float(np.max(np.abs(exact), where=usable, initial=0.0)))
        relative = (base / exact)[usable & (exact != 0)]
    if not relative.size:
        return _Loss(quantum=quantum)
    relative -= 1
    # Off by one factor: what rounding loses has no common sign and size.
    systematic = relative.size >= 4 and abs(relative.mean()) > 10 * relative.std()
    return _Loss(float(np.median(np.abs(relative))), quantum, bool(systematic))


def bias_of(own: Array, exact: Array, roundoff: float) -> float | None:
    """Return the common factor (less one) by which the own dtype is off, None if it looks like rounding.

    Rounding errors have no common sign, so their mean is small beside their spread; but one of a
    number that all elements share (a step size, to some power) moves them together, by little.
    """
    usable = np.isfinite(own) & np.isfinite(exact) & (np.abs(exact) > 1e-3 * np.abs(exact).max(initial=0.0))
    if not usable.any():
        return None
    relative = np.divide(own, exact, where=usable, out=np.ones(own.size))
    relative -= 1
    mean = float(np.mean(relative, where=usable))
    least = SHARED if usable.sum() >= ENOUGH else FEW_SHARED
    return mean if abs(mean) > max(4 * float(np.std(relative, where=usable)), 4 * roundoff, least) else None

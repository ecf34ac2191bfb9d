"""A cheap batch of inputs far from the sample: large, small and mixed magnitudes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gradcheck.autodiff.noise import own_gradient, own_values
from gradcheck.autodiff.reference import REWRITTEN, exact_constants
from gradcheck.autodiff.subject import Subject
from gradcheck.checks.distant import Distant, findings_of
from gradcheck.checks.gradients import autodiff_at, main_reference, other_reference, tolerance_of
from gradcheck.checks.points import free_coordinates, inside, parameter_coordinates
from gradcheck.checks.sizes import WIDEST
from gradcheck.checks.verdicts import between_neighbours, verdicts_of
from gradcheck.numerics.assess import Assessment, Outcome, assess
from gradcheck.numerics.excursions import SEEN, erratic, moved, needed, parts_slowly
from gradcheck.numerics.ladder import Array, Label
from gradcheck.numerics.point import Point
from gradcheck.numerics.tolerance import CONDITIONING_FACTOR
from gradcheck.results import Comparison, Finding, blamed

PHASE = "far_values"
MAGNITUDES = (1e-6, 1e-4, 1e-2, 0.3, 2.0, 4.0, 6.5, 9.0, 15.0, 30.0, 60.0, 100.0, 300.0, 1e3, 1e4)
MAX_BATCHES = 30
MIN_BATCHES = 4
LIMIT = 512
# A plain forward that fails further out than this fails by overflow, which is no mistake of the gradient.
PLAIN_REACH = 100.0
# The same for a custom gradient that is no number only where TensorFlow's own of the same forward is none either.
SHARED_REACH = 500.0
NEGLIGIBLE = 1e-7
ASKED = 16
MOST = 3
DRAWS = 4
# The share of a gap that is left where its reason is taken away.
EXPLAINED = 1e-2
# Where slopes are taken to see whether they follow one another at all.
BESIDE, NARROW_AND_WIDE = np.arange(-4, 5), (0.005, 0.03)
STOPPING = ("gradient-mismatch", "gradient-nonfinite", "gradient-shape", "gradient-missing", "nondeterministic",
            "upstream-nonlinear", "stale-state", "gradient-dtype", "state-changed", "variables-order",
            "mode-mismatch")  # fmt: skip


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Look for NaN, infinity and disagreement with finite differences far from the sample."""
    if blamed(found, STOPPING) or subject.case.expected_vjp or not applies(subject):
        return
    bad: list[Distant] = []
    for x in _points(subject):
        told = [_lost(subject, b, x) if b.own_dtype else followed(subject, b, x) for b in bad_at(subject, x)[:MOST]]
        bad += [b for b in told if not _degenerate(b)]
        if sum(not b.excused for b in bad) >= MOST or len(bad) >= 3 * MOST:
            break
    yield from findings_of(subject, bad)


def applies(subject: Subject) -> bool:
    """Return whether slopes away from the sample can be taken and mean something."""
    free = any(leaf.differentiated and leaf.structure is None for leaf in subject.leaves)
    return bool(
        free
        and main_reference(subject).realm.wide
        and subject.layout.outputs.width
        and 0 < subject.layout.inputs.width <= WIDEST
        and subject.gradients.seed is None
        and _trusted(subject)
    )


def _trusted(subject: Subject) -> bool:
    """Return whether slopes can be taken: of the surrogate, where the op itself is a staircase."""
    other = other_reference(subject) if subject.case.surrogate else None
    return (other or main_reference(subject)).trusted


def _points(subject: Subject) -> Iterator[Array]:
    """Yield points: every magnitude with both signs at some coordinate, mixed over the coordinates."""
    base = subject.vector()
    free, shy = free_coordinates(subject)
    if not free.any():
        return
    parameters = parameter_coordinates(subject)
    signed = [s * m for m in MAGNITUDES for s in (1.0, -1.0)]
    low, high = subject.layout.inputs.bounds()
    rng = subject.rng("far")
    batches = int(np.clip(np.ceil(len(signed) / free.sum()), MIN_BATCHES, MAX_BATCHES))
    order: list[float] = []
    places = np.where(free)[0]
    for _ in range(batches):
        x = base.copy()
        for i in places if places.size <= LIMIT else rng.choice(places, LIMIT, replace=False):
            if not order:
                order = list(rng.permutation(signed))
            x[i] = inside(order.pop() * rng.uniform(0.9, 1.1), low[i], high[i], base[i])
        x[parameters] = np.copysign(x[parameters], base[parameters])
        yield x
    for share in (0.5, 1.0) if subject.custom else ():
        # Nothing is as particular as zero: 0 / 0, the norm of nothing, a branch on the sign.
        chosen = places[rng.random(places.size) < share]
        x = base.copy()
        x[chosen] = np.where((low[chosen] < 0) & (high[chosen] > 0) & ~shy[chosen], 0.0, base[chosen])
        yield x


def bad_at(subject: Subject, x: Array) -> list[Distant]:
    """Return the coordinates at which the gradient is no number or wrong at x, as differences there confirm."""
    reference = main_reference(subject)
    realm = reference.realm
    narrow = _own_point(subject, x)
    x = subject.layout.inputs.pack([narrow[i] for i in subject.sources] + [subject.kept(v) for v in subject.variables])
    try:
        values = realm.evaluate(x[None])[0]
        alive = np.isfinite(values)
        cotangent = np.where(alive, reference.point.cotangent, 0.0)
        gradient = realm.gradient(x, cotangent)
        own = subject.run(values=narrow, upstream=subject.unpack_upstream(cotangent))
    except Exception:
        return []
    if not alive.all():
        return []
    own_finite = np.isfinite(own_values(subject, own))
    native = own_gradient(subject, own)
    autodiff = autodiff_there(subject, reference.point, x, cotangent)
    suspicious = ~np.isfinite(gradient) | (~np.isfinite(native) & own_finite.all())
    suspicious &= _in_reach(subject, x, suspicious, narrow, cotangent)
    typical = negligible(subject)
    asked = _asked(gradient, autodiff, suspicious, typical)
    if not asked.size:
        return []
    rng = subject.rng("far differences")
    point = _measured(subject, x, values, cotangent, rng)
    if point is None:
        return []
    found = assess(point, np.nan_to_num(gradient), tolerance_of(subject, reference), rng, asked)
    told = None if autodiff is None else autodiff[asked]
    clear = _clear(gradient[asked], told, found, np.full(asked.size, typical))
    if clear.any():
        clear &= _clear(gradient[asked], told, found, _rounding_at(subject, x, cotangent, gradient)[asked])
    if clear.any() and realm.name == REWRITTEN:
        clear &= ~_constants_rounded(subject, x, cotangent, gradient[asked], found.value, asked)
    clear &= ~np.isin(asked, between_neighbours(subject, point, gradient, asked[clear]))
    chosen = clear | (suspicious[asked] & _finite_slope(subject, found))
    return [
        Distant(int(i), float(x[i]), float(native[i]) if suspicious[i] else float(gradient[i]),
             None if autodiff is None else float(autodiff[i]), float(found.value[k]), float(found.tolerance[k]),
             bool(suspicious[i]))
        for k, i in enumerate(asked) if chosen[k]
    ]  # fmt: skip


def _in_reach(
    subject: Subject, x: Array, suspicious: NDArray[np.bool_], values: list[object], cotangent: Array
) -> NDArray[np.bool_]:
    """Return where a gradient that is no number is held against the op, by how far out that is."""
    if not subject.custom:
        return np.abs(x) <= PLAIN_REACH
    near = np.abs(x) <= SHARED_REACH
    if not (suspicious & ~near).any():
        return near
    plain = subject.run_plain(values=values, upstream=subject.unpack_upstream(cotangent))
    return near if plain is None else near | np.isfinite(own_gradient(subject, plain))


def _asked(gradient: Array, autodiff: Array | None, suspicious: NDArray[np.bool_], typical: float) -> NDArray[np.int64]:
    """Return the coordinates worth a finite difference: not finite, or not what autodiff says."""
    odd = suspicious.copy()
    if autodiff is None or not np.isfinite(autodiff).all():
        odd |= np.ones(odd.size, bool) if autodiff is None else ~np.isfinite(autodiff)
    if autodiff is not None:
        with np.errstate(all="ignore"):
            odd |= np.abs(gradient - autodiff) > 1e-4 * np.fmax(np.abs(gradient), np.abs(autodiff)) + typical
    return np.where(odd)[0][:ASKED]


def _rounding_at(subject: Subject, x: Array, cotangent: Array, gradient: Array) -> Array:
    """Return what rounding may leave of each element there: terms that cancel are large far out."""
    reference = main_reference(subject)
    rng, unit = subject.rng("far rounding"), 4 * reference.realm.roundoff
    largest = np.zeros(gradient.size)
    for _ in range(DRAWS):
        near = reference.point.clipped(x * (1 + unit * rng.choice([-1.0, 1.0], x.size)))
        other = cotangent * (1 + unit * rng.choice([-1.0, 1.0], cotangent.size))
        try:
            change = np.abs(reference.realm.gradient(near, other) - gradient)
        except Exception:
            continue
        largest = np.fmax(largest, np.where(np.isfinite(change), change, 0.0))
    return CONDITIONING_FACTOR * largest


def _constants_rounded(
    subject: Subject, x: Array, cotangent: Array, gradient: Array, slope: Array, asked: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return where the gradient is off only because a constant was rounded to float32 before the graph was rewritten.

    Far out terms may be large and cancel, and what rounding leaves of a constant with them.
    """
    exact = subject.once("exact constants", lambda: exact_constants(subject))
    try:
        told = None if exact is None else exact.gradient(x, cotangent)[asked]
    except Exception:
        told = None
    if told is None:
        return np.zeros(gradient.size, bool)
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(told - slope) <= EXPLAINED * np.abs(gradient - slope))


def _degenerate(bad: Distant) -> bool:
    """Return whether several zeros together leave neither the gradient nor autodiff a number.

    So do a matrix without full rank and a vector without direction; at one zero it is a division.
    """
    shared = bad.own_dtype and (bad.autodiff is None or not np.isfinite(bad.autodiff))
    return shared and len(bad.moved) > 1 and all(value == 0 for _, value in bad.moved)


def _lost(subject: Subject, bad: Distant, far: Array) -> Distant:
    """Return the finding with the coordinates that must be far for the gradient to be no number."""
    sample = subject.vector()

    def nonfinite(x: Array) -> bool:
        try:
            run = subject.run(values=_own_point(subject, x))
        except Exception:
            return False
        finite = np.isfinite(own_values(subject, run)).all()
        return bool(finite and not np.isfinite(own_gradient(subject, run)[bad.coordinate]))

    chosen = needed(nonfinite, sample, far) if nonfinite(far) else np.zeros(0, np.int64)
    return replace(bad, moved=tuple((int(i), float(far[i])) for i in chosen))


def followed(subject: Subject, bad: Distant, far: Array) -> Distant:
    """Return the finding with the coordinates that must be far, and whether the gap grows slowly on the way.

    An iteration that does not come to rest there gives slopes without any order, which nobody means either.
    """
    sample = subject.vector()
    reference = main_reference(subject)
    tiny = negligible(subject)

    def gap(x: Array) -> float:
        try:
            gradient = reference.realm.gradient(x, reference.point.cotangent)[bad.coordinate]
            autodiff = autodiff_there(subject, reference.point, x, reference.point.cotangent)
        except Exception:
            return float("inf")
        if autodiff is None or not (np.isfinite(gradient) and np.isfinite(autodiff[bad.coordinate])):
            return float("inf")
        size = max(abs(gradient), abs(autodiff[bad.coordinate]))
        return max(0.0, float(abs(gradient - autodiff[bad.coordinate])) - tiny) / size if size else 0.0

    if bad.autodiff is None:
        return bad
    chosen = needed(lambda x: SEEN < gap(x) < np.inf, sample, far)
    alone = moved(sample, far, chosen)
    grows = bool(np.any(np.abs(alone[chosen]) > np.abs(sample[chosen])))
    slowly = grows and np.isfinite(gap(alone)) and parts_slowly(gap, sample, alone)
    restless = any(erratic(_slopes_around(subject, bad.coordinate, alone, chosen, step)) for step in NARROW_AND_WIDE)
    places = tuple((int(i), float(alone[i])) for i in chosen)
    return replace(bad, moved=places, slowly=slowly, restless=restless)


def _slopes_around(subject: Subject, coordinate: int, x: Array, chosen: NDArray[np.int64], step: float) -> Array:
    """Return autodiff's slope of one coordinate at x and beside it, the chosen coordinates scaled by steps."""
    reference = main_reference(subject)
    slopes = []
    for factor in 1 + step * BESIDE:
        beside = x.copy()
        beside[chosen] *= factor
        beside = reference.point.clipped(beside)
        found = autodiff_there(subject, reference.point, beside, reference.point.cotangent)
        slopes.append(np.nan if found is None else float(found[coordinate]))
    return np.array(slopes)


def _clear(gradient: Array, autodiff: Array | None, found: Assessment, rounding: Array) -> NDArray[np.bool_]:
    """Return where a difference contradicts the gradient and nothing contradicts the difference."""
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(gradient), np.abs(found.value))
        clear = (found.outcome == Outcome.WRONG) & (np.abs(gradient - found.value) > 1e-3 * size + rounding)
        if autodiff is None:
            return np.asarray(clear)
        agree = np.abs(autodiff - found.value) <= 1e-3 * np.abs(found.value) + found.error
        return np.asarray(clear & (agree | ~np.isfinite(autodiff)))


def negligible(subject: Subject) -> float:
    """Return what is tiny against the gradient at the sample: far out it is rounding."""
    gradients = [np.abs(np.nan_to_num(verdict.gradient)) for verdict in verdicts_of(subject)]
    return NEGLIGIBLE * max((float(size.max(initial=0.0)) for size in gradients), default=0.0)


def _finite_slope(subject: Subject, found: Assessment) -> np.ndarray:
    largest = min(float(tf.as_dtype(subject.dtype).max) if not subject.dtype.startswith("complex") else 1e38, 1e300)
    settled = np.isin(found.label, (Label.SMOOTH, Label.FLAT))
    with np.errstate(all="ignore"):
        return np.asarray(settled & (np.abs(found.value) < largest * 1e-6) & np.isfinite(found.value))


def _own_point(subject: Subject, x: Array) -> list[object]:
    """Return the leaves at x, rounded to their own dtypes."""
    values = list(subject.values)
    for position, value in zip(subject.sources, subject.layout.inputs.unpack(x), strict=False):
        values[position] = value.astype(subject.values[position].dtype)
    return values


def _measured(subject: Subject, x: Array, values: Array, cotangent: Array, rng: np.random.Generator) -> Point | None:
    """Return the function whose slopes are meant, at x: the op itself or its surrogate."""
    other = other_reference(subject)
    if other is None or not subject.case.surrogate:
        return main_reference(subject).point.elsewhere(x, values, cotangent, rng)
    try:
        values = other.realm.evaluate(x[None])[0]
    except Exception:
        return None
    return other.point.elsewhere(x, values, cotangent, rng) if np.isfinite(values).all() else None


def autodiff_there(subject: Subject, base: Point, x: Array, cotangent: Array) -> Array | None:
    """Return the autodiff gradient at x, None if there is none."""
    return autodiff_at(subject, main_reference(subject), replace(base, x=x, cotangent=cotangent))

"""Choose the realm in which a gradient is compared with finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.noise import noise_of, own_gradient, packed_values
from gradcheck.autodiff.operation import Operation, State, bypassed, differentiable
from gradcheck.autodiff.promote import wide_dtype
from gradcheck.autodiff.realm import (
    Pullback,
    Realm,
    direct_kernels,
    rewritten_kernels,
    rewritten_pullback,
    twin_variables,
)
from gradcheck.autodiff.subject import Subject
from gradcheck.numerics.blocks import Part, find_blocks
from gradcheck.numerics.closeness import close, largest
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.parts import parts_of
from gradcheck.numerics.point import FLOAT64_ROUNDOFF, Point
from gradcheck.numerics.precision import has_low_precision
from gradcheck.numerics.tolerance import ROUNDOFF

# How far values and gradient of a trace may be from those of eager before the trace counts as another op.
SAME, SAME_HALF = 1e-4, 2e-2
# How far a forward may be from eager when it is traced, before it is evaluated in eager alone.
SAME_TRACED = 1e-6
FLOAT64, REWRITTEN, NATIVE = "float64", "float64 (rewritten graph)", "own dtype"


@dataclass(frozen=True, slots=True)
class Reference:
    """Hold a realm with the point at which the case is checked there, and the gradient under test if it was taken."""

    realm: Realm
    point: Point
    trusted: bool
    alive: NDArray[np.bool_]
    gradient: Array | None = None

    def on_alive(self, cotangent: Array) -> Array:
        """Return the cotangent with zeros at the outputs that are no numbers."""
        return _zero_where_dead(self.alive, cotangent)


def choose(subject: Subject, operation: Operation, name: str) -> Reference:
    """Return the widest realm in which `operation` gives the values of the case's own dtype."""
    low_first = subject.dtype in ("float16", "bfloat16", "float64", "complex128")
    order = [FLOAT64, REWRITTEN] if low_first else [REWRITTEN, FLOAT64]
    found: list[Reference] = []
    for kind in order:
        realm = _attempt(subject, operation, kind)
        reference = _reference(subject, realm, name) if realm is not None else None
        if reference is None:
            continue
        faithful = True
        if name == "op" and subject.eager is not None:
            gradient = _gradient_of(reference)
            if gradient is None:
                continue
            reference = replace(reference, gradient=gradient)
            loose = SAME_HALF if subject.rounds_to_half or reference.realm.halves else SAME
            # A traced graph may hold another op than eager does; then the mode is what is wrong.
            faithful = _faithful(subject, reference, gradient, loose)
        if reference.trusted and faithful:
            return reference
        found.append(reference)
    if found:
        return next((reference for reference in found if reference.trusted), found[0])
    native = _attempt(subject, operation, NATIVE)
    assert native is not None
    return _reference(subject, native, name, anyway=True)  # type: ignore[return-value]


def _faithful(subject: Subject, reference: Reference, gradient: Array, loose: float) -> bool:
    """Return whether gradient and values in a realm are those of the op's own dtype, but for rounding."""
    assert subject.eager is not None
    own, values = own_gradient(subject, subject.eager), packed_values(subject, subject.eager.outputs)
    if _close(gradient, own, loose) and _close(reference.point.y, values, loose):
        return True
    noise = noise_of(subject)
    found = _close(gradient, own, loose, noise.most_gradient)
    return found and _close(reference.point.y, values, loose, noise.most_value)


def exact_constants(subject: Subject) -> Realm | None:
    """Return the realm in which the op's own constants are not rounded to float32, None if the op refuses it."""
    if not subject.custom or subject.case.reference or subject.case.surrogate:
        return None
    return _attempt(subject, subject.operation, FLOAT64)


def _attempt(subject: Subject, operation: Operation, kind: str) -> Realm | None:
    try:
        return _realm(subject, operation, kind)
    except Exception:
        return None


def _realm(subject: Subject, operation: Operation, kind: str) -> Realm | None:
    layout, probe = subject.layout, subject.probe
    everything = [v.variable for v in subject.every_variable]
    narrow = [v for v in everything if differentiable(v) and v.dtype != wide_dtype(v.dtype)]
    plain = bypassed(operation, probe) if subject.custom else None
    own = ROUNDOFF.get(subject.coarsest, FLOAT64_ROUNDOFF)
    if kind == REWRITTEN:
        if subject.gradients.seed is not None:
            return None
        subject.gradients.state.restore()
        twins = twin_variables(everything)
        traced = subject.gradients_of(operation)
        forward, pullback, halves, constants = rewritten_kernels(traced, subject.values, subject.upstream, twins)
        autodiff = _rewritten_autodiff(subject, plain, twins) if plain else pullback
        by_ref = {variable.ref(): twin for variable, twin in twins}
        variables = tuple(by_ref[v.ref()] for v in layout.variables)
        state = State.of(twin for _, twin in twins)
        return Realm(
            kind, layout, True, forward, pullback, autodiff, variables, state, FLOAT64_ROUNDOFF, own, halves=halves,
            constants=constants,
        )  # fmt: skip
    if kind == FLOAT64 and narrow:
        return None
    forward, pullback = direct_kernels(operation, layout.sources, layout.variables)
    autodiff = direct_kernels(plain, layout.sources, layout.variables)[1] if plain else pullback
    roundoff = FLOAT64_ROUNDOFF if kind == FLOAT64 else own
    realm = Realm(
        kind, layout, kind == FLOAT64, forward, pullback, autodiff, layout.variables, subject.gradients.state, roundoff
    )
    realm.seed, realm.constants = subject.gradients.seed, subject.survey.constants
    return realm


def _rewritten_autodiff(subject: Subject, plain: Operation, twins: Sequence[tuple[Any, Any]]) -> Pullback | None:
    try:
        return rewritten_pullback(subject.gradients_of(plain), subject.values, subject.upstream, twins)
    except Exception:
        return None


def _reference(subject: Subject, realm: Realm, name: str, anyway: bool = False) -> Reference | None:
    vector = subject.vector()
    try:
        values = _first_values(realm, vector)
    except Exception:
        if not anyway:
            return None
        raise
    own = packed_values(subject, subject.outputs)
    if not anyway and np.isfinite(own).any() and not np.isfinite(values).any():
        return None
    if not anyway and name == "op" and not _same_values(values, own):
        # Where nothing but rounding is left of a value, two widths share no digit.
        if not _same_values(values, own, noise_of(subject).most_value):
            return None
    alive = np.isfinite(values)
    low, high = subject.layout.inputs.bounds()
    width = subject.layout.outputs.width

    def evaluate(rows: Array) -> Array:
        result = realm.evaluate(rows)
        return _zero_where_dead(alive, result).reshape(len(rows), width)

    point = Point(
        evaluate,
        vector,
        _zero_where_dead(alive, values),
        _zero_where_dead(alive, subject.cotangent),
        low,
        high,
        realm.roundoff,
        realm.quantize,
        np.repeat(np.arange(len(subject.slots)), [slot.width for slot in subject.slots])
        if len(subject.slots) > 1
        else None,
    )
    if name in ("op", "other"):
        rng = subject.rng("blocks", name)
        parts, results = [_part(s) for s in subject.slots], [_part(s) for s in subject.layout.outputs.slots]
        if alive.all():
            blocks = find_blocks(point.evaluate_clipped, point.x, point.y, point.sizes, parts, results, rng)
            point = replace(point, blocks=blocks)
    if not realm.wide:
        return Reference(realm, point, False, alive)
    # A fine staircase looks like rounding, but for the dtypes in the graph.
    low_inside = not realm.all_double() and has_low_precision(point, subject.rng("precision", name))
    if low_inside:
        realm.roundoff = 2.0**-24
        point = replace(point, roundoff=realm.roundoff)
    return Reference(realm, point, not low_inside, alive)


def _first_values(realm: Realm, vector: Array) -> Array:
    """Return the outputs at the sample, and find out whether the realm's forward may be traced."""
    if realm.name == NATIVE and realm.seed is not None:
        realm.traceable = False
    try:
        values = realm._row(vector)
    except Exception:
        realm.traceable = False
        values = realm._row(vector)
    if realm.traceable and realm.name != REWRITTEN and realm.seed is None:
        # A forward that is another one when traced must be evaluated in eager.
        realm.traceable = False
        eager = realm._row(vector)
        realm.traceable = _same_but_for_rounding(values, eager, realm.roundoff)
        values = values if realm.traceable else eager
    return values


def _zero_where_dead(alive: NDArray[np.bool_], values: Array) -> Array:
    """Return the values themselves where all are alive, else a copy with zeros."""
    return values if alive.all() else np.where(alive, values, 0.0)


def _part(slot: Slot) -> Part:
    return Part(slot.shape, 2 if slot.complex else 1, slot.plain)


def _gradient_of(reference: Reference) -> Array | None:
    """Return the gradient in this realm, None if it cannot be computed there.

    It could in the op's own dtype, so if not here, promotion is at fault and not the op.
    """
    try:
        return reference.realm.gradient(reference.point.x, reference.point.cotangent)
    except Exception:
        return None


def _close(found: Array, own: Array, loose: float, noise: float = 0.0) -> bool:
    """Return whether all that is finite agrees, relative to each element and to the largest."""
    scale = largest(own, among=np.isfinite(found))
    return close(found, own, loose, loose * scale + noise, finite_only=True)


def _same_but_for_rounding(traced: Array, eager: Array, roundoff: float) -> bool:
    """Return whether two evaluations in one precision are those of one function."""
    if not np.array_equal(np.isfinite(traced), np.isfinite(eager)):
        return False
    return _close(traced, eager, max(SAME_TRACED, float(np.sqrt(roundoff))))


def _same_values(found: Array, own: Array, noise: float = 0.0) -> bool:
    """Return whether promoted values are those of the op's own dtype, up to its rounding."""
    both = np.isfinite(found) & np.isfinite(own)
    if not both.any():
        return True
    scale = largest(own, among=both)
    agreeing = 0
    for part in parts_of(own.size):
        with np.errstate(all="ignore"):
            near = np.abs(found[part] - own[part]) <= 0.05 * np.abs(own[part]) + 0.02 * scale + noise
        agreeing += int(np.sum(near & both[part]))
    return agreeing > 0.5 * int(both.sum())

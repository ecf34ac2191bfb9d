"""The gradients that a case has in its widest precision: the one under test, autodiff's, and a declared one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.failures import Stopped, finding_from
from gradcheck.autodiff.operation import differentiable
from gradcheck.autodiff.promote import wide_dtype
from gradcheck.autodiff.reference import Reference, choose
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.survey import survey
from gradcheck.numerics.assess import Tolerance
from gradcheck.numerics.ladder import Array
from gradcheck.numerics.point import Point
from gradcheck.numerics.tolerance import formula_tolerance
from gradcheck.results import Finding


def main_reference(subject: Subject) -> Reference:
    """Return the op in the widest precision."""
    return subject.once("reference", lambda: choose(subject, subject.operation, "op"))  # type: ignore[no-any-return]


def main_gradient(subject: Subject) -> Array:
    """Return the gradient under test at the sample in the widest precision; Stopped if it raises."""
    reference = main_reference(subject)
    if reference.gradient is not None:
        return reference.gradient
    return subject.once("gradient", lambda: gradient_at(subject, reference, reference.point))  # type: ignore[no-any-return]


def tolerance_of(subject: Subject, reference: Reference) -> Tolerance:
    """Return the tolerance of the formula check."""
    case, realm = subject.case, reference.realm
    return formula_tolerance(realm.roundoff, realm.constants_roundoff, case.rtol, case.atol)


def other_reference(subject: Subject) -> Reference | None:
    """Return the surrogate or reference function in its widest realm, None if the case has none."""
    name = subject.case.surrogate or subject.case.reference
    if name is None:
        return None
    return subject.once("other", lambda: _other(subject, name))  # type: ignore[no-any-return]


def _other(subject: Subject, name: str) -> Reference:
    """Return a function of the user's that stands for the op; Stopped with `op-error` if it cannot."""
    word = "surrogate" if subject.case.surrogate else "reference"
    operation = subject.function(name)
    try:
        outputs = operation([tf.constant(value) for value in subject.values])
    except Exception as error:
        told = finding_from(error, "op-error")
        raise Stopped(replace(told, message=f"`{word}: {name}` fails: {told.message}")) from error
    wanted = [list(slot.shape) for slot in subject.layout.outputs.slots]
    got = [list(o.shape) for o in outputs if differentiable(o)]
    if got != wanted:
        raise Stopped(Finding("op-error", f"`{word}: {name}` returns shapes {got}, the op {wanted}"))
    return choose(subject, operation, "other")


def measured_point(subject: Subject) -> Point:
    """Return the function whose slopes are meant, at the sample: the op itself or its surrogate."""
    reference = main_reference(subject)
    point = reference.point.with_cotangent(reference.on_alive(subject.cotangent))
    other = other_reference(subject)
    if other is not None and subject.case.surrogate:
        return other.point.with_cotangent(point.cotangent)
    return point


def gradient_at(subject: Subject, reference: Reference, point: Point) -> Array:
    """Return the gradient under test at a point; Stopped with `gradient-error` if it raises."""
    try:
        return reference.realm.gradient(point.x, point.cotangent)
    except Exception as error:
        raise Stopped(finding_from(error, "gradient-error", subject.probe)) from error


def autodiff_at(subject: Subject, reference: Reference, point: Point) -> Array | None:
    """Return the autodiff gradient of the bare forward (or surrogate, or reference), None if it fails."""
    if subject.case.expected_vjp:
        return None
    other = other_reference(subject)
    try:
        if other is not None:
            return other.realm.gradient(point.x, point.cotangent)
        return reference.realm.autodiff_gradient(point.x, point.cotangent)
    except Exception:
        return None


def surrogate_stops(subject: Subject) -> bool:
    """Return whether the surrogate holds tf.stop_gradient: then its autodiff is what is meant, not its slope."""
    name = subject.case.surrogate
    if name is None:
        return False
    surrogate = subject.function(name)
    return bool(subject.once("stops", lambda: survey(subject.gradients_of(surrogate), subject.values).stops))


def expected_vjp(subject: Subject, reference: Reference, point: Point) -> Array:
    """Return what the user's `expected_vjp(*inputs, upstream)` gives, packed."""
    operation = subject.function(str(subject.case.expected_vjp))
    try:
        return _expected_in(subject, reference, point, operation.op, wide=reference.realm.wide)
    except Stopped:
        raise
    except Exception as first:
        try:
            return _expected_in(subject, reference, point, operation.op, wide=False)
        except Stopped:
            raise
        except Exception:
            raise Stopped(finding_from(first, "op-error")) from first


def _expected_in(subject: Subject, reference: Reference, point: Point, function: Any, wide: bool) -> Array:
    leaves = [tf.constant(value) for value in subject.values]
    upstream = [tf.constant(u) for u in subject.layout.outputs.unpack(point.cotangent)]
    if wide:
        leaves = [tf.cast(t, wide_dtype(t.dtype)) if t.dtype.is_floating or t.dtype.is_complex else t for t in leaves]
    else:
        upstream = [tf.cast(u, s.dtype) for u, s in zip(upstream, subject.layout.outputs.slots, strict=True)]
    parts = [leaf.assemble(t) for leaf, t in zip(subject.leaves, leaves, strict=True)]
    result = tf.nest.flatten(function(*parts, *upstream))
    if len(result) == len(subject.leaves):
        result = [result[i] for i in subject.sources]
    if len(result) not in (len(subject.sources), len(subject.slots)):
        counts = f"{len(result)} gradient{'s' * (len(result) != 1)} for {len(subject.leaves)} inputs"
        raise Stopped(
            Finding("op-error", f"`expected_vjp: {subject.case.expected_vjp}` returned {counts}",
                    hint="it takes the inputs and the upstream, and returns one gradient per input")
        )  # fmt: skip
    arrays = [None if r is None else np.asarray(tf.convert_to_tensor(r)) for r in result]
    for array, slot in zip(arrays, subject.slots, strict=False):
        if array is not None and array.shape != slot.shape:
            raise Stopped(
                Finding("op-error", f"`expected_vjp: {subject.case.expected_vjp}` returned a gradient of shape"
                        f" {list(array.shape)} for `{slot.name}`, which has {list(slot.shape)}")
            )  # fmt: skip
    arrays += [None] * (len(subject.slots) - len(arrays))
    return subject.layout.inputs.project(arrays)

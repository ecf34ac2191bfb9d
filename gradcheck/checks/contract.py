"""Return value, count, None, shape, dtype: what can be said before any number is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.coordinates import Slot
from gradcheck.autodiff.failures import Stopped, finding_from, outputs_changed
from gradcheck.autodiff.inputs import Leaf
from gradcheck.autodiff.modes import EAGER, Gradients, OutputsChanged, Run
from gradcheck.autodiff.probe import GradientNote
from gradcheck.autodiff.subject import Subject
from gradcheck.numerics.shapes import explain_shape
from gradcheck.results import Comparison, Finding

PHASE = "contract"


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Run the gradient once and check what came back, input by input."""
    yield from _nonfinite_forward(subject)
    yield from _nothing_differentiated(subject)
    run = first_run(subject)
    subject.eager = run
    # A layer makes its variables at its first call, so that only a later one shows that it changes them.
    subject.note_changes()
    wrong: set[str] = set()
    for slot, gradient in zip(subject.slots, run.gradients, strict=True):
        for finding in _of_slot(slot, gradient):
            wrong.add(slot.name)
            yield finding
    yield from _of_notes(subject.probe.notes, wrong)
    yield from _keywords(subject)
    yield from _declared_none(subject)


def first_run(subject: Subject) -> Run:
    """Run the gradient in the first way asked for.

    Raises Stopped with `gradient-error`, `nondeterministic`, or the code of a broken contract.
    """
    subject.probe.clear()
    way = subject.ways[0] if subject.ways else EAGER
    try:
        return subject.run(way)
    except OutputsChanged as error:
        raise Stopped(outputs_changed(error)) from error
    except (Exception, SystemExit) as error:
        raise Stopped(_gradient_finding(error, subject)) from error


def _gradient_finding(error: BaseException, subject: Subject) -> Finding:
    probe = subject.probe
    cause = probe.gradient_failure if probe.gradient_failure is not None else error
    return finding_from(cause, "gradient-error", probe)


def _nothing_differentiated(subject: Subject) -> Iterator[Finding]:
    """Warn of a case that compares no gradient, so that it does not pass for a check."""
    if subject.slots and subject.layout.outputs.slots:
        return
    listed = ", ".join(f"{leaf.name}: {leaf.dtype}" for leaf in subject.leaves) or "none"
    what = "input or variable" if not subject.slots else "output"
    message = f"there is no floating {what} to differentiate (inputs: {listed})"
    hint = "whole numbers without a decimal point are int32: write 1.0, or give a `dtype`"
    if not subject.slots and any(leaf.floating for leaf in subject.leaves):
        message, hint = "every floating input says `differentiate: false` or `none`", "differentiate one of them"
    yield Finding("inconclusive", f"no gradient is compared: {message}", level="warning", hint=hint)


def _nonfinite_forward(subject: Subject) -> Iterator[Finding]:
    bad = [np.argwhere(~np.isfinite(o)) for o in subject.outputs if np.asarray(o).dtype.kind in "fcV" and _checkable(o)]
    places = [place for group in bad for place in group.tolist()]
    if places:
        yield Finding(
            "forward-nonfinite",
            f"the forward value is NaN or infinite at {len(places)} element{'s' * (len(places) != 1)},"
            f" first at {places[0]}",
            level="warning",
            hint="choose inputs inside the domain, or mend the forward; no finite difference can be taken there",
            mode="eager",
            dtype=subject.dtype,
        )


def _checkable(output: Any) -> bool:
    try:
        np.isfinite(output)
    except TypeError:
        return False
    return True


def _of_slot(slot: Slot, gradient: Any) -> Iterator[Finding]:
    if gradient is None:
        return
    shape = tuple(int(n) for n in np.shape(gradient))
    if shape != slot.shape:
        yield _shape_finding(slot.name, shape, slot.shape)
    dtype = tf.as_dtype(np.asarray(gradient).dtype).name
    if dtype != slot.dtype:
        yield _dtype_finding(slot.name, dtype, slot.dtype)


def _shape_finding(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], inside: str = "") -> Finding:
    cause, hint = explain_shape(shape, wanted)
    message = f"the gradient of `{name}`{inside} has shape {list(shape)}, `{name}` has {list(wanted)}"
    if cause == "over-reduced":
        message += " (an optimizer would broadcast it silently)"
    return Finding("gradient-shape", message, cause, hint=hint, wrt=name, mode="eager")


def _dtype_finding(name: str, dtype: str, wanted: str, inside: str = "") -> Finding:
    message = f"the gradient of `{name}`{inside} is {dtype}, `{name}` is {wanted}"
    return Finding("gradient-dtype", message, hint=f"return tf.cast(gradient, {name}.dtype)", wrt=name, mode="eager")


def _of_notes(notes: Sequence[GradientNote], reported: set[str]) -> Iterator[Finding]:
    """Check what grad_fn itself returned, also where TensorFlow mended it on the way."""
    for note in notes:
        if (
            note.variable
            or note.missing
            or note.shape is None
            or note.wanted_shape is None
            or note.argument in reported
        ):
            continue
        known = None not in note.shape and None not in note.wanted_shape
        if known and note.shape != note.wanted_shape:
            reported.add(note.argument)
            shape, wanted = tuple(n or 0 for n in note.shape), tuple(n or 0 for n in note.wanted_shape)
            yield _shape_finding(note.argument, shape, wanted, f" in `{note.function}`")
        elif note.dtype != note.wanted_dtype:
            reported.add(note.argument)
            yield _dtype_finding(note.argument, note.dtype, note.wanted_dtype, f" in `{note.function}`")


def _keywords(subject: Subject) -> Iterator[Finding]:
    for name in dict.fromkeys(subject.probe.keyword_calls):
        yield Finding(
            "keywords-ignored",
            f"`{name}` is called with keyword arguments: TensorFlow drops its custom gradient silently in eager",
            level="warning",
            hint=f"call `{name}` with positional arguments",
            mode="eager",
        )


def _declared_none(subject: Subject) -> Iterator[Finding]:
    """Check that inputs declared `differentiate: none` get no gradient."""
    positions = [i for i, leaf in enumerate(subject.leaves) if leaf.floating and leaf.differentiate == "none"]
    if not positions:
        return
    gradients = Gradients(subject.operation, tuple(positions), (), subject.gradients.state, subject.gradients.seed)
    run = gradients.run(EAGER, subject.values, subject.upstream)
    for position, gradient in zip(positions, run.gradients, strict=True):
        leaf: Leaf = subject.leaves[position]
        if gradient is not None and np.any(np.asarray(gradient) != 0):
            yield Finding(
                "gradient-mismatch",
                f"`{leaf.name}` is declared `differentiate: none` and gets a gradient that is not zero",
                "unknown",
                wrt=leaf.name,
                mode="eager",
                hint="return None for it, or drop the declaration",
            )

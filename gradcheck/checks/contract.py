# SPDX-License-Identifier: Apache-2.0
"""Return value, count, None, shape, dtype: what can be said before any number is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.rule_contract import GradientNote
from gradcheck.backend.tensorflow.runs import Gradients, dtype_name
from gradcheck.checks.check import Check, Item
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.diagnose.regions import domain_between
from gradcheck.diagnose.shapes import explain_shape
from gradcheck.measure.lab import Lab
from gradcheck.numerics.arrays import AnyArray
from gradcheck.numerics.packing import Slot
from gradcheck.results import Finding
from gradcheck.ways import EAGER


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Check what came back from the first run, input by input."""
    yield from _nonfinite_forward(lab)
    yield from _nothing_differentiated(lab)
    yield from lab.left_out
    wrong: set[str] = set()
    for slot, gradient in zip(lab.slots, lab.first.gradients, strict=True):
        for finding in _of_slot(slot, gradient):
            wrong.add(slot.name)
            yield finding
    yield from _of_notes(lab.gradient_notes, wrong)
    yield from _keywords(lab)
    _check_intended(lab)
    yield from _declared_none(lab)


CHECK = Check("contract", "contract", ask, estimates=True)


def _nothing_differentiated(lab: Lab) -> Iterator[Finding]:
    """Warn of a case that compares no gradient, so that it does not pass for a check."""
    if lab.slots and lab.layout.outputs.slots:
        return
    listed = ", ".join(f"{leaf.name}: {leaf.dtype}" for leaf in lab.leaves) or "none"
    what = "input or variable" if not lab.slots else "output"
    message = f"there is no floating {what} to differentiate (inputs: {listed})"
    hint = "whole numbers without a decimal point are int32: write 1.0, or give a `dtype`"
    if not lab.slots and any(leaf.floating for leaf in lab.leaves):
        message, hint = "every floating input says `differentiate: false` or `none`", "differentiate one of them"
    yield Finding("inconclusive", f"no gradient is compared: {message}", hint=hint)


def _nonfinite_forward(lab: Lab) -> Iterator[Finding]:
    bad = [np.argwhere(~np.isfinite(o)) for o in lab.outputs if np.asarray(o).dtype.kind in "fcV" and _checkable(o)]
    places = [place for group in bad for place in group.tolist()]
    if places:
        domain = _domain_of(lab)
        hint = "choose inputs inside the domain, or correct the forward; no finite difference can be taken there"
        yield Finding(
            "forward-nonfinite",
            f"the forward value is NaN or infinite at {len(places)} element{'s' * (len(places) != 1)},"
            f" first at {places[0]}",
            hint=f"add {domain}, or choose inputs inside the domain" if domain else hint,
        )


def _domain_of(lab: Lab) -> str:
    """Return the words for the domain of an elementwise op whose outputs are no numbers outside; "" if none shows."""
    for leaf in lab.leaves:
        if not leaf.differentiated or leaf.dtype.startswith("complex") or leaf.domain is not None:
            continue
        for output in lab.outputs:
            if np.shape(output) == np.shape(leaf.values) and np.asarray(output).dtype.kind == "f":
                domain = domain_between(leaf.values, np.isfinite(output))
                if domain:
                    return f"`domain: {domain}` to `{leaf.name}`"
    return ""


def _checkable(output: AnyArray) -> bool:
    try:
        np.isfinite(output)
    except TypeError:
        return False
    return True


def _of_slot(slot: Slot, gradient: AnyArray | None) -> Iterator[Finding]:
    if gradient is None:
        return
    shape = tuple(int(n) for n in np.shape(gradient))
    if shape != slot.shape:
        yield _shape_finding(slot.name, shape, slot.shape)
    dtype = dtype_name(np.asarray(gradient))
    if dtype != slot.dtype:
        yield _dtype_finding(slot.name, dtype, slot.dtype)


def _shape_finding(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], inside: str = "") -> Finding:
    cause, hint = explain_shape(shape, wanted)
    message = f"the gradient of `{name}`{inside} has shape {list(shape)}, `{name}` has {list(wanted)}"
    if cause == "over-reduced":
        message += " (an optimizer would broadcast it silently)"
    return Finding("gradient-shape", message, cause, hint=hint, wrt=name)


def _dtype_finding(name: str, dtype: str, wanted: str, inside: str = "") -> Finding:
    message = f"the gradient of `{name}`{inside} is {dtype}, `{name}` is {wanted}"
    return Finding("gradient-dtype", message, hint=f"return tf.cast(gradient, {name}.dtype)", wrt=name)


def _of_notes(notes: Sequence[GradientNote], reported: set[str]) -> Iterator[Finding]:
    """Check what grad_fn itself returned, also where TensorFlow corrects it on the way."""
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
            # TensorFlow casts it on the way: the gradient that the case's own inputs get has the right dtype.
            yield softened(_dtype_finding(note.argument, note.dtype, note.wanted_dtype, f" in `{note.function}`"))


def _keywords(lab: Lab) -> Iterator[Finding]:
    for name in dict.fromkeys(lab.recorder.keyword_calls):
        finding = Finding(
            "keywords-ignored",
            f"`{name}` is called with keyword arguments: TensorFlow drops its custom gradient silently in eager",
            hint=f"call `{name}` with positional arguments",
        )
        yield seen_in(EAGER, finding)


def _check_intended(lab: Lab) -> None:
    """Raise Stopped unless every custom gradient that the case names as intended is called."""
    short = {name.rpartition(".")[2] for name in lab.called}
    for name in lab.case.intended:
        if name not in lab.called and name not in short:
            called = ", ".join(lab.called) or "none"
            message = f"`intended: {name}`: no custom gradient of this name is called (called: {called})"
            raise Stopped(Finding("op-error", message, hint="use the function's name, or its qualified name"))


def _declared_none(lab: Lab) -> Iterator[Finding]:
    """Check that inputs declared `differentiate: none` get no gradient."""
    positions = [i for i, leaf in enumerate(lab.leaves) if leaf.floating and leaf.differentiate == "none"]
    if not positions:
        return
    gradients = Gradients(lab.operation, tuple(positions), (), lab.gradients.state, lab.gradients.seed)
    run = gradients.run(EAGER, lab.values, lab.upstream)
    for position, gradient in zip(positions, run.gradients, strict=True):
        leaf: Leaf = lab.leaves[position]
        if gradient is not None and np.any(np.asarray(gradient) != 0):
            yield Finding(
                "gradient-mismatch",
                f"`{leaf.name}` is declared `differentiate: none` and gets a gradient that is not zero",
                "unknown",
                wrt=leaf.name,
                hint="return None for it, or drop the declaration",
            )

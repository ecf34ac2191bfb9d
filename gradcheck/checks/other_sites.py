# SPDX-License-Identifier: Apache-2.0
"""The op set up anew: other values of its variables and constants, other integers, ties, other numbers of rows.

The gradient is compared with autodiff there, which is cheap; only where they disagree is the whole
comparison made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped, finding_from
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.checks.check import DERIVATIVE, FIXED, INPUTS, OUTPUTS, Check, Item
from gradcheck.checks.counterexamples import found_at
from gradcheck.checks.nearby import SPOILT
from gradcheck.diagnose.finding import softened
from gradcheck.findings import ERROR
from gradcheck.measure.lab import Lab
from gradcheck.measure.other_sizes import grown, own_size
from gradcheck.measure.pulled import Pulled, pull, pulled_at
from gradcheck.numerics.arrays import Arrays
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.results import Element, Finding
from gradcheck.sites.held import other_held
from gradcheck.sites.integers import other_integers
from gradcheck.sites.site import SetUp
from gradcheck.sites.sizes import other_sizes
from gradcheck.sites.switches import switches
from gradcheck.sites.ties import ties
from gradcheck.sites.variables import other_variables
from gradcheck.verdict.tolerances import (
    ELSEWHERE_FLOOR,
    ELSEWHERE_RTOL,
    HALVES_ELSEWHERE_RTOL,
    ROUNDINGS_OF_A_SUM,
    ROUNDOFF,
    SLOPE_RTOL,
)

# Every family of set-ups, in the order in which they are tried.
FAMILIES = (other_variables, other_held, other_integers, switches, ties, other_sizes)
KEPT = ("gradient-mismatch", "gradient-nonfinite", "gradient-missing", "gradient-shape")
_ADD = "add what comes from each use of a row: tf.math.unsorted_segment_sum, or tf.tensor_scatter_nd_add"
_SHUT = "let the gradient through only where the forward takes this input: look at how both use what is changed there"
_SIZES = "take sizes from the tensors: tf.shape(x), not numbers of one batch"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare the gradient with autodiff at other variables, integers, ties and sizes."""
    known = any(f.code == "dynamic-shape" and f.level == ERROR for f in found)
    # Of an op without a rule of its own autodiff is the gradient itself; differences judge where it is no number.
    families = FAMILIES if lab.custom or lab.case.surrogate else (ties,)
    try:
        for there in (there for family in families for there in family(lab)):
            if known and there.resized:
                return
            finding = _at(lab, there)
            if finding is not None:
                yield finding if there.asked else _unasked(lab, there, finding)
                return
    finally:
        lab.gradients.state.restore()


CHECK = Check("other sites", "elsewhere", ask, (INPUTS, OUTPUTS, DERIVATIVE, FIXED), SPOILT, exploring=True)


def _unasked(lab: Lab, there: SetUp, finding: Finding) -> Finding:
    """Return what is said of a size of another axis than the batch's: an error where other sizes may come.

    A warning where the gradient may be meant for the sample's size alone, and where differences do not say it too: of
    a wide matrix a formula for tall ones is no more than another convention.
    """
    hint = (
        "grad_fn is right for some sizes only (a size that is written down, an odd or even length): take sizes from"
        " the tensors, refuse other sizes in the forward, or say `dynamic_shapes: false`"
    )
    confirmed = finding.elements and all(map(_both_agree, finding.elements))
    if confirmed and (there.ordinary or _right_with_two_more(lab, there.axis)):
        return replace(finding, hint=hint)
    return softened(replace(finding, code="dynamic-shape", cause=None, hint=hint))


def _right_with_two_more(lab: Lab, axis: int) -> bool:
    """Return whether the gradient is right with two more along an axis: then it is not one of a single size."""
    more = grown(lab, lab.bare, axis, own_size(lab, axis) + 2)
    if more is None:
        return False
    values, wanted = more
    got = pulled_at(lab, lab.operation, values, lab.gradients.state)
    return got is not None and got.shapes == wanted.shapes and _agree(lab, values, wanted, got)


def _both_agree(element: Element) -> bool:
    """Return whether autodiff and the finite difference of an element are one number."""
    a, d = element.autodiff, element.finite_difference
    return a is not None and d is not None and abs(a - d) <= SLOPE_RTOL * max(abs(a), abs(d))


def _at(lab: Lab, there: SetUp) -> Finding | None:
    wanted = there.wanted or pulled_at(lab, lab.bare, there.values, there.state)
    if wanted is None or not all(np.isfinite(wide(o)).all() for o in wanted.outputs):
        return None
    if not all(g is None or np.isfinite(wide(g)).all() for g in wanted.gradients):
        return _where_autodiff_fails(lab, there)
    if not (lab.custom or lab.case.surrogate):
        return None
    try:
        got = pull(lab, lab.operation, there.values, there.state)
    except Exception as error:
        if own_fault(error):
            raise
        # What raises only once is no matter of sizes: the log of calls says so at the end.
        every_time = pulled_at(lab, lab.operation, there.values, there.state) is None
        return _refused(lab, there, error) if there.resized and there.asked and every_time else None
    if got.shapes != wanted.shapes:
        return None
    for slot, a, b in zip(lab.slots, wanted.gradients, got.gradients, strict=True):
        if a is not None and b is not None and a.shape != b.shape:
            if not there.asked:
                return None
            message = f"the gradient of `{slot.name}` has shape {list(b.shape)} {there.said}, not {list(a.shape)}"
            return Finding("gradient-shape", message, hint=_SIZES, wrt=slot.name)
    if _agree(lab, there.values, wanted, got):
        return None
    finding = _confirmed(lab, there)
    return finding and (_kept_since_import(lab, there, got, finding) or finding)


def _kept_since_import(lab: Lab, there: SetUp, got: Pulled, finding: Finding) -> Finding | None:
    """Return a finding where the gradient stays as it is when variables change that it holds the values of.

    At the sample it is right, so that it knows their values; those of zeros and ones it need not know.
    """
    state = lab.gradients.state
    same_inputs = all(a is b for a, b in zip(there.values, lab.values, strict=True))
    general = any(v.dtype.kind == "f" and not np.isin(v, (0.0, 1.0)).all() for v in state.values)
    if there.state is state or not same_inputs or not general:
        return None
    state.restore()
    before = pull(lab, lab.operation, lab.values, state)
    for slot, a, b in zip(lab.slots, before.gradients, got.gradients, strict=True):
        if slot.name == finding.wrt and a is not None and b is not None and np.array_equal(a, b) and np.any(a != 0):
            return Finding(
                "stale-state",
                f"the gradient of `{slot.name}` keeps a value that a variable had when the module was imported: after"
                " an assignment to it the gradient is the same, and the right one is another",
                hint="read the variable in the forward and close over that tensor in grad_fn",
                wrt=slot.name,
            )
    return None


def _where_autodiff_fails(lab: Lab, there: SetUp) -> Finding | None:
    """Return what differences say where TensorFlow's own gradient is no number although the forward is one."""
    if there.resized or lab.case.surrogate:
        return None
    got = pulled_at(lab, lab.operation, there.values, there.state)
    if got is None or all(g is None or np.isfinite(wide(g)).all() for g in got.gradients):
        return None
    return _confirmed(lab, there, ("gradient-nonfinite",))


def _refused(lab: Lab, there: SetUp, error: BaseException) -> Finding:
    failure = finding_from(lab.recorder.gradient_failure or error, "dynamic-shape", lab.recorder)
    message = f"fails {there.said}: {failure.message}"
    return replace(failure, code="dynamic-shape", cause=None, message=message, hint=_SIZES)


def _agree(lab: Lab, values: Arrays, wanted: Pulled, got: Pulled) -> bool:
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else ELSEWHERE_RTOL
    points = [*(values[i] for i in lab.sources), *(v.numpy() for v in lab.gradients.variables)]
    unit = ROUNDOFF.get(lab.coarsest, ROUNDOFF["float32"])
    for value, a, b in zip(points, wanted.gradients, got.gradients, strict=True):
        if b is None or a is None:
            continue
        typical = float(np.median(np.abs(wide(value)))) or 1.0 if value.size else 1.0
        # What rounding leaves of terms that cancel.
        noise = ROUNDINGS_OF_A_SUM * unit * wanted.output_size / typical
        if not close(b, a, rtol, rtol * ELSEWHERE_FLOOR * largest(a) + noise):
            return False
    return True


def _confirmed(lab: Lab, there: SetUp, kept: tuple[str, ...] = KEPT) -> Finding | None:
    """Return what the whole comparison says of a set-up, None if it does not blame the op there."""
    there.state.restore()
    try:
        found = found_at(lab, there.values, kept)
    except Stopped as stop:
        found = stop.finding if there.resized and stop.finding.code in kept else None
    if found is None:
        return None
    if there.repeats and found.cause in ("unknown", "elements"):
        found = replace(found, cause="missing-term", hint=_ADD)
    if found.cause == "no-effect":
        # At the sample the input has an effect: what was changed shuts it off.
        found = replace(found, cause="mask", hint=_SHUT)
    return replace(found, message=f"{found.message.rstrip('.')}. Seen {there.said}; right at the sample.")

"""The op set up anew: other values of its variables, other integers, ties, other numbers of rows.

The gradient is compared with autodiff there, which is cheap; only where they disagree is the whole
comparison made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped, finding_from
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.checks import slopes
from gradcheck.checks.check import CUSTOM, DERIVATIVE, FIXED, INPUTS, OUTPUTS, Check, Item
from gradcheck.checks.other_values import SPOILT
from gradcheck.diagnose.finding import softened
from gradcheck.findings import CATALOGUE, ERROR
from gradcheck.measure.lab import Lab
from gradcheck.measure.prepare import prepare
from gradcheck.measure.pulled import Pulled, pull, pulled_at
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.results import Finding
from gradcheck.sites.integers import other_integers
from gradcheck.sites.site import SetUp
from gradcheck.sites.sizes import other_sizes
from gradcheck.sites.ties import ties
from gradcheck.sites.variables import other_variables
from gradcheck.verdict.tolerances import (
    ELSEWHERE_FLOOR,
    ELSEWHERE_RTOL,
    HALVES_ELSEWHERE_RTOL,
    ROUNDINGS_OF_A_SUM,
    ROUNDOFF,
)

# Every family of set-ups, in the order in which they are tried.
FAMILIES = (other_variables, other_integers, ties, other_sizes)
KEPT = ("gradient-mismatch", "gradient-nonfinite", "gradient-missing", "gradient-shape")
_SIZES = "take sizes from the tensors: tf.shape(x), not numbers of one batch"


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Compare the gradient with autodiff at other variables, integers, ties and sizes."""
    known = any(f.code == "dynamic-shape" for f in found)
    try:
        for there in (there for family in FAMILIES for there in family(lab)):
            if known and there.resized:
                return
            finding = _at(lab, there)
            if finding is not None:
                yield finding if there.asked else _unasked(finding)
                return
    finally:
        lab.gradients.state.restore()


CHECK = Check("other sites", "elsewhere", ask, (INPUTS, OUTPUTS, CUSTOM, DERIVATIVE, FIXED), SPOILT, exploring=True)


def _unasked(finding: Finding) -> Finding:
    """Return a warning: an op may be made for one size of an axis, but then it should refuse another."""
    hint = "a size is written down in grad_fn: take it from the tensors, or refuse other sizes in the forward"
    return softened(replace(finding, code="dynamic-shape", cause=None, hint=hint))


def _at(lab: Lab, there: SetUp) -> Finding | None:
    wanted = there.wanted or pulled_at(lab, lab.bare, there.values, there.state)
    if wanted is None or not all(g is None or np.isfinite(wide(g)).all() for g in wanted.gradients):
        return None
    try:
        got = pull(lab, lab.operation, there.values, there.state)
    except Exception as error:
        if own_fault(error):
            raise
        return _refused(lab, there, error) if there.resized and there.asked else None
    if got.shapes != wanted.shapes:
        return None
    for slot, a, b in zip(lab.slots, wanted.gradients, got.gradients, strict=True):
        if a is not None and b is not None and a.shape != b.shape:
            if not there.asked:
                return None
            message = f"the gradient of `{slot.name}` has shape {list(b.shape)} {there.said}, not {list(a.shape)}"
            return Finding("gradient-shape", message, hint=_SIZES, wrt=slot.name)
    return None if _agree(lab, there, wanted, got) else _confirmed(lab, there)


def _refused(lab: Lab, there: SetUp, error: BaseException) -> Finding:
    failure = finding_from(lab.recorder.gradient_failure or error, "dynamic-shape", lab.recorder)
    message = f"fails {there.said}: {failure.message}"
    return replace(failure, code="dynamic-shape", cause=None, message=message, hint=_SIZES)


def _agree(lab: Lab, there: SetUp, wanted: Pulled, got: Pulled) -> bool:
    rtol = HALVES_ELSEWHERE_RTOL if lab.rounds_to_half else ELSEWHERE_RTOL
    points = [*(there.values[i] for i in lab.sources), *(v.numpy() for v in lab.gradients.variables)]
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


def _confirmed(lab: Lab, there: SetUp) -> Finding | None:
    """Return what the whole comparison says of a set-up, None if it does not blame the op there."""
    there.state.restore()
    try:
        again = prepare(lab.loaded, lab.asked, 0, lab.devices, values=there.values)
        again.show = lab.show
        items = list(slopes.ask(again, []))
    except Stopped as stop:
        items = [stop.finding] if there.resized else []
    except Exception as error:
        if own_fault(error):
            raise
        return None
    for item in items:
        if isinstance(item, Finding) and item.code in KEPT and (item.level or CATALOGUE[item.code].level) == ERROR:
            return replace(item, message=f"{item.message} Seen {there.said}; right at the sample.")
    return None

# SPDX-License-Identifier: Apache-2.0
"""What the checks find in an op as its code is now: a mend is shown only if it adds no error."""

from __future__ import annotations

from collections.abc import Collection

from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.diagnose.finding import level_of
from gradcheck.errors import one_line
from gradcheck.findings import ERROR
from gradcheck.measure.lab import Lab
from gradcheck.measure.prepare import prepare_at
from gradcheck.results import Finding

# They import or load the code of the user's file, which is another one, or judge nothing.
NOT_OF_AN_EDIT = frozenset({"repeatability", "saved", "replicas", "cost"})


def faults_left(lab: Lab, of: str | None = None, before: Collection[Finding] = ()) -> list[Finding]:
    """Return the errors that checks find in the op, set up anew at the same inputs, and a size written down in it.

    With `of`, errors that name another input or variable do not count; nor do those that were found `before`, of
    the op as it was: that a mode refuses it is no fault of a gradient.  The first that is a wrong gradient is the last.
    """
    try:
        return _faults(prepare_at(lab, lab.values), of, {(f.code, f.message) for f in before})
    except Stopped as stop:
        return [stop.finding]
    except Exception as error:
        if own_fault(error):
            raise
        return [Finding("op-error", one_line(error))]
    finally:
        lab.gradients.state.restore()


def _faults(lab: Lab, of: str | None, before: Collection[tuple[str, str]]) -> list[Finding]:
    # The checks import this file.
    from gradcheck.checks import CHECKS

    found: list[Finding] = []
    faults: list[Finding] = []
    for check in CHECKS:
        if check.name in NOT_OF_AN_EDIT or check.reason_to_skip(lab, found) is not None:
            continue
        for item in check.ask(lab, found):
            if not isinstance(item, Finding):
                continue
            # A mend that holds at one size only is none.
            counts = item.code == "dynamic-shape" or (level_of(item) == ERROR and of in (None, item.wrt))
            if counts and (item.code, item.message) not in before:
                faults.append(item)
                if item.code != "gradient-nonfinite":
                    return faults
            found.append(item)
    return faults

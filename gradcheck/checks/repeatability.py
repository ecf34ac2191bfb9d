# SPDX-License-Identifier: Apache-2.0
"""Twice the same, and untouched by what was called before, in between or at trace time."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from gradcheck.backend.tensorflow.failures import finding_from, first_line, outputs_changed
from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.install import install
from gradcheck.backend.tensorflow.loading import load
from gradcheck.backend.tensorflow.operation import State
from gradcheck.backend.tensorflow.runs import Gradients, OutputsChanged, Run
from gradcheck.checks.check import Check, Item
from gradcheck.checks.disturbances import DISTURBANCES, stale
from gradcheck.measure.lab import Lab
from gradcheck.measure.sameness import close_arrays, same_runs
from gradcheck.results import Finding, Skipped
from gradcheck.verdict.tolerances import (
    COUNTED_CALLS,
)


def ask(lab: Lab, found: Sequence[Finding]) -> Iterator[Item]:
    """Run the gradient again: at once, after another point, with a second forward in between."""
    try:
        again = lab.run()
    except OutputsChanged as error:
        yield outputs_changed(error)
        return
    except Exception as error:
        if own_fault(error):
            raise
        yield _raises_later(lab, error)
        return
    if not same_runs(lab, lab.first, again):
        yield _counted(lab) or _nondeterministic(lab, lab.first, again)
        return
    for disturbance in DISTURBANCES:
        name = f"repeatability: {disturbance.name}"
        missing = next((need.otherwise for need in disturbance.needs if not need.met(lab)), None)
        if missing is not None:
            yield Skipped(name, missing)
            continue
        try:
            finding = disturbance.ask(lab, lab.first)
        except Exception as error:
            if own_fault(error):
                raise
            yield Skipped(name, f"the op refuses it: {first_line(error)}")
            continue
        if finding is not None:
            yield finding
            return


def _raises_later(lab: Lab, error: BaseException) -> Finding:
    failure = finding_from(lab.recorder.gradient_failure or error, "nondeterministic", lab.recorder)
    return replace(
        failure,
        code="nondeterministic",
        cause=None,
        message=f"the first call works, the next one on the same inputs raises {failure.message}",
        hint="keep nothing between calls that decides what the op or its grad_fn does",
    )


def _nondeterministic(lab: Lab, a: Run, b: Run) -> Finding:
    pairs = zip(a.outputs, b.outputs, strict=False)
    values = len(a.outputs) == len(b.outputs) and all(close_arrays(x, y, lab) for x, y in pairs)
    what = "the gradient" if values else "the forward value"
    return Finding(
        "nondeterministic",
        f"{what} differs between two runs on the same inputs",
        hint="keep random numbers out of grad_fn; draw them in the forward with tf.random, which gradcheck seeds, or"
        " pass them in as an input",
    )


def _counted(lab: Lab) -> Finding | None:
    """Return a finding if the difference comes from counting calls and not from random numbers.

    A count starts anew in a freshly imported module and then repeats itself; random numbers
    do not.
    """
    if not lab.case.module.endswith(".py") or lab.variables:
        return None
    try:
        first, second = _sequence(lab), _sequence(lab)
    except Exception as error:
        if own_fault(error):
            raise
        # No answer, so that the plain finding stands.
        return None
    finally:
        install(lab.recorder)
    if first is None or second is None or not all(same_runs(lab, a, b) for a, b in zip(first, second, strict=True)):
        return None
    return stale(
        "the gradient depends on how often the op was called before",
        "something is counted or kept between calls (a global, an attribute); use only the tensors of the call",
    )


def _sequence(lab: Lab) -> list[Run] | None:
    """Return the first runs of a freshly imported module, None if Python or NumPy drew random numbers."""
    fresh = load(lab.case)
    before = random.getstate(), _numpy_state()
    gradients = Gradients(lab.operation.with_op(fresh.op), lab.sources, (), State((), ()))
    runs = [gradients.run(lab.first_way, lab.values, lab.upstream) for _ in range(COUNTED_CALLS)]
    return runs if (random.getstate(), _numpy_state()) == before else None


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())


BROKEN_CONTRACT = frozenset(
    {"gradient-shape", "gradient-dtype", "gradient-count", "gradient-missing", "gradient-nonfinite"}
)

CHECK = Check("repeatability", "determinism", ask, pointless_after=BROKEN_CONTRACT)

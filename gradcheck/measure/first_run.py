# SPDX-License-Identifier: Apache-2.0
"""The first run of a gradient: what it gives, what every grad_fn returned, and which variables it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.backend.tensorflow.failures import Stopped, finding_from, outputs_changed
from gradcheck.backend.tensorflow.faults import own_fault, refused
from gradcheck.backend.tensorflow.graph_facts import drawn_in_gradient
from gradcheck.backend.tensorflow.operation import State
from gradcheck.backend.tensorflow.rule_contract import GradientNote
from gradcheck.backend.tensorflow.runs import OutputsChanged, Run

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.operation import Variable
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class FirstRun:
    """Hold outputs and gradients, what every grad_fn returned, and the names of the variables that changed.

    `called` names the functions under tf.custom_gradient that were called, `bypassed` the same if no
    grad_fn was.
    """

    run: Run
    notes: tuple[GradientNote, ...]
    called: tuple[str, ...]
    bypassed: tuple[str, ...]
    changed: tuple[str, ...]


def first_run(lab: Lab) -> FirstRun:
    """Return the gradient in the first way asked for.

    Raises Stopped with `gradient-error`, `nondeterministic`, or the code of a broken contract.
    """
    recorder = lab.recorder
    recorder.clear()
    try:
        run = lab.run(lab.first_way)
    except OutputsChanged as error:
        raise Stopped(outputs_changed(error)) from error
    except (Exception, SystemExit) as error:
        if own_fault(error):
            raise
        raise Stopped(finding_from(recorder.gradient_failure or error, "gradient-error", recorder)) from error
    called = tuple(dict.fromkeys(recorder.called))
    bypassed = () if recorder.notes or recorder.keyword_calls else called
    return FirstRun(
        run, tuple(recorder.notes), called, bypassed, changed_since(lab.gradients.state, lab.every_variable)
    )


def changed_since(before: State, every: tuple[Variable, ...] | list[Variable]) -> tuple[str, ...]:
    """Return the names of the variables whose values are others than `before`."""
    names: list[str] = []
    for variable, value in zip(before.variables, before.values, strict=True):
        # A single string comes as bytes.
        now = np.asarray(variable.numpy())
        if not np.array_equal(now, value, equal_nan=now.dtype.kind in "fc"):
            names += [v.name for v in every if v.variable is variable]
    return tuple(names)


def redraws(lab: Lab) -> bool:
    """Return whether the gradient draws more random numbers than the forward: others than the forward's."""
    drawn = refused(lambda: drawn_in_gradient(lab.gradients, lab.values, lab.upstream))
    lab.gradients.state.restore()
    return drawn is not None and drawn > lab.facts.drawn

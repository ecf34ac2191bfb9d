# SPDX-License-Identifier: Apache-2.0
"""What may come between two calls of an op without changing its gradient: other calls, assignments, tracing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.failures import first_line
from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.install import install
from gradcheck.backend.tensorflow.keras_types import set_random_seed
from gradcheck.backend.tensorflow.loading import load
from gradcheck.backend.tensorflow.operation import State, differentiable, floating_arrays
from gradcheck.backend.tensorflow.runs import Gradients, Run, as_tensor, dense, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape
from gradcheck.checks.check import CUSTOM, FIXED, VARIABLES, Need
from gradcheck.diagnose.finding import seen_in, softened
from gradcheck.measure.lab import Lab
from gradcheck.measure.noise import explains, noise_at
from gradcheck.measure.sameness import close_arrays, same_runs
from gradcheck.numerics.arrays import Arrays
from gradcheck.numerics.closeness import wide
from gradcheck.results import Finding
from gradcheck.sites.coordinates import another_point, turned_round
from gradcheck.verdict.tolerances import ASSIGNED_FACTOR, FLIPPED, OTHER_MODE_ROUNDINGS, RANDOM_SEED
from gradcheck.ways import EAGER


def stale(message: str, hint: str, wrt: str | None = None) -> Finding:
    """Return the finding for a gradient that depends on another call than its own."""
    return Finding("stale-state", message, hint=hint, wrt=wrt)


def _after_another_point(lab: Lab, first: Run) -> Finding | None:
    lab.recorder.clear()
    point = another_point(lab)
    try:
        lab.run(values=point)
    except Exception:
        failure = lab.recorder.gradient_failure
        if failure is None or lab.run_plain(values=point) is None:
            raise
        return stale(
            f"grad_fn raises at another point than the first, which the forward takes: {first_line(failure)}",
            "something is kept from the first call (a cache, an attribute); use only the tensors of the call",
        )
    if same_runs(lab, first, lab.run(lab.first_way)):
        return None
    return stale(
        "the gradient is another one after the op was called at another point in between",
        "keep nothing between calls: let grad_fn close over the tensors of its own forward",
    )


def _second_backward(lab: Lab, first: Run) -> Finding | None:
    """Take the gradient twice of one forward, as a Jacobian does and a persistent tape allows."""
    known, again = _pulled_twice(lab)
    if isinstance(again, Exception):
        return seen_in(
            EAGER,
            stale(
                f"a second backward pass of the same forward raises {first_line(again)}",
                "grad_fn uses up what the forward kept; tape.jacobian and persistent tapes call it again",
            ),
        )
    pairs = zip(lab.slots, known, again, strict=True)
    changed = next((slot.name for slot, a, b in pairs if not close_arrays(a, b, lab)), None)
    if changed is None:
        return None
    message = f"the gradient of `{changed}` is another one at a second backward pass of the same forward"
    return seen_in(EAGER, stale(message, "grad_fn changes what the forward kept", wrt=changed))


def _recorded(lab: Lab, persistent: bool = False) -> tuple[Any, list[Any], list[Any]]:
    """Return a tape of one forward at the sample in eager, the tensors that it watches, and the floating outputs."""
    lab.gradients.begin()
    tensors = [as_tensor(v) for v in lab.values]
    watched = [tensors[i] for i in lab.sources]
    with GradientTape(persistent=persistent) as tape:
        tape.watch(watched)
        outputs = [t for t in lab.operation(tensors) if differentiable(t)]
    return tape, watched, outputs


def _pulled_twice(lab: Lab) -> tuple[list[Any], Any]:
    """Return the gradients of two backward passes of one forward in eager; an exception in the place of the second."""
    tape, watched, outputs = _recorded(lab, persistent=True)
    sources = [*watched, *lab.gradients.variables]
    ups = [as_tensor(u) for u in lab.upstream]
    known = [to_array(dense(g)) for g in tape.gradient(outputs, sources, output_gradients=ups)]
    try:
        again: Any = [to_array(dense(g)) for g in tape.gradient(outputs, sources, output_gradients=ups)]
    except Exception as error:
        again = error
    lab.gradients.state.restore()
    return known, again


def _second_forward(lab: Lab, first: Run) -> Finding | None:
    """Call the op once more between forward and backward, first as it is, then with its variables put back."""
    points = [another_point(lab), *turned_round(lab)]
    found = ((point, _changed_by_second_forward(lab, first, point, put_back=False)) for point in points)
    point, changed = next(((point, name) for point, name in found if name is not None), (None, None))
    if point is None:
        return None
    message = f"the gradient of `{changed}` changes when the op is called once more between forward and backward"
    if lab.state_changed and _changed_by_second_forward(lab, first, point, put_back=True) is None:
        names = ", ".join(lab.state_changed)
        finding = Finding(
            "state-changed",
            f"{message}: each call changes {names}, which grad_fn reads again",
            hint=f"read {names} once in the forward and close over that tensor in grad_fn",
            wrt=changed,
        )
        return seen_in(EAGER, finding)
    finding = stale(
        message,
        "what grad_fn needs is kept in one place for all calls (an attribute, a global);"
        " close over the tensors of each call instead",
        wrt=changed,
    )
    return seen_in(EAGER, finding)


def _changed_by_second_forward(lab: Lab, first: Run, point: Arrays, put_back: bool) -> str | None:
    """Return the first input whose gradient another forward changes, None if it changes none or is refused."""
    after = refused(lambda: _taped(lab, point, put_back=put_back))
    if after is None:
        return None
    # In eager and on this device the gradient may be another one than in the first way.
    for before in (first.gradients, None):
        known = _taped(lab) if before is None else before
        pairs = zip(lab.slots, known, after, strict=False)
        changed = next((slot.name for slot, a, b in pairs if not close_arrays(a, b, lab)), None)
        if changed is None:
            return None
    return changed


def _taped(lab: Lab, other: Arrays | None = None, put_back: bool = False) -> list[Any]:
    """Return the gradients in eager; with `other` the op is called once more there before the backward pass."""
    tape, watched, outputs = _recorded(lab)
    left = State.of(lab.gradients.state.variables)
    if other is not None:
        lab.operation([as_tensor(v) for v in other])
    if put_back:
        left.restore()
    sources = [*watched, *lab.gradients.variables]
    gradients = tape.gradient(outputs, sources, output_gradients=[as_tensor(u) for u in lab.upstream])
    lab.gradients.state.restore()
    return [to_array(dense(gradient)) for gradient in gradients]


def _fresh_start(lab: Lab, first: Run) -> Finding | None:
    """Compare with a freshly imported module whose first call is at the other point."""
    point = another_point(lab, flipped=FLIPPED)
    here = lab.run(lab.first_way, values=point)
    if not all(np.isfinite(wide(np.asarray(o))).all() for o in floating_arrays(here.outputs)):
        point = another_point(lab)
        here = lab.run(lab.first_way, values=point)
    alone = _untouched(lab).run(lab.first_way, point, lab.upstream)
    if same_runs(lab, alone, here):
        return None
    # What an import draws at random (frozen weights, a projection) is the same in two of one seed.
    touched = _untouched(lab)
    touched.run(lab.first_way, lab.values, lab.upstream)
    if same_runs(lab, alone, touched.run(lab.first_way, point, lab.upstream)):
        return None
    return stale(
        "the gradient at a point depends on the point at which the op was first called",
        "something is computed at the first call and kept (a cache, a global); compute it in every call",
    )


def _untouched(lab: Lab) -> Gradients:
    """Return the op of a freshly imported module, with the random numbers that every such import draws."""
    set_random_seed(RANDOM_SEED)
    try:
        fresh = load(lab.case)
    finally:
        install(lab.recorder)
    return Gradients(lab.operation.with_op(fresh.op), lab.sources, (), State((), ()), lab.gradients.seed)


def _frozen_by_tracing(lab: Lab, first: Run) -> Finding | None:
    point = another_point(lab)
    there: Run | None = None
    for way in lab.ways:
        if way.mode == "eager":
            continue
        runs = refused(lambda way=way: (lab.run(way), lab.run(way, values=point)))  # type: ignore[misc]
        if runs is None or not same_runs(lab, first, runs[0], OTHER_MODE_ROUNDINGS):
            continue
        traced = runs[1]
        there = there or lab.run(lab.first_way, values=point)
        if not same_runs(lab, there, traced, OTHER_MODE_ROUNDINGS) and not explains(
            noise_at(lab, point), lab, there, traced
        ):
            g = lab.gradients
            anew = Gradients(g.operation, g.sources, g.variables, g.state, g.seed).run(way, point, lab.upstream)
            if same_runs(lab, anew, traced, OTHER_MODE_ROUNDINGS):
                # Traced at the next point it says the same there: this mode differs, and nothing is frozen.
                continue
            finding = stale(
                f"in {way.label} the gradient is right at the point of tracing and wrong at the next point",
                "a value was frozen when the function was traced: compute it with TensorFlow ops",
            )
            return seen_in(way, finding)
    return None


def _after_assignment(lab: Lab, first: Run) -> Finding | None:
    """Assign other values to the variables and run traced functions again."""
    g = lab.gradients
    kept = g.state
    changed = {v.variable.ref() for v in lab.variables}
    values = [
        v * ASSIGNED_FACTOR if k.ref() in changed else v for k, v in zip(kept.variables, kept.values, strict=True)
    ]
    g.state = State(kept.variables, tuple(np.asarray(v).astype(k.dtype.as_numpy_dtype)
                                          for k, v in zip(kept.variables, values, strict=True)))  # fmt: skip
    try:
        wanted = lab.run(lab.first_way)
        for way in lab.ways:
            if way.mode == "eager":
                continue
            got = refused(lambda way=way: lab.run(way))  # type: ignore[misc]
            if got is not None and not same_runs(lab, wanted, got, OTHER_MODE_ROUNDINGS):
                g.state = kept
                if not same_runs(lab, first, lab.run(way), OTHER_MODE_ROUNDINGS):
                    return None
                finding = stale(
                    f"after an assignment to its variables the op in {way.label} still uses the old values",
                    "a variable's value was frozen when the function was traced (.numpy(), float(variable))",
                )
                return seen_in(way, finding)
    finally:
        g.state = kept
        kept.restore()
    return None


def _read_late(lab: Lab, first: Run) -> Finding | None:
    """Assign to the variables between forward and backward; only a warning, as training does not do it."""
    state = lab.gradients.state
    tape, watched, outputs = _recorded(lab)
    for variable in lab.variables:
        variable.variable.assign(variable.variable * ASSIGNED_FACTOR)
    sources = [*watched, *(v.variable for v in lab.variables)]
    gradients = tape.gradient(outputs, sources, output_gradients=[as_tensor(u) for u in lab.upstream])
    state.restore()
    for slot, a, b in zip(lab.slots, first.gradients, gradients, strict=True):
        if not close_arrays(a, to_array(dense(b)), lab):
            finding = Finding(
                "stale-state",
                f"the gradient of `{slot.name}` reads a variable again in grad_fn: assigned to after the forward,"
                " the new value is used",
                hint="read the variable once in the forward (w = tf.convert_to_tensor(v)) and close over that tensor",
                wrt=slot.name,
            )
            return softened(seen_in(EAGER, finding))
    return None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Name one way to disturb the op between two calls, what it needs, and how it is tried."""

    name: str
    ask: Callable[[Lab, Run], Finding | None]
    needs: tuple[Need, ...] = ()


_ONE_DRAW = Need(lambda lab: not lab.random or not lab.redraws, "grad_fn draws random numbers of its own")
_FROM_FILE = Need(lambda lab: lab.case.module.endswith(".py"), "the module is not named as a file")
_WITHOUT_VARIABLES = Need(
    lambda lab: not lab.variables and not lab.state_changed,
    "the op has variables to differentiate or changes some, which a fresh import makes anew",
)

DISTURBANCES = (
    Disturbance("after another point", _after_another_point),
    Disturbance("second backward pass", _second_backward, (CUSTOM, FIXED)),
    Disturbance("second forward before the backward pass", _second_forward, (CUSTOM, _ONE_DRAW)),
    Disturbance("in a fresh import", _fresh_start, (CUSTOM, _WITHOUT_VARIABLES, _FROM_FILE)),
    Disturbance("at another point than the traced one", _frozen_by_tracing, (FIXED,)),
    Disturbance("after an assignment to variables", _after_assignment, (VARIABLES, FIXED)),
    Disturbance("an assignment between forward and backward", _read_late, (CUSTOM, VARIABLES, FIXED)),
)

"""Twice the same, and untouched by what was called before, in between or at trace time."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradcheck.autodiff.failures import finding_from, outputs_changed
from gradcheck.autodiff.install import install
from gradcheck.autodiff.loading import load
from gradcheck.autodiff.modes import Gradients, OutputsChanged, Run, as_tensor, dense, to_array
from gradcheck.autodiff.noise import explains, noise_at
from gradcheck.autodiff.operation import State, differentiable, floating_arrays
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.checks.points import another_point
from gradcheck.numerics.closeness import close, largest, wide
from gradcheck.numerics.tolerance import ROUNDOFF
from gradcheck.results import Comparison, Finding

PHASE = "determinism"
CALLS = 3


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Run the gradient again: at once, after another point, with a second forward in between."""
    first = subject.eager
    if first is None or any(f.level == "error" and f.code.startswith("gradient-") and f.code != "gradient-mismatch"
                            for f in found):  # fmt: skip
        return
    try:
        again = subject.run(subject.ways[0])
    except OutputsChanged as error:
        yield outputs_changed(error)
        return
    except Exception as error:
        yield _raises_later(subject, error)
        return
    if not _same(subject, first, again):
        yield _counted(subject) or _nondeterministic(subject, first, again)
        return
    for test in (_after_another_point, _second_forward, _fresh_start, _frozen_by_tracing, _after_assignment):
        try:
            finding = test(subject, first)
        except Exception:
            continue
        if finding is not None:
            yield finding
            return
    try:
        yield from _read_late(subject, first)
    except Exception:
        return


def _raises_later(subject: Subject, error: BaseException) -> Finding:
    told = finding_from(subject.probe.gradient_failure or error, "nondeterministic", subject.probe)
    return replace(
        told,
        code="nondeterministic",
        cause=None,
        message=f"the first call works, the next one on the same inputs raises {told.message}",
        hint="keep nothing between calls that decides what the op or its grad_fn does",
        mode=subject.ways[0].mode,
    )


def _same(subject: Subject, a: Run, b: Run, factor: float = 64.0) -> bool:
    if len(a.outputs) != len(b.outputs):
        return False
    pairs = [*zip(a.outputs, b.outputs, strict=True), *zip(a.gradients, b.gradients, strict=True)]
    if all(_identical(x, y) for x, y in pairs):
        return True
    # A gradient that is zero but for rounding has the size of what was summed.
    floor = max((largest(x) for x, _ in pairs if _numbers(x)), default=0.0)
    return all(_close(x, y, subject, factor, floor) for x, y in pairs)


def _identical(x: Any, y: Any) -> bool:
    return x is not None and y is not None and np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(x, y)


def _numbers(x: Any) -> bool:
    return x is not None and np.asarray(x).dtype.kind not in "OSUbiu"


def _close(x: Any, y: Any, subject: Subject, factor: float, floor: float = 0.0) -> bool:
    if x is None or y is None:
        return x is None and y is None
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if not _numbers(x):
        return bool(np.all(x == y))
    allowed = factor * ROUNDOFF.get(subject.coarsest, 2.0**-24)
    return close(y, x, allowed, allowed * 0.1 * max(largest(x), 0.1 * floor))


def _nondeterministic(subject: Subject, a: Run, b: Run) -> Finding:
    pairs = zip(a.outputs, b.outputs, strict=False)
    values = len(a.outputs) == len(b.outputs) and all(_close(x, y, subject, 64.0) for x, y in pairs)
    what = "the gradient" if values else "the forward value"
    return Finding(
        "nondeterministic",
        f"{what} differs between two runs on the same inputs",
        hint="keep random numbers out of grad_fn; draw them in the forward with tf.random, which gradcheck seeds, or"
        " pass them in as an input",
        mode=subject.ways[0].mode,
        dtype=subject.dtype,
    )


def _counted(subject: Subject) -> Finding | None:
    """Return a finding if the difference comes from counting calls and not from random numbers.

    A count starts anew in a freshly imported module and then repeats itself; random numbers
    do not.
    """
    if not subject.case.module.endswith(".py") or subject.variables:
        return None
    try:
        first, second = _sequence(subject), _sequence(subject)
    except Exception:  # no answer, so the plain finding stands
        return None
    finally:
        install(subject.probe)
    if first is None or second is None or not all(_same(subject, a, b) for a, b in zip(first, second, strict=True)):
        return None
    return _stale(
        "the gradient depends on how often the op was called before",
        "something is counted or kept between calls (a global, an attribute); use only the tensors of the call",
        mode=subject.ways[0].mode,
    )


def _sequence(subject: Subject) -> list[Run] | None:
    """Return the first runs of a freshly imported module, None if Python or NumPy drew random numbers."""
    fresh = load(subject.case)
    before = random.getstate(), _numpy_state()
    gradients = Gradients(subject.operation.with_op(fresh.op), subject.sources, (), State((), ()))
    runs = [gradients.run(subject.ways[0], subject.values, subject.upstream) for _ in range(CALLS)]
    return runs if (random.getstate(), _numpy_state()) == before else None


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())


def _stale(message: str, hint: str, **more: Any) -> Finding:
    return Finding("stale-state", message, hint=hint, **more)


def _after_another_point(subject: Subject, first: Run) -> Finding | None:
    subject.run(subject.ways[0], values=another_point(subject))
    if _same(subject, first, subject.run(subject.ways[0])):
        return None
    return _stale(
        "the gradient is another one after the op was called at another point in between",
        "keep nothing between calls: let grad_fn close over the tensors of its own forward",
    )


def _second_forward(subject: Subject, first: Run) -> Finding | None:
    """Call the op once more between forward and backward, first as it is, then with its variables put back."""
    if not subject.custom or subject.gradients.seed is not None:
        return None
    changed = _changed_by_second_forward(subject, first, put_back=False)
    if changed is None:
        return None
    message = f"the gradient of `{changed}` changes when the op is called once more between forward and backward"
    if subject.state_changed and _changed_by_second_forward(subject, first, put_back=True) is None:
        names = ", ".join(subject.state_changed)
        return Finding(
            "state-changed",
            f"{message}: each call changes {names}, which grad_fn reads again",
            hint=f"read {names} once in the forward and close over that tensor in grad_fn",
            wrt=changed,
            mode="eager",
        )
    return _stale(
        message,
        "what grad_fn needs is kept in one place for all calls (an attribute, a global);"
        " close over the tensors of each call instead",
        wrt=changed,
        mode="eager",
    )


def _changed_by_second_forward(subject: Subject, first: Run, put_back: bool) -> str | None:
    """Return the first input whose gradient another forward changes, None if it changes none."""
    after = _taped(subject, again=True, put_back=put_back)
    # In eager and on this device the gradient may be another one than in the first way.
    for before in (first.gradients, None):
        known = _taped(subject, again=False) if before is None else before
        pairs = zip(subject.slots, known, after, strict=False)
        changed = next((slot.name for slot, a, b in pairs if not _close(a, b, subject, 64.0)), None)
        if changed is None:
            return None
    return changed


def _taped(subject: Subject, again: bool, put_back: bool = False) -> list[Any]:
    """Return the gradients in eager; `again` calls the op once more at another point before the backward pass."""
    subject.gradients.state.restore()
    tensors = [as_tensor(v) for v in subject.values]
    watched = [tensors[i] for i in subject.sources]
    with GradientTape() as tape:
        tape.watch(watched)
        outputs = [t for t in subject.operation(tensors) if differentiable(t)]
    left = State.of(subject.gradients.state.variables)
    if again:
        subject.operation([as_tensor(v) for v in another_point(subject)])
    if put_back:
        left.restore()
    gradients = tape.gradient(outputs, watched, output_gradients=[as_tensor(u) for u in subject.upstream])
    subject.gradients.state.restore()
    return [to_array(dense(gradient)) for gradient in gradients]


def _fresh_start(subject: Subject, first: Run) -> Finding | None:
    """Compare with a freshly imported module whose first call is at the other point."""
    if not subject.custom or subject.variables or not subject.case.module.endswith(".py"):
        return None
    point = another_point(subject, flipped=0.4)
    here = subject.run(subject.ways[0], values=point)
    if not all(np.isfinite(wide(np.asarray(o))).all() for o in floating_arrays(here.outputs)):
        point = another_point(subject)
        here = subject.run(subject.ways[0], values=point)
    try:
        untouched = load(subject.case)
    finally:
        install(subject.probe)
    alone = Gradients(
        subject.operation.with_op(untouched.op), subject.sources, (), State((), ()), subject.gradients.seed
    )
    if _same(subject, alone.run(subject.ways[0], point, subject.upstream), here):
        return None
    return _stale(
        "the gradient at a point depends on the point at which the op was first called",
        "something is computed at the first call and kept (a cache, a global); compute it in every call",
    )


def _frozen_by_tracing(subject: Subject, first: Run) -> Finding | None:
    if subject.gradients.seed is not None:
        return None
    point = another_point(subject)
    there = None
    for way in subject.ways:
        if way.mode == "eager":
            continue
        try:
            known = _same(subject, first, subject.run(way), 1e5)
            traced = subject.run(way, values=point)
        except Exception:
            continue
        if not known:
            continue
        there = there or subject.run(subject.ways[0], values=point)
        if not _same(subject, there, traced, 1e5) and not explains(noise_at(subject, point), subject, there, traced):
            g = subject.gradients
            anew = Gradients(g.operation, g.sources, g.variables, g.state, g.seed).run(way, point, subject.upstream)
            if _same(subject, anew, traced, 1e5):
                # Traced at the next point it says the same there: this mode differs, and nothing is frozen.
                continue
            return _stale(
                f"in {way.label} the gradient is right at the point of tracing and wrong at the next point",
                "a value was frozen when the function was traced: compute it with TensorFlow ops",
                mode=way.mode,
                tape=way.tape,
            )
    return None


def _after_assignment(subject: Subject, first: Run) -> Finding | None:
    """Assign other values to the variables and run traced functions again."""
    if not subject.variables or subject.gradients.seed is not None:
        return None
    g = subject.gradients
    kept = g.state
    changed = {v.variable.ref() for v in subject.variables}
    values = [v * 0.75 if k.ref() in changed else v for k, v in zip(kept.variables, kept.values, strict=True)]
    g.state = State(kept.variables, tuple(np.asarray(v).astype(k.dtype.as_numpy_dtype)
                                          for k, v in zip(kept.variables, values, strict=True)))  # fmt: skip
    try:
        wanted = subject.run(subject.ways[0])
        for way in subject.ways:
            if way.mode == "eager":
                continue
            try:
                got = subject.run(way)
            except Exception:
                continue
            if not _same(subject, wanted, got, 1e5):
                g.state = kept
                if _same(subject, first, subject.run(way), 1e5):
                    return _stale(
                        f"after an assignment to its variables the op in {way.label} still uses the old values",
                        "a variable's value was frozen when the function was traced (.numpy(), float(variable))",
                        mode=way.mode,
                        tape=way.tape,
                    )
                return None
    finally:
        g.state = kept
        kept.restore()
    return None


def _read_late(subject: Subject, first: Run) -> Iterator[Finding]:
    """Assign to the variables between forward and backward; only a warning, as training does not do it."""
    if not subject.custom or not subject.variables or subject.gradients.seed is not None:
        return
    state = subject.gradients.state
    state.restore()
    tensors = [as_tensor(v) for v in subject.values]
    watched = [tensors[i] for i in subject.sources]
    with GradientTape() as tape:
        tape.watch(watched)
        outputs = [t for t in subject.operation(tensors) if differentiable(t)]
    for variable in subject.variables:
        variable.variable.assign(variable.variable * 0.75)
    sources = [*watched, *(v.variable for v in subject.variables)]
    gradients = tape.gradient(outputs, sources, output_gradients=[as_tensor(u) for u in subject.upstream])
    state.restore()
    for slot, a, b in zip(subject.slots, first.gradients, gradients, strict=True):
        if not _close(a, to_array(dense(b)), subject, 64.0):
            yield Finding(
                "stale-state",
                f"the gradient of `{slot.name}` reads a variable again in grad_fn: assigned to after the forward,"
                " the new value is used",
                level="warning",
                hint="read the variable once in the forward (w = tf.convert_to_tensor(v)) and close over that tensor",
                wrt=slot.name,
                mode="eager",
            )
            return

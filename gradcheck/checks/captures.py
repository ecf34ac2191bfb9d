"""What the op captures: the order of its variables, untracked variables, outer tensors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.autodiff.modes import as_tensor
from gradcheck.autodiff.operation import differentiable
from gradcheck.autodiff.subject import Subject
from gradcheck.autodiff.tracing import GradientTape
from gradcheck.results import Comparison, Finding

PHASE = "captures"


def check(subject: Subject, found: Sequence[Finding]) -> Iterator[Finding | Comparison]:
    """Permute the variables handed to grad_fn; look for variables and tensors without gradient."""
    yield from _order(subject)
    yield from _untracked(subject)
    if subject.custom:
        yield from _tensors(subject)


def _order(subject: Subject) -> Iterator[Finding]:
    if not subject.custom or len(subject.variables) < 2 or subject.eager is None:
        return
    swapped: Any = None
    try:
        with subject.probe.permuted():
            swapped = subject.run(subject.ways[0])
    except Exception:
        swapped = None
    pairs = list(zip(subject.slots, subject.eager.gradients, swapped.gradients if swapped else (), strict=False))
    odd = [slot.name for slot, a, b in pairs if not _equal(a, b)]
    if swapped is None or odd:
        names = ", ".join(v.name for v in subject.variables)
        yield Finding(
            "variables-order",
            f"grad_fn pairs its gradients with variables by position ({names}): handed in another order, the"
            " gradients go to the wrong variables",
            hint="the order of `variables` is a set's in eager and sorted by name in graphs: look each one up,"
            " [by_ref[v.ref()] for v in variables]",
            wrt=odd[0] if odd else None,
            mode="eager",
        )


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True))


def _untracked(subject: Subject) -> Iterator[Finding]:
    owner = getattr(subject.loaded.op, "__self__", subject.loaded.op)
    if not isinstance(owner, tf.keras.layers.Layer):
        return
    # What the layer knows and does not train is frozen on purpose.
    listed = {getattr(v, "value", v).ref() for v in owner.variables}
    for variable in subject.variables:
        if variable.variable.ref() not in listed:
            yield Finding(
                "variable-untracked",
                f"variable `{variable.name}` reaches the output but is not in the layer's trainable_variables:"
                " no optimizer would update it",
                level="warning",
                hint="create it with self.add_weight(...); Keras 3 does not track a plain tf.Variable",
                wrt=variable.name,
                mode="eager",
            )


def _tensors(subject: Subject) -> Iterator[Finding]:
    """Move each captured tensor a little: if the output moves and there is no gradient, say so."""
    for name, tensor, put in _captured(subject):
        if not _moves(subject, tensor, put):
            continue
        with GradientTape() as tape:
            tape.watch(tensor)
            tensors = [as_tensor(v) for v in subject.values]
            tape.watch([tensors[i] for i in subject.sources])
            outputs = [t for t in subject.operation(tensors) if differentiable(t)]
        ups = [as_tensor(u) for u in subject.upstream]
        if tape.gradient(outputs, tensor, output_gradients=ups) is None:
            yield Finding(
                "captured-tensor",
                f"tensor `{name}` of the surrounding scope reaches the output but gets no gradient",
                level="warning",
                hint=f"make `{name}` an argument of the op if it is ever to be differentiated",
                wrt=name,
                mode="eager",
            )


def _moves(subject: Subject, tensor: Any, put: Callable[[Any], None]) -> bool:
    subject.gradients.state.restore()
    before = [t.numpy() for t in subject.operation([as_tensor(v) for v in subject.values])]
    put(tensor * 1.25 + tf.cast(0.125, tensor.dtype))
    try:
        subject.gradients.state.restore()
        after = [t.numpy() for t in subject.operation([as_tensor(v) for v in subject.values])]
    finally:
        put(tensor)
        subject.gradients.state.restore()
    return any(np.shape(a) != np.shape(b) or not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _captured(subject: Subject) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield name, tensor and setter of floating tensors in the closure or the globals of the op."""
    function = inspect.unwrap(subject.loaded.op)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        value = _cell_tensor(cell)
        if value is not None:
            yield name, value, partial(setattr, cell, "cell_contents")
    space = function.__globals__
    for name in _global_names(code):
        value = _tensor(space.get(name))
        if value is not None:
            yield name, value, partial(space.__setitem__, name)


def _global_names(code: Any) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names += _global_names(constant)
    return list(dict.fromkeys(names))


def _cell_tensor(cell: Any) -> Any:
    try:
        return _tensor(cell.cell_contents)
    except ValueError:
        return None


def _tensor(value: Any) -> Any:
    eager = tf.is_tensor(value) and not isinstance(value, tf.Variable) and hasattr(value, "numpy")
    return value if eager and hasattr(value, "dtype") and differentiable(value) else None

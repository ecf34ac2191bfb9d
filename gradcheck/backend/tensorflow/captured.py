# SPDX-License-Identifier: Apache-2.0
"""What an op takes from its surroundings: tensors of closures and globals, variables that its layer does not list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.keras_types import is_layer
from gradcheck.backend.tensorflow.operation import Variable, differentiable
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor
from gradcheck.backend.tensorflow.tracing import GradientTape

# How far a captured tensor is moved, to see whether the outputs move with it.
_FACTOR, _OFFSET = 1.25, 0.125


@dataclass(frozen=True, slots=True)
class Captured:
    """Name a tensor of a closure or of the globals, and how another is put in its place."""

    name: str
    tensor: Any
    put: Callable[[Any], None]


def captured_tensors(op: Any) -> Iterator[Captured]:
    """Yield the floating tensors in the closure or the globals of the op."""
    function = inspect.unwrap(op)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        value = _cell_tensor(cell)
        if value is not None:
            yield Captured(name, value, partial(setattr, cell, "cell_contents"))
    space = function.__globals__
    for name in global_names(code):
        value = _tensor(space.get(name))
        if value is not None:
            yield Captured(name, value, partial(space.__setitem__, name))


def moves_outputs(gradients: Gradients, values: Sequence[Any], captured: Captured) -> bool:
    """Return whether the outputs move when a captured tensor does."""
    before = _outputs(gradients, values)
    captured.put(captured.tensor * _FACTOR + tf.cast(_OFFSET, captured.tensor.dtype))
    try:
        after = _outputs(gradients, values)
    finally:
        captured.put(captured.tensor)
        gradients.state.restore()
    return any(np.shape(a) != np.shape(b) or not np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def gets_gradient(gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any], captured: Captured) -> bool:
    """Return whether TensorFlow hands a gradient back to a captured tensor."""
    with GradientTape() as tape:
        tape.watch(captured.tensor)
        tensors = [as_tensor(v) for v in values]
        tape.watch([tensors[i] for i in gradients.sources])
        outputs = [t for t in gradients.operation(tensors) if differentiable(t)]
    ups = [as_tensor(u) for u in upstream]
    return tape.gradient(outputs, captured.tensor, output_gradients=ups) is not None


def unlisted(op: Any, variables: Sequence[Variable]) -> list[Variable]:
    """Return the variables that the layer to which the op belongs does not list; none if it is no layer."""
    owner = getattr(op, "__self__", op)
    if not is_layer(owner):
        return []
    # What the layer knows and does not train is frozen on purpose.
    listed = {id(part) for v in owner.variables for part in _parts(getattr(v, "value", v))}
    return [v for v in variables if not any(id(part) in listed for part in _parts(v.variable))]


def _parts(variable: Any) -> list[Any]:
    """Return a variable and its replicas: under a tf.distribute strategy an op reads one of them."""
    return [variable, *getattr(variable, "values", ())]


def _outputs(gradients: Gradients, values: Sequence[Any]) -> list[Any]:
    gradients.state.restore()
    return [t.numpy() for t in gradients.operation([as_tensor(v) for v in values])]


def global_names(code: Any) -> list[str]:
    """Return the names that a code object and those inside of it use of their globals, each once."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names += global_names(constant)
    return list(dict.fromkeys(names))


def _cell_tensor(cell: Any) -> Any:
    try:
        return _tensor(cell.cell_contents)
    except ValueError:
        return None


def _tensor(value: Any) -> Any:
    eager = tf.is_tensor(value) and not isinstance(value, tf.Variable) and hasattr(value, "numpy")
    return value if eager and hasattr(value, "dtype") and differentiable(value) else None

# SPDX-License-Identifier: Apache-2.0
"""The op as a function of a flat list of tensors, and the variables it reads."""

from __future__ import annotations

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.inputs import Leaf
from gradcheck.backend.tensorflow.install import unwrapped
from gradcheck.backend.tensorflow.keras_types import is_layer, raw_variable
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.rule_contract import declares_gradient
from gradcheck.backend.tensorflow.target import Bound
from gradcheck.backend.tensorflow.tracing import autographed, unconverted
from gradcheck.text import innermost

Tensors = list[Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """Call the op on the values of its leaves; outputs come back as a flat list."""

    op: Callable[..., Any]
    bound: Bound
    leaves: tuple[Leaf, ...]
    nesting: dict[str, Any]
    after_call: Callable[[], None] = lambda: None

    def __call__(self, values: Sequence[Any]) -> Tensors:
        """Return the flat outputs, composite tensors taken apart."""
        return flat_outputs(self.structured(values))

    def structured(self, values: Sequence[Any]) -> Any:
        """Return the outputs as the op returns them."""
        parts = [leaf.assemble(value) for leaf, value in zip(self.leaves, values, strict=True)]
        arguments = [value for argument in self.bound.positional for value in self._arguments(argument, parts)]
        keywords = {name: self._argument(argument, parts) for name, argument in self.bound.keywords.items()}
        try:
            return call_user(autographed(self.op), *arguments, **keywords)
        finally:
            self.after_call()

    def _arguments(self, argument: tuple[str, Any], parts: Sequence[Any]) -> list[Any]:
        if argument[0] == "spread":
            nesting = self.nesting[argument[1]]
            return list(pack(nesting, parts)) if isinstance(nesting, list) else [pack(nesting, parts)]
        return [self._argument(argument, parts)]

    def _argument(self, argument: tuple[str, Any], parts: Sequence[Any]) -> Any:
        kind, value = argument
        if kind == "gathered":
            return [pack(self.nesting[name], parts) for name in value]
        return pack(self.nesting[value], parts) if kind == "input" else value

    def with_op(self, op: Callable[..., Any], bound: Bound | None = None) -> Operation:
        """Return the same call of another function, whose parameters are bound as for this one or as `bound` says."""
        return replace(self, op=op, bound=bound or self.bound)


def call_user(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function of the user's; what it raises passes through here, by which it is known as the user's."""
    return function(*arguments, **keywords)


def pack(nesting: Any, parts: Sequence[Any]) -> Any:
    """Return the nested structure of an input from the flat parts."""
    if isinstance(nesting, dict):
        return {key: pack(value, parts) for key, value in nesting.items()}
    if isinstance(nesting, list):
        return [pack(value, parts) for value in nesting]
    return parts[nesting]


def flat_outputs(outputs: Any) -> Tensors:
    """Return outputs as a flat list of tensors; plain numbers and None are left out."""
    flat = tf.nest.flatten(outputs, expand_composites=True)
    return [tf.convert_to_tensor(value) for value in flat if value is not None]


def flattened(structure: Any) -> list[Any]:
    """Return what a nested structure of lists, tuples and mappings holds."""
    return list(tf.nest.flatten(structure))


def differentiable(tensor: Any) -> bool:
    """Return whether a tensor can carry a gradient."""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def floating(tensors: Iterable[Any]) -> Tensors:
    """Return the tensors that can carry a gradient."""
    return [tensor for tensor in tensors if differentiable(tensor)]


def floating_arrays(arrays: Iterable[Any]) -> list[Any]:
    """Return the arrays that hold what can carry a gradient."""
    kinds = [(array, tf.as_dtype(np.asarray(array).dtype)) for array in arrays]
    return [array for array, kind in kinds if kind.is_floating or kind.is_complex]


def bypassed(operation: Operation, recorder: Recorder) -> Operation:
    """Return the operation with every custom gradient of the user's code bypassed."""
    inner = unwrapped(operation.op)

    def plain(*args: Any, **kwargs: Any) -> Any:
        with recorder.bypassed():
            if inner is not None:
                result = autographed(inner)(*args, **kwargs)
                # What tf.recompute_grad wraps is the forward itself.
                return result[0] if declares_gradient(result) else result
            return autographed(operation.op)(*args, **kwargs)

    return operation.with_op(unconverted(plain))


@dataclass(frozen=True, slots=True)
class Variable:
    """Name one tf.Variable of the op; `trainable` as the layer or module lists it."""

    name: str
    variable: Any
    trainable: bool


class Creations:
    """Collect every tf.Variable made inside its scope."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.places: dict[Any, tuple[str, int] | None] = {}

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Note variables made inside the block."""

        def creator(make: Callable[..., Any], **kwargs: Any) -> Any:
            variable = make(**kwargs)
            self.made.append(variable)
            self.places[variable.ref()] = _caller()
            return variable

        with tf.variable_creator_scope(creator):
            yield

    def forget(self, before: int) -> None:
        """Forget the variables made after the first `before` ones."""
        del self.made[before:]

    def place_of(self, name: str | None, variables: Iterable[Variable]) -> tuple[str, int] | None:
        """Return the line of the user's code that made a variable, None where that is not known."""
        return next((self.places.get(v.variable.ref()) for v in variables if v.name == name), None)


def _caller() -> tuple[str, int] | None:
    """Return the innermost line of the user's code that is running, None if there is none."""
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_stack(sys._getframe())]
    return innermost(frames)


def find_variables(op: Any, watched: Iterable[Any], made: Iterable[Any], module: Any) -> list[Variable]:
    """Return the variables of the op by name: those it was seen to read, then those it owns."""
    owner = _owner(op)
    names = _names(owner, op, module)
    listed = _listed(owner)
    found: dict[Any, Variable] = {}
    taken: set[str] = set()
    for variable in [*watched, *(v for v, _ in listed), *made]:
        if variable.ref() in found:
            continue
        name = names.get(variable.ref()) or variable.name.split(":")[0]
        while name in taken:
            name += "_1"
        taken.add(name)
        trainable = {v.ref(): t for v, t in listed}.get(variable.ref(), variable.trainable)
        found[variable.ref()] = Variable(name, variable, trainable)
    return list(found.values())


def _owner(op: Any) -> Any:
    return getattr(op, "__self__", op)


def _listed(owner: Any) -> list[tuple[Any, bool]]:
    """Return (tf.Variable, trainable) as a layer or module lists them."""
    try:
        trainable = [getattr(v, "value", v) for v in getattr(owner, "trainable_variables", ())]
        every = [getattr(v, "value", v) for v in getattr(owner, "variables", ())]
    except (TypeError, ValueError):
        return []
    refs = {v.ref() for v in trainable if isinstance(v, tf.Variable)}
    return [(v, v.ref() in refs) for v in [*trainable, *every] if isinstance(v, tf.Variable)]


def _names(owner: Any, op: Any, module: Any) -> dict[Any, str]:
    names: dict[Any, str] = {}

    def note(name: str, value: Any) -> None:
        variable = raw_variable(value)
        if isinstance(variable, tf.Variable):
            names.setdefault(variable.ref(), name)

    for keras_variable in getattr(owner, "variables", ()) if is_layer(owner) else ():
        path = getattr(keras_variable, "path", keras_variable.name)
        note(path.removeprefix(f"{owner.name}/"), keras_variable)
    for name, value in list(getattr(owner, "__dict__", {}).items()):
        note(name, value)
    function = inspect.unwrap(op) if callable(op) else op
    function = getattr(function, "__func__", function)
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        with contextlib.suppress(ValueError):
            note(name, cell.cell_contents)
    for name, value in list(vars(module).items()):
        note(name, value)
    return names


@dataclass(frozen=True, slots=True)
class State:
    """Put variables back to the values they had."""

    variables: tuple[Any, ...]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, variables: Iterable[Any]) -> State:
        """Remember the values of `variables`."""
        kept = tuple(variables)
        return cls(kept, tuple(v.numpy() for v in kept))

    def and_of(self, variables: Iterable[Any]) -> State:
        """Remember the values of further variables too."""
        known = {variable.ref() for variable in self.variables}
        more = [variable for variable in variables if variable.ref() not in known]
        return State((*self.variables, *more), (*self.values, *(variable.numpy() for variable in more)))

    def restore(self) -> None:
        """Assign the remembered values."""
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)

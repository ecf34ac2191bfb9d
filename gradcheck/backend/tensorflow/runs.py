# SPDX-License-Identifier: Apache-2.0
"""The five ways to run a gradient: eager, and compiled or traced with the tape inside or outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.keras_types import set_random_seed
from gradcheck.backend.tensorflow.operation import Operation, State, differentiable
from gradcheck.backend.tensorflow.tracing import GradientTape, function
from gradcheck.ways import INSIDE, Way

Arrays = list[np.ndarray[Any, Any] | None]


class OutputsChanged(Exception):
    """Say that an op returns other floating outputs than at its first call."""


@dataclass(frozen=True, slots=True)
class Run:
    """Hold outputs and gradients of one run, and the devices on which they lived."""

    outputs: Arrays
    gradients: Arrays
    devices: frozenset[str]


@dataclass(slots=True)
class Gradients:
    """Run value and gradient of an operation in any way; traced functions are kept.

    `sources` are the positions of the differentiated leaves; `variables` are differentiated
    after them; `state` is put back before every run; `seed` (if the op draws random numbers)
    is set before every run, and functions are traced anew.
    """

    operation: Operation
    sources: tuple[int, ...]
    variables: tuple[Any, ...]
    state: State
    seed: int | None = None
    _functions: dict[Any, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Put the state back, and let the op draw the random numbers that every run of it draws."""
        self.state.restore()
        if self.seed is not None:
            tf.random.set_seed(self.seed)

    def run(self, way: Way, values: Sequence[Any], upstream: Sequence[Any], restore: bool = True) -> Run:
        """Return outputs and gradients at `values` with `upstream`, one per differentiable output."""
        if restore:
            self.state.restore()
        if self.seed is not None:
            tf.random.set_seed(self.seed)
            self._functions.clear()
        with _on(way.device):
            tensors = [as_tensor(value) for value in values]
            ups = [as_tensor(value) for value in upstream]
            outputs, gradients = self._function(way)(tensors, ups)
        if self.seed is not None:
            self._functions.clear()
        lived = {device_of(t) for t in [*outputs, *(g for g in gradients if g is not None)]}
        return Run([to_array(t) for t in outputs], [to_array(g) for g in gradients], frozenset(lived))

    def pulled_again(self, way: Way, values: Sequence[Any], upstream: Sequence[Any]) -> Callable[[], Run]:
        """Return a function that takes the gradient of one eager forward, as often as it is called."""
        self.state.restore()
        with _on(way.device):
            tensors = [as_tensor(value) for value in values]
            ups = [as_tensor(value) for value in upstream]
            watched = [tensors[i] for i in self.sources]
            with GradientTape(persistent=True) as tape:
                tape.watch(watched)
                outputs = self.operation(tensors)

        def pull() -> Run:
            with _on(way.device):
                gradients = pull_back(tape, outputs, [*watched, *self.variables], ups)
            return Run([to_array(t) for t in outputs], [to_array(g) for g in gradients], frozenset())

        return pull

    def prepared(self, way: Way, values: Sequence[Any], upstream: Sequence[Any]) -> Callable[[], Any]:
        """Return a call of value and gradient on tensors that are there already; it waits for the results."""
        with _on(way.device):
            tensors, ups = [as_tensor(value) for value in values], [as_tensor(value) for value in upstream]
        call = self._function(way)

        def run() -> None:
            with _on(way.device):
                outputs, gradients = call(tensors, ups)
            for tensor in (*outputs, *gradients):
                to_array(tensor)

        return run

    def prepared_forward(self, way: Way, values: Sequence[Any]) -> Callable[[], Any]:
        """Return a call of the forward alone, in the same way."""
        with _on(way.device):
            tensors = [as_tensor(value) for value in values]
        call = self.operation if way.mode == "eager" else self._forward(way.mode)

        def run() -> None:
            with _on(way.device):
                outputs = call(tensors)
            for tensor in outputs:
                to_array(tensor)

        return run

    def draws(self, way: Way, values: Sequence[Any], upstream: Sequence[Any], count: int, seed: int) -> Iterator[Run]:
        """Yield runs of an op that draws random numbers, each with others; the first is always the same."""
        free = Gradients(self.operation, self.sources, self.variables, self.state)
        self.state.restore()
        set_random_seed(seed)
        try:
            for _ in range(count):
                yield free.run(way, values, upstream, restore=False)
        finally:
            self.state.restore()

    def outputs(self, values: Sequence[Any]) -> list[Any]:
        """Return the eager outputs at `values`."""
        self.state.restore()
        if self.seed is not None:
            tf.random.set_seed(self.seed)
        return self.operation([as_tensor(value) for value in values])

    def traced_forward(self, values: Sequence[Any]) -> Any:
        """Return the forward as it is traced with the tape outside; raises what the op does then."""
        with _on(INSIDE.device):
            return self._forward(INSIDE.mode).get_concrete_function([spec_of(value) for value in values])

    def traced_gradient(self, values: Sequence[Any], upstream: Sequence[Any]) -> Any:
        """Return outputs and gradients as they are traced with the tape inside; raises what the op does then."""
        self.state.restore()
        with _on(INSIDE.device):
            specs = [spec_of(value) for value in values], [spec_of(value) for value in upstream]
            return self._function(INSIDE).get_concrete_function(*specs)  # type: ignore[attr-defined]

    def _forward(self, mode: str) -> Any:
        return self._once(mode, lambda: function(self.operation, jit_compile=mode == "xla"))

    def _function(self, way: Way) -> Callable[..., Any]:
        return self._once((way.mode, way.tape, way.device), lambda: self._make(way))  # type: ignore[no-any-return]

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._functions:
            self._functions[key] = make()
        return self._functions[key]

    def _make(self, way: Way) -> Callable[..., Any]:
        if way.mode == "eager":
            return self._taped(self.operation)
        if way.tape == "outside":
            return self._taped(self._forward(way.mode))
        return function(self._taped(self.operation), jit_compile=way.mode == "xla")  # type: ignore[no-any-return]

    def _taped(self, forward: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return value and gradient of a forward, with the tape around it."""
        sources, variables = self.sources, self.variables

        def value_and_gradient(tensors: Any, upstream: Any) -> Any:
            with GradientTape() as tape:
                watched = [tensors[i] for i in sources]
                tape.watch(watched)
                outputs = forward(tensors)
            _expect(outputs, upstream)
            return outputs, pull_back(tape, outputs, [*watched, *variables], upstream)

        return value_and_gradient


def _on(device: str) -> Any:
    kind, index = device.split(":")
    return tf.device(f"/{kind.upper()}:{index}")


def spec_of(value: np.ndarray[Any, Any], rows: bool = True) -> Any:
    """Return what a function is traced for; without `rows` the first dimension is left open."""
    shape = value.shape if rows else (None, *value.shape[1:])
    return tf.TensorSpec(shape, tf.as_dtype(value.dtype))


def _expect(outputs: Sequence[Any], upstream: Sequence[Any]) -> None:
    """Raise OutputsChanged unless the differentiable outputs are those that the upstream was drawn for."""
    found = [output for output in outputs if differentiable(output)]
    if len(found) != len(upstream):
        raise OutputsChanged(f"the op returns {len(found)} floating outputs, and {len(upstream)} at its first call")
    for number, (output, wanted) in enumerate(zip(found, upstream, strict=True)):
        if output.dtype != wanted.dtype or not output.shape.is_compatible_with(wanted.shape):
            raise OutputsChanged(
                f"output {number} is {_described(output)}, and {_described(wanted)} at the op's first call"
            )


def _described(tensor: Any) -> str:
    return f"{tensor.dtype.name} of shape {tensor.shape}"


def pull_back(tape: Any, outputs: Any, sources: Any, upstream: Any) -> Any:
    """Return one dense gradient (or None) per source for the differentiable outputs."""
    targets = [output for output in outputs if differentiable(output)]
    if not targets or not sources:
        return [None] * len(sources)
    gradients = tape.gradient(targets, sources, output_gradients=list(upstream))
    return [dense(gradient) for gradient in gradients]


def dense(gradient: Any) -> Any:
    """Return a gradient as a tensor; IndexedSlices are summed up, NumPy values kept as they are."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def as_tensor(value: Any) -> Any:
    """Return a fresh tensor; libraries cache results by tensor object."""
    return tf.constant(value)


def to_array(tensor: Any) -> Any:
    """Return a tensor as an array, None as None."""
    if tensor is None:
        return None
    return tensor.numpy() if hasattr(tensor, "numpy") else np.asarray(tensor)


def numpy_dtype(name: str) -> Any:
    """Return NumPy's dtype of this name, TensorFlow's own half precision included."""
    return tf.as_dtype(name).as_numpy_dtype


def largest_number(name: str) -> float:
    """Return the largest finite number of a real dtype of this name."""
    return float(tf.as_dtype(name).max)


def dtype_name(array: Any) -> str:
    """Return the name of an array's dtype as a spec says it."""
    return str(tf.as_dtype(array.dtype).name)


def device_of(tensor: Any) -> str:
    """Return where a tensor lives, as `cpu:0`; nothing for a variable of Keras, which does not say so."""
    device = getattr(tensor, "device", "") if tf.is_tensor(tensor) else ""
    return str(device).rpartition("/device:")[2].lower()

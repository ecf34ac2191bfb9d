# SPDX-License-Identifier: Apache-2.0
"""The gradient of the gradient: d/dx of directions . gradient, in every way and in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.float64_graph import to_float64, wide_dtype
from gradcheck.backend.tensorflow.operation import Operation, differentiable, floating
from gradcheck.backend.tensorflow.runs import Gradients, as_tensor, dense, spec_of, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape, function
from gradcheck.backend.tensorflow.vector_op import Layout, twin_variables
from gradcheck.numerics.arrays import Array
from gradcheck.ways import INSIDE_TAPE, OUTSIDE_TAPE, XLA, Way


@dataclass(frozen=True, slots=True)
class Second:
    """Hold the second derivative from one way: packed, and which inputs got None."""

    packed: Array
    missing: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class SecondDerivative:
    """Differentiate directions . gradient of an operation; `directions` are one array per input and variable."""

    gradients: Gradients
    layout: Layout
    upstream: tuple[Any, ...]
    directions: tuple[Any, ...]

    def of(self, operation: Operation, way: Way, wide: bool) -> Second:
        """Return d/dx of directions . g(x), with both tapes on the side of the function that `way` says.

        Raises what the op does then.
        """
        call = function(operation, jit_compile=way.mode == XLA) if way.tape == OUTSIDE_TAPE else operation
        run = self._program(call)
        if way.tape == INSIDE_TAPE:
            run = function(run, jit_compile=way.mode == XLA)
        self.gradients.state.restore()
        found = [to_array(h) for h in run(*self._arguments(wide))]
        return Second(self.layout.inputs.project(found), tuple(h is None for h in found))

    def in_rewritten_graph(self, operation: Operation, variables: Sequence[Any]) -> Second:
        """Return the second derivative of the op's graph, rewritten to float64; raises what that raises."""
        layout, missing = self.layout, []  # type: ignore[var-annotated]
        run = self._program(operation)

        def traced(tensors: Any, ups: Any, directions: Any) -> Any:
            found = run(tensors, ups, directions)
            missing[:] = [h is None for h in found]
            return [h for h in found if h is not None]

        self.gradients.state.restore()
        specs = (
            [spec_of(value) for value in layout.values],
            [tf.TensorSpec(slot.shape, slot.dtype) for slot in layout.outputs.slots],
            [tf.TensorSpec(slot.shape, slot.dtype) for slot in layout.inputs.slots],
        )
        concrete = function(traced).get_concrete_function(*specs)
        if not concrete.outputs:
            return Second(np.zeros(layout.inputs.width), tuple(missing))
        twins = twin_variables(variables)
        tensors, ups, directions = self._arguments(wide=True)
        found = iter(to_float64(concrete, twins).part(slice(None))([*tensors, *ups, *directions]))
        arrays = [None if absent else to_array(next(found)) for absent in missing]
        return Second(layout.inputs.project(arrays), tuple(missing))

    def through_upstream(self, operation: Operation) -> Array | None:
        """Return d(directions . gradient)/d upstream, packed; None if there is none.  Raises what the op does."""
        self.gradients.state.restore()
        tensors, ups, directions = self._arguments(wide=False)
        with GradientTape() as outer:
            outer.watch(ups)
            with GradientTape() as inner:
                watched = [tensors[i] for i in self.gradients.sources]
                inner.watch(watched)
                outputs = operation(tensors)
            first = inner.gradient(floating(outputs), [*watched, *self.gradients.variables], output_gradients=ups)
        found = _outer(outer, first, ups, directions)
        if all(h is None for h in found):
            return None
        slots = self.layout.outputs.slots
        arrays = [np.zeros(s.shape) if h is None else to_array(h) for h, s in zip(found, slots, strict=True)]
        return self.layout.outputs.pack(arrays)

    def _arguments(self, wide: bool) -> tuple[list[Any], list[Any], list[Any]]:
        """Return the op's tensors, its upstream and the directions, in float64 if `wide`."""
        dtype = wide_dtype if wide else tf.as_dtype
        tensors = [as_tensor(v) for v in self.layout.values]
        if wide:
            tensors = [tf.cast(t, wide_dtype(t.dtype)) if differentiable(t) else t for t in tensors]
        pairs = zip(self.upstream, self.layout.outputs.slots, strict=True)
        ups = [tf.constant(u, dtype(s.dtype)) for u, s in pairs]
        weighted = zip(self.directions, self.layout.inputs.slots, strict=True)
        return tensors, ups, [tf.constant(w, dtype(s.dtype)) for w, s in weighted]

    def _program(self, call: Any) -> Any:
        """Return (tensors, upstream, directions) -> d/dx of directions . gradient of `call`."""
        sources, variables = self.gradients.sources, list(self.gradients.variables)

        def second(tensors: Any, ups: Any, directions: Any) -> Any:
            with GradientTape() as outer:
                watched = [tensors[i] for i in sources]
                outer.watch(watched)
                with GradientTape() as inner:
                    inner.watch(watched)
                    outputs = call(tensors)
                first = inner.gradient(floating(outputs), [*watched, *variables], output_gradients=ups)
            return _outer(outer, first, [*watched, *variables], directions)

        return second


def _outer(tape: Any, first: Any, sources: Any, directions: Any) -> Any:
    pairs = [(dense(g), w) for g, w in zip(first, directions, strict=True) if g is not None]
    targets = [g for g, _ in pairs]
    if not targets:
        return [None] * len(sources)
    found = tape.gradient(targets, sources, output_gradients=[tf.cast(w, g.dtype) for g, w in pairs])
    return [dense(h) for h in found]

# SPDX-License-Identifier: Apache-2.0
"""The op as a function of one real vector, in the widest precision in which it runs.

Three realms, tried in this order (the second first for float32, whose rounded constants do no
harm there): the op called on float64 tensors; its traced graph rewritten to float64; the op in
its own dtype.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.float64_graph import Float64Graph, to_float64, wide_dtype
from gradcheck.backend.tensorflow.operation import Operation, State, differentiable
from gradcheck.backend.tensorflow.row_loop import BATCH, RowLoop, fastest
from gradcheck.backend.tensorflow.runs import Gradients, pull_back
from gradcheck.backend.tensorflow.tracing import (
    GradientTape,
    Straight,
    all_double,
    constants_in,
    function,
    halves_in,
    nodes_of,
    unconverted,
)
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.packing import Coordinates

# Rows from which on compiling the loop may pay: until then compiling takes longer than the loop.
MANY_ROWS = 1024

# f(tensors) -> outputs, and (tensors, upstream) -> gradients
Forward = Callable[[Sequence[Any]], list[Any]]
Pullback = Callable[[Sequence[Any], Sequence[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Say how the vector of coordinates maps to the op's tensors and back.

    `values` are all leaves in the op's own dtype, `sources` those that are packed,
    `variables` the tf.Variables that are packed after them, `outputs` the packed outputs.
    """

    values: tuple[Any, ...]
    sources: tuple[int, ...]
    variables: tuple[Any, ...]
    inputs: Coordinates
    outputs: Coordinates


@dataclass(slots=True)
class VectorOp:
    """Evaluate the op, its gradient and the autodiff gradient on vectors of reals."""

    name: str
    layout: Layout
    wide: bool
    forward: Forward
    pullback: Pullback
    autodiff: Pullback | None
    variables: tuple[Any, ...]
    state: State
    roundoff: float
    constants_roundoff: float = 0.0
    seed: int | None = None
    halves: tuple[str, ...] = ()
    constants: tuple[float, ...] = ()
    traceable: bool = True
    evaluations: int = 0
    _programs: dict[str, Any] = field(default_factory=dict)

    def evaluate(self, rows: Array) -> Array:
        """Map points (b, n) to packed outputs (b, m); NaN where the op raises or has outputs of other sizes."""
        self.evaluations += len(rows)
        loop = self._loop() if len(rows) >= BATCH else None
        if loop is not None:
            with contextlib.suppress(tf.errors.OpError):
                return loop(rows)
        if len(rows) == 1:
            return self.value(rows[0])[None]
        values = np.empty((len(rows), self.layout.outputs.width))
        for number, row in enumerate(rows):
            values[number] = self.value(row)
        return values

    def quantize(self, rows: Array) -> Array:
        """Round points to what the op really receives."""
        if self.wide:
            return rows
        result = rows.copy()
        for slot, part in zip(self.layout.inputs.slots, self.layout.inputs.ranges(), strict=True):
            real = {"complex64": "float32", "complex128": "float64"}.get(slot.dtype, slot.dtype)
            result[:, part] = rows[:, part].astype(tf.as_dtype(real).as_numpy_dtype).astype(np.float64)
        return result

    def all_double(self) -> bool:
        """Return whether the forward is known to compute in float64 alone."""
        if "all double" not in self._programs:
            traced = self.wide and self.traceable and self.seed is None
            self._programs["all double"] = traced and all_double(nodes_of(self._row_program().concrete))
        return bool(self._programs["all double"])

    def gradient(self, vector: Array, cotangent: Array) -> Array:
        """Return the gradient under test of cotangent . f at a point."""
        return self._pull(self.pullback, vector, cotangent)

    def autodiff_gradient(self, vector: Array, cotangent: Array) -> Array | None:
        """Return the autodiff gradient of the bypassed forward, None where there is none."""
        if self.autodiff is None:
            return None
        return self._pull(self.autodiff, vector, cotangent)

    def _pull(self, pullback: Pullback, vector: Array, cotangent: Array) -> Array:
        return self.layout.inputs.project(pullback(self._enter(vector), self._upstream(cotangent)))

    def _upstream(self, cotangent: Array) -> list[Any]:
        outputs = self.layout.outputs
        pairs = zip(outputs.slots, outputs.unpack(cotangent), strict=True)
        return [tf.constant(value, self._dtype(slot.dtype)) for slot, value in pairs]

    def _dtype(self, dtype: str) -> Any:
        return wide_dtype(dtype) if self.wide else tf.as_dtype(dtype)

    def _enter(self, vector: Array) -> list[Any]:
        """Set state, seed and variables for a point and return its tensors."""
        self.state.restore()
        if self.seed is not None:
            tf.random.set_seed(self.seed)
        parts = self.layout.inputs.unpack(vector)
        tensors = self._constants()
        for position, slot, part in zip(self.layout.sources, self.layout.inputs.slots, parts, strict=False):
            tensors[position] = tf.constant(part, self._dtype(slot.dtype))
        for variable, part in zip(self.variables, parts[len(self.layout.sources) :], strict=True):
            variable.assign(tf.constant(part, variable.dtype))
        return tensors

    def _constants(self) -> list[Any]:
        """Return a tensor for each leaf that is not differentiated, None for the others."""
        moving = set(self.layout.sources)
        return [None if i in moving else self._constant(value) for i, value in enumerate(self.layout.values)]

    def _constant(self, value: Any) -> Any:
        tensor = tf.constant(value)
        return tf.cast(tensor, wide_dtype(tensor.dtype)) if self.wide and differentiable(tensor) else tensor

    def value(self, row: Array) -> Array:
        """Map a point (n,) to packed outputs (m,); NaN where the op refuses it or has outputs of other sizes."""
        nothing = np.broadcast_to(np.nan, self.layout.outputs.width)
        try:
            values = self._values(row)
        except Exception as error:
            if own_fault(error):
                raise
            return nothing
        return values if values.size == nothing.size else nothing

    def value_or_raise(self, row: Array) -> Array:
        """Map a point (n,) to packed outputs (m,); NaN where a kernel refuses it, raises what else the op does."""
        nothing = np.broadcast_to(np.nan, self.layout.outputs.width)
        try:
            values = self._values(row)
        except (tf.errors.OpError, ArithmeticError, np.linalg.LinAlgError):
            return nothing
        return values if values.size == nothing.size else nothing

    def _values(self, row: Array) -> Array:
        if self.traceable and self.seed is None:
            return np.asarray(self._row_program()([tf.constant(row)])[0])
        arrays = [t.numpy() for t in self.forward(self._enter(row)) if differentiable(t)]
        if [a.shape for a in arrays] != [slot.shape for slot in self.layout.outputs.slots]:
            return np.empty(0)
        return self.layout.outputs.pack(arrays)

    def _row_program(self) -> Straight:
        if "row" not in self._programs:
            vector = tf.TensorSpec([self.layout.inputs.width], tf.float64)
            self._programs["row"] = Straight(function(self._vector_program()).get_concrete_function(vector))
        # The op may change any of its variables; differentiated ones are assigned inside.
        self.state.restore()
        return self._programs["row"]  # type: ignore[no-any-return]

    def _vector_program(self) -> Callable[[Any], Any]:
        """Return f as a TensorFlow function of one vector of coordinates."""
        layout, forward, variables = self.layout, self.forward, self.variables
        slots, ranges = layout.inputs.slots, layout.inputs.ranges()
        constants = self._constants()

        def enter(vector: Any) -> list[Any]:
            tensors = list(constants)
            parts = [vector] if len(slots) == 1 else [vector[part] for part in ranges]
            for position, slot, part in zip(layout.sources, slots, parts, strict=False):
                tensors[position] = tf.cast(_unpack(slot, part), self._dtype(slot.dtype))
            rest = list(zip(slots, parts, strict=True))[len(layout.sources) :]
            for variable, (slot, part) in zip(variables, rest, strict=True):
                variable.assign(tf.cast(_unpack(slot, part), variable.dtype))
            return tensors

        def program(vector: Any) -> Any:
            return _pack(forward(enter(vector)))

        return unconverted(program)  # type: ignore[no-any-return]

    def _loop(self) -> RowLoop | None:
        """Return a loop over many rows, None if there can be none; compiled for very many, if that is faster."""
        if not self.traceable or self.seed is not None or len(self.state.variables) > 0:
            return None
        if "loop" not in self._programs:
            self._programs["loop"] = self._mapped(compiled=False)
        if self.evaluations > MANY_ROWS and "compiled" not in self._programs:
            self._programs["compiled"] = self._mapped(compiled=True)
            self._programs["loop"] = fastest(self._programs["compiled"], self._programs["loop"], self._vector())
        return self._programs["loop"]  # type: ignore[no-any-return]

    def _mapped(self, compiled: bool) -> RowLoop | None:
        """Return f mapped over rows, None if that fails or gives other values than f alone."""
        vector = self._vector()
        wanted = self.value(vector)
        program = self._vector_program()
        mapped = function(lambda rows: tf.map_fn(program, rows, parallel_iterations=4), jit_compile=compiled)
        specs = tf.TensorSpec([BATCH if compiled else None, vector.size], tf.float64)
        try:
            loop = RowLoop(mapped.get_concrete_function(specs), compiled)
            found = loop(np.tile(vector, (2, 1)))[0]
        except Exception as error:
            if own_fault(error):
                raise
            return None
        scale = np.nanmax(np.abs(wanted), initial=0.0)
        return loop if np.allclose(found, wanted, rtol=1e-12, atol=1e-13 * scale, equal_nan=True) else None

    def _vector(self) -> Array:
        """Return the sample as coordinates."""
        return self.layout.inputs.pack(
            [*(self.layout.values[i] for i in self.layout.sources), *(v.numpy() for v in self.variables)]
        )


def _unpack(slot: Any, part: Any) -> Any:
    """Return the tensor (float64 or complex128) of a slot from its coordinates."""
    entries = part
    if slot.complex:
        entries = tf.complex(part[: slot.size], part[slot.size :])
    if slot.index is not None:
        gathered = tf.gather(entries, np.maximum(slot.index, 0))
        entries = tf.where(slot.index >= 0, gathered, tf.zeros_like(gathered))
        if slot.signs is not None:
            entries = tf.complex(tf.math.real(entries), tf.math.imag(entries) * slot.signs)
    return tf.reshape(entries, slot.shape)


def _pack(outputs: Any) -> Any:
    """Return the differentiable outputs as one float64 vector."""
    parts = []
    for output in outputs:
        if not differentiable(output):
            continue
        flat = tf.reshape(output, [-1])
        if output.dtype.is_complex:
            flat = tf.concat([tf.math.real(flat), tf.math.imag(flat)], 0)
        parts.append(tf.cast(flat, tf.float64))
    return parts[0] if len(parts) == 1 else tf.concat(parts, 0)


def direct_kernels(
    operation: Operation, sources: tuple[int, ...], variables: tuple[Any, ...]
) -> tuple[Forward, Pullback]:
    """Return forward and gradient of the op called on the tensors as they come."""

    def forward(tensors: Sequence[Any]) -> list[Any]:
        # Some ops compute their value another way when it is differentiated.
        with GradientTape() as tape:
            tape.watch([tensors[i] for i in sources])
            return operation(list(tensors))

    def pullback(tensors: Sequence[Any], upstream: Sequence[Any]) -> list[Any]:
        with GradientTape() as tape:
            watched = [tensors[i] for i in sources]
            tape.watch(watched)
            outputs = operation(list(tensors))
        return pull_back(tape, outputs, [*watched, *variables], upstream)  # type: ignore[no-any-return]

    return forward, pullback


def rewritten_kernels(
    gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any], twins: Sequence[tuple[Any, Any]]
) -> tuple[Forward, Pullback, tuple[str, ...], tuple[float, ...]]:
    """Return forward and gradient of the op's graph, rewritten to float64, the half precisions it had, its constants.

    Raises CannotRewrite, or whatever the tracing raises.
    """
    concrete = gradients.traced_gradient(values, upstream)
    promoted, nodes = to_float64(concrete, twins), nodes_of(concrete)
    forward = promoted.part(slice(len(concrete.outputs) - sum(_present(concrete))))
    return forward, _pullback(promoted, concrete), halves_in(nodes), constants_in(nodes)


def rewritten_pullback(
    gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any], twins: Sequence[tuple[Any, Any]]
) -> Pullback:
    """Return the gradient alone of the op's graph, rewritten to float64.

    Raises CannotRewrite, or whatever the tracing raises.
    """
    concrete = gradients.traced_gradient(values, upstream)
    return _pullback(to_float64(concrete, twins), concrete)


def _present(concrete: Any) -> list[bool]:
    """Return which gradients are not None; these are the last outputs."""
    return [gradient is not None for gradient in concrete.structured_outputs[1]]


def _pullback(promoted: Float64Graph, concrete: Any) -> Pullback:
    present = _present(concrete)
    pulled = promoted.part(slice(len(concrete.outputs) - sum(present), None))

    def pullback(tensors: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        found = iter(pulled([*tensors, *cotangents]))
        return [next(found) if there else None for there in present]

    return pullback


def twin_variables(variables: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pair every floating variable with one of float64 that holds the same value."""
    pairs = []
    for variable in variables:
        if differentiable(variable):
            value = tf.cast(tf.convert_to_tensor(variable), wide_dtype(variable.dtype))
            pairs.append((variable, tf.Variable(value, dtype=value.dtype, trainable=False)))
    return pairs

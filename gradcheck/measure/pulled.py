# SPDX-License-Identifier: Apache-2.0
"""Outputs and gradients of an operation at other leaves and variables than the sample's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.backend.tensorflow.faults import refused
from gradcheck.backend.tensorflow.operation import Operation, State, floating
from gradcheck.backend.tensorflow.runs import as_tensor, numpy_dtype, pull_back, to_array
from gradcheck.backend.tensorflow.tracing import GradientTape
from gradcheck.numerics.arrays import Arrays
from gradcheck.numerics.chunks import chunks_of
from gradcheck.numerics.closeness import wide
from gradcheck.numerics.random_streams import signed_uniform

if TYPE_CHECKING:
    from gradcheck.measure.lab import Lab


@dataclass(frozen=True, slots=True)
class Pulled:
    """Hold outputs and gradients at a place."""

    outputs: tuple[Any, ...]
    gradients: tuple[Any, ...]

    @property
    def shapes(self) -> list[Any]:
        """Return the shapes of the outputs."""
        return [o.shape for o in self.outputs]

    @property
    def output_size(self) -> float:
        """Return the size of what is added up to one number and differentiated."""
        flat = [np.ravel(o) for o in self.outputs]
        return float(sum(np.abs(wide(o[part])).sum() for o in flat for part in chunks_of(o.size)))


def pulled_at(lab: Lab, operation: Operation, values: Arrays, state: State) -> Pulled | None:
    """Return outputs and gradients at a place, None if the operation fails there."""
    return refused(lambda: pull(lab, operation, values, state))


def pull(lab: Lab, operation: Operation, values: Arrays, state: State) -> Pulled:
    """Return outputs and gradients of an operation at other leaves and variables; raises what it raises."""
    state.restore()
    tensors = [as_tensor(v) for v in values]
    with GradientTape() as tape:
        watched = [tensors[i] for i in lab.sources]
        tape.watch(watched)
        outputs = operation(tensors)
    results = floating(outputs)
    upstream = [as_tensor(u) for u in upstream_of(lab, [(o.shape, o.dtype) for o in results])]
    found = pull_back(tape, outputs, [*watched, *lab.gradients.variables], upstream)
    return Pulled(tuple(to_array(o) for o in results), tuple(to_array(g) for g in found))


def upstream_of(lab: Lab, outputs: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Return upstreams for outputs of these shapes and dtypes; as arrays, for which TensorFlow needs no kernel."""
    rng = lab.rng("elsewhere")
    return [signed_uniform(rng, math.prod(shape)).reshape(shape).astype(numpy_dtype(dtype)) for shape, dtype in outputs]

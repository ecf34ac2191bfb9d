# SPDX-License-Identifier: Apache-2.0
"""An op in the replicas of a tf.distribute.MirroredStrategy: its variables mirrored, its gradient taken in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.keras_types import is_layer, raw_variable
from gradcheck.backend.tensorflow.loading import Loaded
from gradcheck.backend.tensorflow.operation import Operation, differentiable
from gradcheck.backend.tensorflow.runs import as_tensor, pull_back, to_array
from gradcheck.backend.tensorflow.target import bind, resolve
from gradcheck.backend.tensorflow.tracing import GradientTape, function


@dataclass(frozen=True, slots=True)
class Replica:
    """Hold the floating outputs and the gradients of one replica."""

    outputs: list[Any]
    gradients: list[Any]


class Mirrored:
    """Hold the op made anew in the scope of a strategy, with the values of the first one's variables."""

    def __init__(
        self,
        loaded: Loaded,
        operation: Operation,
        devices: Sequence[str],
        values: Sequence[Any],
        variables: Sequence[Any],
    ) -> None:
        """Make the op and call it once; raises what it raises."""
        self.strategy = tf.distribute.MirroredStrategy([_device(name) for name in devices])
        with self.strategy.scope():
            op = resolve(loaded.module, loaded.case.op, loaded.case.build)
            bound = bind(op, list(loaded.case.inputs), loaded.case.arguments)
            self.operation = operation.with_op(op, bound)
            self.operation([as_tensor(value) for value in values])
            pairs = list(zip(_owned(loaded.op), _owned(op), strict=True)) if op is not loaded.op else []
            for old, new in pairs:
                new.assign(old.numpy())
        twins = {old.ref(): new for old, new in pairs}
        self.variables = [twins.get(variable.ref(), variable) for variable in variables]

    def run(
        self, values: Sequence[Any], upstream: Sequence[Any], sources: Sequence[int], traced: bool
    ) -> list[Replica]:
        """Return what each replica gives for the same inputs and upstream."""

        def step(tensors: Any, ups: Any) -> Any:
            with GradientTape() as tape:
                watched = [tensors[i] for i in sources]
                tape.watch(watched)
                outputs = self.operation(tensors)
            found = pull_back(tape, outputs, [*watched, *self.variables], ups)
            return [o for o in outputs if differentiable(o)], found

        tensors, ups = [as_tensor(v) for v in values], [as_tensor(u) for u in upstream]
        outputs, gradients = self.strategy.run(function(step) if traced else step, (tensors, ups))
        per_output = [self._each(o) for o in outputs]
        per_gradient = [self._each(g) for g in gradients]
        return [
            Replica([to_array(o[k]) for o in per_output], [to_array(g[k]) for g in per_gradient])
            for k in range(self.strategy.num_replicas_in_sync)
        ]

    def summed(self, replicas: Sequence[Replica], position: int) -> Any:
        """Return the sum over the replicas of one gradient, as an optimizer takes it; None if there is none."""
        values = [replica.gradients[position] for replica in replicas]
        if any(value is None for value in values):
            return None
        per_replica = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group])
        )
        return to_array(self.strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None))

    def _each(self, value: Any) -> list[Any]:
        if value is None:
            return [None] * self.strategy.num_replicas_in_sync
        return list(self.strategy.experimental_local_results(value))


def _device(name: str) -> str:
    kind, _, index = name.partition(":")
    return f"{kind.upper()}:{index or 0}"


def _owned(op: Any) -> list[Any]:
    """Return the variables of a layer or module in their order."""
    owner = getattr(op, "__self__", op)
    if is_layer(owner) or isinstance(owner, tf.Module):
        return [raw_variable(variable) for variable in owner.variables]
    return []

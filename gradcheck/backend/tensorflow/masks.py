# SPDX-License-Identifier: Apache-2.0
"""For which elements each condition of a forward holds, at any point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gradcheck.backend.tensorflow.condition_notes import Condition
from gradcheck.backend.tensorflow.wide_forward import WideForward
from gradcheck.numerics.arrays import Array

# Ops that are a condition themselves, and what others decide by their inputs.
_TRUTHS = frozenset(
    {"Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot"}
)
_DECIDED: dict[str, Callable[..., Any]] = {
    "Relu": lambda x: x > 0,
    "Relu6": lambda x: x > 0,
    "Abs": lambda x: x > 0,
    "Sign": lambda x: x > 0,
    "Maximum": lambda a, b: a > b,
    "Minimum": lambda a, b: a > b,
    "ClipByValue": lambda x, low, high: (x > low) & (x < high),
}


@dataclass(frozen=True, slots=True)
class Mask:
    """Hold a condition, and for which elements it holds."""

    condition: Condition
    holds: NDArray[np.bool_]


class Masks:
    """Evaluate the conditions of one forward."""

    def __init__(self, forward: WideForward) -> None:
        """Trace them; raises what the import of the forward raises."""
        self._forward = forward
        self._conditions: list[Condition] = []
        self._all = tf.function(self._truths, autograph=False).get_concrete_function(*forward.specs)

    def at(self, x: Array) -> list[Mask]:
        """Return every condition at a point."""
        with self._forward.kept():
            found = self._all(*self._forward.tensors_at(x))
        return [Mask(c, np.asarray(truth)) for c, truth in zip(self._conditions, found, strict=True)]

    def _truths(self, *tensors: Any) -> list[Any]:
        self._forward.outputs_of(tensors)
        ops = [op for op in tf.compat.v1.get_default_graph().get_operations() if op.name.startswith("g/")]
        found = [(op, truth) for op in ops if (truth := _truth(op)) is not None]
        self._conditions = [self._condition(op) for op, _ in found]
        return [truth for _, truth in found]

    def _condition(self, op: Any) -> Condition:
        file, line = self._forward.places.get(op.name.removeprefix("g/"), ("", 0))
        return Condition(("", op.name, ""), op.type, file, line)


def _truth(op: Any) -> Any:
    """Return what an op decides, None where it decides nothing."""
    if op.type in _TRUTHS:
        return op.outputs[0]
    return _DECIDED[op.type](*op.inputs) if op.type in _DECIDED else None

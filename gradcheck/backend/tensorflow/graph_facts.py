"""What a trace of the op holds: random numbers, half precisions, lists, constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.runs import Gradients
from gradcheck.backend.tensorflow.tracing import constants_in, halves_in, nodes_of
from gradcheck.verdict.tolerances import ROUNDOFF

_RANDOM = ("Random", "Multinomial", "TruncatedNormal")


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Tell what a trace of the op holds: stateful and stateless random ops, and the variables it reads.

    `stops` says that it holds tf.stop_gradient, `unsized` that the data decides the size of an output,
    `lists` that it keeps tensors in a list, as loops do.
    """

    random: bool
    stateless: bool
    captured: tuple[Any, ...] | None
    halves: tuple[str, ...] = ()
    stops: bool = False
    unsized: bool = False
    lists: bool = False
    constants: tuple[float, ...] = ()

    def coarsest(self, dtype: str) -> str:
        """Return the dtype of the op's trace that rounds most, `dtype` if that does."""
        return max((dtype, *self.halves), key=lambda name: ROUNDOFF.get(name, 0.0))

    def reads(self, variable: Any) -> bool:
        """Return whether the op reads a variable; all count where the op cannot be traced."""
        return self.captured is None or any(variable.handle is tensor for tensor in self.captured)


def graph_facts(gradients: Gradients, values: Sequence[Any]) -> GraphFacts:
    """Look at the graph of the op as functions trace it; of one that cannot be traced nothing is known."""
    try:
        concrete = gradients.traced_forward(values)
    except Exception as error:
        if own_fault(error):
            raise
        return GraphFacts(False, False, None)
    finally:
        gradients.state.restore()
    nodes = nodes_of(concrete)
    drawing = [node.op for node in nodes if any(word in node.op for word in _RANDOM)]
    random = any("Stateless" not in name for name in drawing)
    halves = halves_in(nodes)
    stops = any(node.op == "StopGradient" for node in nodes)
    stateless = any("Stateless" in name for name in drawing)
    unsized = not all(output.shape.is_fully_defined() for output in concrete.outputs)
    lists = any(node.op.startswith("TensorList") for node in nodes)
    return GraphFacts(
        random, stateless, tuple(concrete.captured_inputs), halves, stops, unsized, lists, constants_in(nodes)
    )

# SPDX-License-Identifier: Apache-2.0
"""What a trace of the op holds: random numbers, half precisions, lists, constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.faults import own_fault
from gradcheck.backend.tensorflow.op_by_op import place_of
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.runs import Gradients
from gradcheck.backend.tensorflow.tracing import constants_in, halves_in, nodes_of
from gradcheck.verdict.tolerances import ROUNDOFF

_RANDOM = ("Random", "Multinomial", "TruncatedNormal")
# Ops through which no gradient passes, by the name that people know.
_STOPPING = {
    "Round": "tf.round",
    "Rint": "tf.math.rint",
    "Ceil": "tf.math.ceil",
    "Floor": "tf.floor",
    "Sign": "tf.sign",
    "ArgMax": "tf.argmax",
    "ArgMin": "tf.argmin",
    "StopGradient": "tf.stop_gradient",
    "Greater": "a comparison (>)",
    "GreaterEqual": "a comparison (>=)",
    "Less": "a comparison (<)",
    "LessEqual": "a comparison (<=)",
    "FloorDiv": "floor division (//)",
}
_COMPARISONS = ("Greater", "GreaterEqual", "Less", "LessEqual")
# The names under which TensorFlow itself registers gradients of functions.
_OF_TENSORFLOW = ("CustomGradient-", "PartitionedCall-", "StatefulPartitionedCall-")
# Functions that XLA computes by formulas of its own, exact to roundings of one where their value is near zero.
_SPECIAL = ("Lgamma", "Digamma", "Polygamma", "Zeta", "Igamma", "Igammac", "IgammaGradA", "RandomGammaGrad", "Betainc",
            "Erfinv", "Ndtri", "BesselI0e", "BesselI1e", "BesselK0e", "BesselK1e", "BesselJ0", "BesselJ1", "BesselY0",
            "BesselY1", "Dawsn", "Expint", "FresnelCos", "FresnelSin", "Spence")  # fmt: skip
_COARSER, _DOUBLE = (tf.float32, tf.float16, tf.bfloat16, tf.complex64), (tf.float64, tf.complex128)
# Matrix decompositions whose factors are free in sign or phase.
_DECOMPOSITIONS = ("SelfAdjointEigV2", "Eig", "Svd", "Qr", "XlaSvd", "XlaSelfAdjointEig")


@dataclass(frozen=True, slots=True)
class Cut:
    """Name an op through which no gradient passes, by the name that people know, and the user's line that made it."""

    name: str
    file: str
    line: int

    @property
    def is_choice(self) -> bool:
        """Return whether it is a comparison, which many ops with a gradient hold."""
        return self.name.startswith("a comparison")


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Hold what a trace of the op holds: stateful and stateless random ops, and the variables it reads.

    `stops` says that it holds tf.stop_gradient, `unsized` that the data decides the size of an output,
    `lists` that it keeps tensors in a list, as loops do, `decomposes` that it decomposes a matrix;
    `stopping` names the ops through which no gradient passes; `drawn` counts stateful random ops;
    `registered` says that an op's gradient was registered by the user, `special` that it holds a special function;
    `cuts` are those of `stopping` that take what the inputs or variables give; `rules` are the names under which
    the user registered gradients for ops in it; `iterates` says that a loop ends when floating numbers say so;
    `coarser` are dtypes that it passes through and that round more than float64;
    `holds` says that every tf.stop_gradient stands in a forward with a gradient of its own.
    """

    random: bool
    stateless: bool
    captured: tuple[Any, ...] | None
    coarser: tuple[str, ...] = ()
    stops: bool = False
    unsized: bool = False
    lists: bool = False
    constants: tuple[float, ...] = ()
    stopping: tuple[str, ...] = ()
    decomposes: bool = False
    drawn: int = 0
    registered: bool = False
    special: bool = False
    cuts: tuple[Cut, ...] = ()
    rules: tuple[str, ...] = ()
    iterates: bool = False
    holds: bool = False

    def coarsest(self, dtype: str) -> str:
        """Return the dtype of the op's trace that rounds most, `dtype` if that does."""
        return max((dtype, *self.coarser), key=lambda name: ROUNDOFF.get(name, 0.0))

    def reads(self, variable: Any) -> bool:
        """Return whether the op reads a variable; all count where the op cannot be traced."""
        return self.captured is None or any(variable.handle is tensor for tensor in self.captured)


def graph_facts(gradients: Gradients, values: Sequence[Any], recorder: Recorder | None = None) -> GraphFacts:
    """Look at the graph of the op as functions trace it; of one that cannot be traced nothing is known."""
    noted = [] if recorder is None else recorder.stops
    noted.clear()
    try:
        concrete = gradients.traced_forward(values)
    except Exception as error:
        if own_fault(error):
            raise
        return GraphFacts(False, False, None)
    finally:
        gradients.state.restore()
    nodes = nodes_of(concrete)
    drawing = [node.op for node in nodes if _draws(node.op)]
    random = any("Stateless" not in name for name in drawing)
    single = ("float32",) if _through_coarser(concrete.graph) else ()
    stops = any(node.op == "StopGradient" for node in nodes)
    stateless = any("Stateless" in name for name in drawing)
    unsized = not all(output.shape.is_fully_defined() for output in concrete.outputs)
    lists = any(node.op.startswith("TensorList") for node in nodes)
    stopping = tuple(dict.fromkeys(_STOPPING.get(node.op) or _cast(node) for node in nodes))
    decomposes = any(node.op in _DECOMPOSITIONS for node in nodes)
    rules = tuple(dict.fromkeys(name for node in nodes if (name := _rule_of_the_user(node))))
    return GraphFacts(
        random,
        stateless,
        tuple(concrete.captured_inputs),
        (*halves_in(nodes), *single),
        stops,
        unsized,
        lists,
        constants_in(nodes),
        tuple(name for name in stopping if name),
        decomposes,
        sum("Stateless" not in name for name in drawing),
        bool(rules),
        any(node.op in _SPECIAL for node in nodes),
        _cuts(concrete.graph),
        rules,
        _iterates(concrete.graph, nodes),
        stops and _holds(concrete, gradients, noted),
    )


def _rule_of_the_user(node: Any) -> str:
    """Return the name under which an op's gradient was registered, the op's own if it is none of TensorFlow's."""
    name = node.attr["_gradient_op_type"].s.decode() if "_gradient_op_type" in node.attr else ""
    if name:
        return "" if name.startswith(_OF_TENSORFLOW) else str(name)
    return "" if hasattr(tf.raw_ops, node.op) or node.op.startswith(("__", "_")) else str(node.op)


def _cuts(graph: Any) -> tuple[Cut, ...]:
    """Return the ops of a graph that stop the gradient of what its inputs give."""
    live = {id(tensor) for tensor in graph.inputs}
    found: dict[str, Cut] = {}
    for op in graph.get_operations():
        if any(id(tensor) in live for tensor in op.inputs):
            live.update(id(tensor) for tensor in op.outputs)
            name = _STOPPING.get(op.type) or _cast(op.node_def)
            if name and name not in found:
                found[name] = Cut(name, *place_of(op))
    return tuple(found.values())


def _holds(concrete: Any, gradients: Gradients, noted: Sequence[tuple[Any, str]]) -> bool:
    """Return whether each tf.stop_gradient of what is differentiated is among those noted, and one is.

    One in a loop or a branch is not.
    """
    handles = [variable.handle for variable in gradients.variables]
    explicit = len(concrete.inputs) - len(concrete.captured_inputs)
    held = zip(concrete.inputs[explicit:], concrete.captured_inputs, strict=True)
    live = {id(tensor) for tensor, value in held if any(value is handle for handle in handles)}
    live |= {id(concrete.inputs[i]) for i in gradients.sources if i < explicit}
    known, stops = {name for graph, name in noted if graph is concrete.graph}, set()
    for op in concrete.graph.get_operations():
        if any(id(tensor) in live for tensor in op.inputs):
            live.update(id(tensor) for tensor in op.outputs)
            stops |= {op.name} if op.type == "StopGradient" else set()
    inner = any(
        node.op == "StopGradient" for f in concrete.graph.as_graph_def().library.function for node in f.node_def
    )
    return bool(stops) and stops <= known and not inner


def _iterates(graph: Any, nodes: Sequence[Any]) -> bool:
    """Return whether the condition of a loop compares floating numbers, as an iteration that converges does."""
    ends = [node.attr["cond"].func.name for node in nodes if node.op in ("While", "StatelessWhile")]
    if not ends:
        return False
    functions = {function.signature.name: function.node_def for function in graph.as_graph_def().library.function}
    return any(node.op in _COMPARISONS and _of_floats(node) for name in ends for node in functions.get(name, ()))


def _of_floats(node: Any) -> bool:
    return bool(tf.as_dtype(node.attr["T"].type).is_floating)


def _cast(node: Any) -> str:
    """Return the words for a cast of floating numbers to others, nothing for any other op."""
    if node.op != "Cast":
        return ""
    kinds = [tf.as_dtype(node.attr[key].type) for key in ("SrcT", "DstT")]
    return f"a cast to {kinds[1].name}" if kinds[0].is_floating and not kinds[1].is_floating else ""


def drawn_in_gradient(gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any]) -> int:
    """Return how many ops of the traced gradient draw stateful random numbers; raises what tracing raises."""
    nodes = nodes_of(gradients.traced_gradient(values, upstream))
    return sum(_draws(node.op) and "Stateless" not in node.op for node in nodes)


def only_in_gradient_coarser(
    gradients: Gradients, values: Sequence[Any], upstream: Sequence[Any]
) -> list[tuple[str, int]]:
    """Return the user's lines at which the traced gradient makes float64 of a coarser number and the forward does not.

    Nothing where the forward makes it of more than constants: then autodiff is as coarse.
    """
    forward = gradients.traced_forward(values).graph
    if _through_coarser(forward):
        return []
    shared = {place_of(op) for op in _from_coarser(forward)}
    lines = (place_of(op) for op in _from_coarser(gradients.traced_gradient(values, upstream).graph))
    return [line for line in lines if line not in shared]


def _through_coarser(graph: Any) -> bool:
    """Return whether float64 is made of coarser numbers that are more than constants, masks and whole numbers."""
    return any(not _is_given(op.inputs[0].op) for op in _from_coarser(graph))


def _is_given(op: Any) -> bool:
    return op.type == "Const" or (op.type == "Cast" and not op.inputs[0].dtype.is_floating)


def _from_coarser(graph: Any) -> list[Any]:
    casts = (op for op in graph.get_operations() if op.type == "Cast")
    return [op for op in casts if op.inputs[0].dtype in _COARSER and op.outputs[0].dtype in _DOUBLE]


def _draws(kind: str) -> bool:
    """Return whether a kind of op draws random numbers; the derivative of a draw draws none."""
    return any(word in kind for word in _RANDOM) and not kind.endswith("Grad")

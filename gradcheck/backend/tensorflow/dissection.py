# SPDX-License-Identifier: Apache-2.0
"""Take the bare forward apart: what each op's rule gives to its inputs, and how these depend on the sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.runs import dense
from gradcheck.backend.tensorflow.wide_forward import SILENT, TooLarge, Use, WideForward, floating, use_name, with_uses
from gradcheck.numerics.arrays import Array

# A graph with more ops, or with more numbers between its ops and its sources, is not taken apart.
MOST_OPS = 300
MOST_NUMBERS = 4_000_000
# Central differences of everything in the graph at once: their error, 1e-10, is far below what is compared.
STEP = 1e-5


@dataclass(frozen=True, slots=True)
class Edge:
    """Hold what the rule of an op gives to one of its inputs.

    `value` is the input, `output` the op's output, `others` its other floating inputs; `upstream` is the
    gradient at the output, `part` what the rule makes of it, `applied` what the local Jacobian, not transposed, would
    (None where input and output have other shapes); `spread` (n, size of the input) is how the
    input depends on the n coordinates of the sources.  `file` and `line` are where the user wrote the op;
    `before` are the names of the ops that its inputs come through, `tensor` is the name of the value in the forward.
    """

    op: str
    name: str
    position: int
    file: str
    line: int
    value: Array
    output: Array
    others: tuple[Array, ...]
    upstream: Array
    part: Array
    applied: Array | None
    spread: Array
    before: frozenset[str] = frozenset()
    tensor: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Hold a value of the forward by the name of its tensor: it stays `at` one value, whatever the sources do."""

    tensor: str
    at: Array


class Dissection:
    """Take one forward apart at any point, in float64."""

    def __init__(self, forward: WideForward, upstream: Sequence[Any], held: Sequence[Held] = ()) -> None:
        """Build the graphs of its values and of its rules, with the `held` values in it constant; raises TooLarge."""
        self.forward = forward
        self.held = {value.tensor: tf.TensorSpec(value.at.shape, tf.float64) for value in held}
        self.uses: list[tuple[str, int]] = []
        self.nodes: dict[str, tuple[str, list[str], list[str]]] = {}
        ups = [tf.TensorSpec(np.shape(u), tf.float64) for u in upstream]
        self._all = tf.function(self._values, autograph=False).get_concrete_function(forward.specs, self.held)
        self._parts = tf.function(self._rules, autograph=False).get_concrete_function(forward.specs, ups, self.held)

    @cached_property
    def before(self) -> dict[str, frozenset[str]]:
        """Return, for every op by name, the names of the ops that its inputs come through."""
        makers = {tensor: name for name, (_, _, results) in self.nodes.items() for tensor in results}
        found: dict[str, frozenset[str]] = {}
        # The ops are listed in the order in which they run.
        for name, (_, inputs, _) in self.nodes.items():
            direct = [makers[tensor] for tensor in inputs if tensor in makers]
            found[name] = frozenset(direct).union(*(found.get(other, frozenset()) for other in direct))
        return found

    def _values(self, tensors: Any, held: Any) -> list[Any]:
        outputs = self.forward.outputs_of(tensors, more=held)
        nodes = [op for op in tf.compat.v1.get_default_graph().get_operations() if op.name.startswith("g/")]
        reached = tf.gradients(outputs, [t for op in nodes for t in floating(op.outputs)])
        live = iter(reached)
        alive = {op.name: [next(live) is not None for _ in floating(op.outputs)] for op in nodes}
        chosen = [op for op in nodes if any(alive[op.name]) and op.type not in SILENT]
        if len(chosen) > MOST_OPS:
            raise TooLarge(f"{len(chosen)} ops")
        wanted: dict[str, Any] = {}
        for op in chosen:
            inputs, results = floating(op.inputs), floating(op.outputs)
            self.nodes[op.name] = (op.type, [t.name for t in inputs], [t.name for t in results])
            wanted |= {t.name: t for t in [*inputs, *results]}
        self.tensors = list(wanted)
        return [tf.reshape(tensor, [-1]) for tensor in wanted.values()] + [tf.shape(t) for t in wanted.values()]

    def _rules(self, tensors: Any, ups: Any, held: Any) -> list[Any]:
        """Return, for every op, its upstreams and what its rule gives to each input."""
        outputs = self.forward.outputs_of(tensors, with_uses(self.forward.graph), more=held)
        graph = tf.compat.v1.get_default_graph()
        ops = [graph.get_operation_by_name(name) for name, (_, _, results) in self.nodes.items() if len(results) == 1]
        results = [floating(op.outputs)[0] for op in ops]
        # All at once: a pass through the graph for each op takes minutes of a long loop.
        # A copy of each, as an op may hand on its upstream as it is.
        adjoints = [None if a is None else tf.identity(dense(a)) for a in tf.gradients(outputs, results, ups)]
        reached = [i for i, adjoint in enumerate(adjoints) if adjoint is not None]
        uses = [(ops[i].name, k) for i in reached for k in range(len(_distinct(floating(ops[i].inputs))))]
        sources = [graph.get_tensor_by_name(f"{use_name(name, k)}:0") for name, k in uses]
        parts = tf.gradients([results[i] for i in reached], sources, [adjoints[i] for i in reached],
                             stop_gradients=sources)  # fmt: skip
        by_name = {ops[i].name: adjoints[i] for i in reached}
        known = [(use, by_name[use[0]], tf.convert_to_tensor(p)) for use, p in zip(uses, parts, strict=True)
                 if p is not None]  # fmt: skip
        self.uses += [use for use, _, _ in known]
        applied = _applied(known)
        return [t for use, adjoint, part in known for t in (adjoint, part, applied[use])]

    def at(self, x: Array, cotangent: Array, held: Sequence[Held] = ()) -> list[Edge]:
        """Return every op's part at a point, with a cotangent and the values that the `held` ones have there.

        Raises TooLarge.
        """
        kept = {value.tensor: tf.constant(value.at) for value in held}
        with self.forward.kept():
            values, shapes = self._evaluate(x, kept)
            if sum(len(v) for v in values) * x.size > MOST_NUMBERS:
                raise TooLarge("numbers between the ops and the sources")
            spreads = [np.empty((x.size, len(v))) for v in values]
            for k in range(x.size):
                step = STEP * max(1.0, abs(float(x[k])))
                ahead, behind = x.copy(), x.copy()
                ahead[k] += step
                behind[k] -= step
                for spread, a, b in zip(
                    spreads, self._evaluate(ahead, kept)[0], self._evaluate(behind, kept)[0], strict=True
                ):
                    spread[k] = (a - b) / (2 * step)
            entered = self.forward.tensors_at(x)
            parts = [np.asarray(t) for t in self._parts(entered, self.forward.upstream_of(cotangent), kept)]
        known = {
            n: (v.reshape(s), spread) for n, v, s, spread in zip(self.tensors, values, shapes, spreads, strict=True)
        }
        return [self._edge(use, parts[3 * i : 3 * i + 3], known) for i, use in enumerate(self.uses)]

    def _edge(self, use: tuple[str, int], found: list[Array], known: dict[str, tuple[Array, Array]]) -> Edge:
        (name, position), (upstream, part, applied) = use, found
        kind, inputs, results = self.nodes[name]
        distinct = list(dict.fromkeys(inputs))
        value, spread = known[distinct[position]]
        others = tuple(known[other][0] for other in distinct if other != distinct[position])
        file, line = self.forward.places.get(name.removeprefix("g/"), ("", 0))
        return Edge(
            kind,
            name,
            position,
            file,
            line,
            value,
            known[results[0]][0],
            others,
            upstream,
            part,
            applied if applied.shape == part.shape else None,
            spread,
            self.before.get(name, frozenset()),
            distinct[position].removeprefix("g/"),
        )

    def _evaluate(self, x: Array, held: dict[str, Any]) -> tuple[list[Array], list[tuple[int, ...]]]:
        found = [np.asarray(t) for t in self._all(self.forward.tensors_at(x), held)]
        half = len(found) // 2
        return found[:half], [tuple(shape) for shape in found[half:]]


def _applied(known: Sequence[tuple[Use, Any, Any]]) -> dict[Use, Any]:
    """Return J u of each use whose rule gives J^T u, an empty tensor where the two have other shapes.

    J^T u is linear in u, so that its own gradient along a tangent is J times the tangent; that of one input of every
    op at a time.
    """
    nothing = tf.zeros([0], tf.float64)
    found: dict[Use, Any] = {use: nothing for use, _, _ in known}
    for number in {use[1] for use, _, _ in known}:
        chosen = [(use, up, part) for use, up, part in known if use[1] == number and up.shape == part.shape]
        if chosen:
            uses, ups, parts = zip(*chosen, strict=True)
            tangents = [tf.stop_gradient(up) for up in ups]
            slopes = tf.gradients(list(parts), list(ups), tangents, stop_gradients=list(ups))
            found |= {use: nothing if slope is None else slope for use, slope in zip(uses, slopes, strict=True)}
    return found


def _distinct(tensors: Sequence[Any]) -> list[Any]:
    return list({t.name: t for t in tensors}.values())

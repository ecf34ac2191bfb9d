# SPDX-License-Identifier: Apache-2.0
"""The bare forward with a switch on every use of a value: its gradient with the rules of whole lines changed.

A line that runs in every step of a loop is changed in every step, which sums of parts cannot tell: what comes
through one step goes through the rules of those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.wide_forward import SILENT, TooLarge, WideForward, use_name, with_uses
from gradcheck.numerics.arrays import Array

# A graph with more ops is not followed, nor one with more ops through which a gradient comes back.
MOST_OPS, MOST_ALIVE = 2000, 400
# What may be done to a group: nothing passes, the sign is wrong, the slope of an op (or the other factor of a product)
# is ignored, the other factor of a matrix product is transposed.
STOPPED, NEGATED, IGNORED, TURNED = "stopped", "negated", "ignored", "turned"
_PASSED, _ASIDE, _ONE = "gradcheck/passed", "gradcheck/aside", "gradcheck/one"
# Calls of one op that a line may hold.
_CALLS = (2, 3, 4)
# Ops with several inputs whose slope may be ignored: of a quotient that of what is divided.
_FACTORS = frozenset({"Mul", "RealDiv", "Maximum", "Minimum", "SelectV2"})
_PRODUCTS = {"MatMul": ("transpose_a", "transpose_b"), "BatchMatMulV2": ("adj_x", "adj_y")}


@dataclass(frozen=True, slots=True)
class Group:
    """Name some uses of values that one line of the user's makes, by number.

    `ignores` says that the slopes of all may be ignored, `turns` that all are of products with a square factor;
    `step` is the number of the only op of a line that is meant, None for all of them.
    """

    op: str
    file: str
    line: int
    uses: tuple[int, ...]
    ignores: bool
    turns: bool
    step: int | None = None

    def changes(self) -> Iterator[str]:
        """Yield what may be done to the group."""
        yield STOPPED
        if self.step is None:
            yield NEGATED
        if self.ignores:
            yield IGNORED
        if self.turns:
            yield TURNED


class Switchboard:
    """Take gradients of one forward with the rules of lines changed, in float64.

    The forward's values never change: `a x + (1 - a) stop(x)` is x, and passes a times the gradient.
    """

    def __init__(self, forward: WideForward, upstream: Sequence[Any]) -> None:
        """Put the switches into the graph; raises TooLarge, and what its import raises."""
        self.forward = forward
        self._board = board = _Board(forward)
        self.groups = list(_groups(board.uses))
        ups = [tf.TensorSpec(np.shape(u), tf.float64) for u in upstream]
        switches = [tf.TensorSpec([len(board.uses)], tf.float64)] * 2

        def gradients(tensors: Any, ups: Any, *switched: Any) -> list[Any]:
            more = {f"{name}:0": value for name, value in zip((_PASSED, _ASIDE), switched, strict=True)}
            found = forward.outputs_of(tensors, board.graph, [board.output(name) for name in forward.outputs], more)
            sources = [tensors[i] for i in forward.layout.sources] + _handles(forward)
            return [tf.zeros([], tf.float64) if g is None else tf.convert_to_tensor(g)
                    for g in tf.gradients(found, sources, ups)]  # fmt: skip

        self._gradients = tf.function(gradients, autograph=False).get_concrete_function(forward.specs, ups, *switches)

    def gradient(self, x: Array, cotangent: Array, group: Group, change: str) -> Array:
        """Return the packed gradient at a point with one group changed."""
        count = len(self._board.uses)
        passed, aside = np.ones(count), np.zeros(count)
        uses = list(group.uses)
        passed[uses] = -1.0 if change == NEGATED else 0.0
        aside[uses] = float(change in (IGNORED, TURNED))
        with self.forward.kept():
            found = self._gradients(
                self.forward.tensors_at(x),
                self.forward.upstream_of(cotangent),
                *(tf.constant(switch, tf.float64) for switch in (passed, aside)),
            )
        shapes = [slot.shape for slot in self.forward.layout.inputs.slots]
        tensors = [np.broadcast_to(np.asarray(g), shape) for g, shape in zip(found, shapes, strict=True)]
        return self.forward.layout.inputs.project(tensors)


def _handles(forward: WideForward) -> list[Any]:
    """Return the handles of the differentiated variables, as the graph that is being built reads them."""
    twins = {variable.ref(): twin for variable, twin in forward.twins}
    return [tf.compat.v1.get_default_graph().capture(twins[v.ref()].handle) for v in forward.layout.variables]


@dataclass(frozen=True, slots=True)
class _Use:
    """Hold a use: the op that takes a value and its place, and what may be switched there."""

    op: str
    name: str
    file: str
    line: int
    position: int
    shapes: tuple[Any, ...]
    ignores: bool
    turns: bool


def _groups(uses: Sequence[_Use]) -> Iterator[Group]:
    """Yield the uses of each kind of op on a line by position, all of these, and those of each single op."""
    by_shape: dict[tuple[Any, ...], list[int]] = {}
    by_position: dict[tuple[str, str, int, int], list[int]] = {}
    by_line: dict[tuple[str, str, int], list[int]] = {}
    by_op: dict[str, list[int]] = {}
    for number, use in enumerate(uses):
        by_shape.setdefault((use.op, use.file, use.line, use.position, use.shapes), []).append(number)
        by_position.setdefault((use.op, use.file, use.line, use.position), []).append(number)
        by_line.setdefault((use.op, use.file, use.line), []).append(number)
        by_op.setdefault(use.name, []).append(number)
    known: set[tuple[int, ...]] = set()
    steps: dict[tuple[str, str, int], int] = {}
    for chosen, alone in (
        *((numbers, False) for numbers in by_position.values()),
        *((numbers, False) for numbers in by_shape.values()),
        *((numbers, False) for whole in by_position.values() for numbers in _in_turn(whole)),
        *((numbers, False) for numbers in by_line.values()),
        *((numbers, True) for numbers in by_op.values()),
    ):
        use = uses[chosen[0]]
        place = (use.op, use.file, use.line)
        steps[place] = steps.get(place, -1) + alone
        if tuple(chosen) in known:
            continue
        known.add(tuple(chosen))
        ignores, turns = all(uses[i].ignores for i in chosen), all(uses[i].turns for i in chosen)
        yield Group(*place, tuple(chosen), ignores, turns, steps[place] if alone else None)


def _in_turn(uses: Sequence[int]) -> Iterator[list[int]]:
    """Yield every second, third and fourth use: two products on one line come in turn, step by step."""
    for calls in _CALLS:
        if len(uses) > calls and len(uses) % calls == 0:
            yield from (list(uses[first::calls]) for first in range(calls))


def _may_ignore(node: Any, position: int, taken: tuple[Any, ...], given: tuple[int, ...]) -> bool:
    """Return whether what an op takes at a place may pass for what it gives: in its shape, or broadcast to it."""
    if len(node.input) == 1:
        return taken == (given,)
    if node.op not in _FACTORS or taken[position] is None or (node.op == "RealDiv" and position):
        return False
    shape = (1,) * (len(given) - len(taken[position])) + tuple(taken[position])
    return len(shape) == len(given) and all(n in (1, m) for n, m in zip(shape, given, strict=True))


def _alive(forward: WideForward) -> set[str]:
    """Return the ops through which a gradient may come back to the sources: not those behind a tf.stop_gradient."""
    nodes = {node.name: node for node in forward.graph.node}
    found: set[str] = set()
    left = [_op_of(name) for name in forward.outputs]
    while left:
        name = left.pop()
        if name in found or name not in nodes or nodes[name].op == "StopGradient":
            continue
        found.add(name)
        left += [_op_of(taken) for taken in nodes[name].input]
    return {name for name in found if nodes[name].op not in SILENT}


def _op_of(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]


def _plain(name: str) -> str:
    return name.removesuffix(":0")


class _Board:
    """Put switches into a forward's GraphDef."""

    def __init__(self, forward: WideForward) -> None:
        if len(forward.graph.node) > MOST_OPS:
            raise TooLarge(f"{len(forward.graph.node)} ops")
        self.graph = with_uses(forward.graph)
        self.uses: list[_Use] = []
        self._instead: dict[str, str] = {}
        self._made: set[str] = set()
        for name in (_PASSED, _ASIDE):
            self.graph.node.add(name=name, op="Placeholder").attr["dtype"].type = tf.float64.as_datatype_enum
            self._made.add(name)
        self._constant(_ONE, 1.0, tf.float64)
        nodes = {node.name: node for node in self.graph.node}
        alive = _alive(forward)
        if len(alive) > MOST_ALIVE:
            raise TooLarge(f"{len(alive)} ops with gradients")
        for node in forward.graph.node:
            file, line = forward.places.get(node.name, ("", 0))
            if file and node.name in forward.shapes and node.name in alive:
                self._switch_uses(node, file, line, nodes, forward.shapes)
        self._redirect()

    def output(self, name: str) -> str:
        """Return the name under which an output of the forward is found now."""
        return f"{self._instead[_plain(name)]}:0" if _plain(name) in self._instead else name

    def _switch_uses(self, node: Any, file: str, line: int, nodes: Any, shapes: Any) -> None:
        first, taken = len(self.uses), self._shapes_taken(node, nodes, shapes)
        for position in range(len(taken)):
            turns = self._may_turn(node, 1 - position, taken)
            ignores = not turns and _may_ignore(node, position, taken, shapes[node.name])
            self.uses.append(_Use(node.op, node.name, file, line, position, taken, ignores, turns))
        for position, number in enumerate(range(first, len(self.uses))):
            use = nodes[use_name(node.name, position)]
            if self.uses[number].turns:
                self._add_aside(node.name, position, self._turned(node, position, use.input[0]), number)
            if self.uses[number].ignores:
                self._add_aside(node.name, position, self._as_it_is(node.name, position, use.input[0]), number)
            self._pass_part(use, number)

    def _shapes_taken(self, node: Any, nodes: Any, shapes: Any) -> tuple[Any, ...]:
        """Return the shapes of the values that an op takes, None for one that is not known."""
        number, found = 0, []
        while (name := use_name(node.name, number)) in nodes:
            found.append(shapes.get(_plain(nodes[name].input[0])))
            number += 1
        return tuple(found)

    def _may_turn(self, node: Any, other: int, taken: tuple[Any, ...]) -> bool:
        """Return whether a factor of a matrix product is square: transposed it is a factor still."""
        shape = taken[other] if node.op in _PRODUCTS and len(taken) == 2 else None
        return shape is not None and len(shape) >= 2 and shape[-1] == shape[-2]

    def _pass_part(self, use: Any, number: int) -> None:
        """Multiply what passes through a use by its switch."""
        source, switch = use.input[0], self._switch(_PASSED, number)
        held = self._add(f"{use.name}/kept", "StopGradient", [source])
        rest = self._add(f"{use.name}/rest", "Sub", [_ONE, switch])
        passed = self._add(f"{use.name}/passed", "Mul", [source, switch])
        use.op, use.input[:] = "AddV2", [passed, self._add(f"{use.name}/stopped", "Mul", [held, rest])]

    def _as_it_is(self, name: str, position: int, source: str) -> str:
        """Return what an op takes, in the shape of what it gives."""
        nothing = self._add(f"{name}/nothing{position}", "ZerosLike", [name])
        return self._add(f"{name}/same{position}", "AddV2", [source, nothing])

    def _turned(self, node: Any, position: int, source: str) -> str:
        """Return what a product gives with the other factor transposed."""
        other = f"{node.name}/use{1 - position}"
        held = self._add(f"{node.name}/other{position}", "StopGradient", [other])
        factors = [source, held] if position == 0 else [held, source]
        turned = self._add(f"{node.name}/turned{position}", node.op, factors)
        for key in _PRODUCTS[node.op]:
            self.graph.node[-1].attr[key].b = node.attr[key].b
        flipped = self.graph.node[-1].attr[_PRODUCTS[node.op][1 - position]]
        flipped.b = not flipped.b
        return turned

    def _add_aside(self, name: str, position: int, moved: str, number: int) -> None:
        """Let a switch add the slope of `moved` to that of an op, whose value stays."""
        part = self._add(f"{name}/aside{position}", "Mul", [moved, self._switch(_ASIDE, number)])
        held = self._add(f"{name}/held{position}", "StopGradient", [part])
        slope = self._add(f"{name}/slope{position}", "Sub", [part, held])
        whole = self._instead.get(name, name)
        self._instead[name] = self._add(f"{name}/with{position}", "AddV2", [whole, slope])

    def _redirect(self) -> None:
        """Let every op of the forward take what is switched in the place of what was there."""
        for node in self.graph.node:
            taken = node.name.endswith(("/passed", "/kept")) and "/use" in node.name
            if node.name not in self._made or taken:
                node.input[:] = [self._instead.get(_plain(name), name) for name in node.input]

    def _switch(self, kind: str, number: int) -> str:
        """Return the name of one number of the switches."""
        name = f"{kind}/{number}"
        self._constant(f"{name}/at", number, tf.int32)
        self._constant(f"{name}/axis", 0, tf.int32)
        node = self.graph.node.add(name=name, op="GatherV2", input=[kind, f"{name}/at", f"{name}/axis"])
        node.attr["Tparams"].type = tf.float64.as_datatype_enum
        node.attr["Tindices"].type = node.attr["Taxis"].type = tf.int32.as_datatype_enum
        self._made.add(name)
        return name

    def _constant(self, name: str, value: float, dtype: Any) -> None:
        node = self.graph.node.add(name=name, op="Const")
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
        self._made.add(name)

    def _add(self, name: str, op: str, inputs: Sequence[str]) -> str:
        node = self.graph.node.add(name=name, op=op, input=list(inputs))
        node.attr["T"].type = tf.float64.as_datatype_enum
        self._made.add(name)
        return name

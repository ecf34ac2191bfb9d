# SPDX-License-Identifier: Apache-2.0
"""What rules would give that are right but see another value of the forward than the one that they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.diagnose.changes import product_of, summed_to
from gradcheck.measure.dissected import Draw
from gradcheck.numerics.arrays import Array
from gradcheck.numerics.special import digamma
from gradcheck.verdict.tolerances import OTHER_OPERANDS

if TYPE_CHECKING:
    from gradcheck.backend.tensorflow.dissection import Edge

OWN_INPUT, OWN_OUTPUT, OWN_FACTOR = "its input", "its output", "its other factor"
# A factor that is broadcast, where a value of the output's shape is seen.
WHOLE_FACTOR = "its broadcast factor"


@dataclass(frozen=True, slots=True)
class Seen:
    """Name a value of the forward: what the op of an edge (by number) gives or takes."""

    edge: int
    given: bool

    def at(self, draw: Draw) -> Array:
        """Return the value at a point."""
        edge = draw.edges[self.edge]
        return edge.output if self.given else edge.value


@dataclass(frozen=True, slots=True)
class Moved:
    """Name what a rule needs, but averaged, reversed or shifted along an axis (`how`)."""

    edge: int
    own: str
    how: str
    axis: int

    def at(self, draw: Draw) -> Array:
        """Return the value at a point."""
        edge = draw.edges[self.edge]
        value = {OWN_INPUT: edge.value, OWN_OUTPUT: edge.output}.get(self.own)
        value = edge.others[0] if value is None else value
        return np.asarray(_MOVES[self.how](value, self.axis))


_MOVES: dict[str, Callable[[Array, int], Array]] = {
    "averaged": lambda v, axis: np.broadcast_to(v.mean(axis, keepdims=True), v.shape),
    "reversed": np.flip,
    "shifted by one": lambda v, axis: np.roll(v, 1, axis),
    "shifted back by one": lambda v, axis: np.roll(v, -1, axis),
}


@dataclass(frozen=True, slots=True)
class OtherOperand:
    """Say that the rule of an edge (by number) sees `seen` in the place of `own`."""

    edge: int
    own: str
    seen: Seen | Moved
    rule: Callable[[Edge, Array], Array | None]

    def part(self, draw: Draw) -> Array | None:
        """Return what the rule gives then, None where it does not take such a value."""
        edge = draw.edges[self.edge]
        with np.errstate(all="ignore"):
            try:
                found = self.rule(edge, self.seen.at(draw))
            except ValueError:
                return None
            return None if found is None else summed_to(found, edge.part.shape)


# The rules of elementwise ops, by the value that they are computed from.
_FROM_INPUT: dict[str, Callable[[Array, Array], Array]] = {
    "Square": lambda u, x: 2 * u * x,
    "Log": lambda u, x: u / x,
    "Log1p": lambda u, x: u / (1 + x),
    "Sin": lambda u, x: u * np.cos(x),
    "Cos": lambda u, x: -u * np.sin(x),
    "Exp": lambda u, x: u * np.exp(x),
    "Tanh": lambda u, x: u / np.cosh(x) ** 2,
    "Sigmoid": lambda u, x: u * np.exp(-x) / (1 + np.exp(-x)) ** 2,
    "Softplus": lambda u, x: u / (1 + np.exp(-x)),
    "Sqrt": lambda u, x: u / (2 * np.sqrt(x)),
    "Rsqrt": lambda u, x: -u / (2 * x * np.sqrt(x)),
    "Relu": lambda u, x: u * (x > 0),
    "Abs": lambda u, x: u * np.sign(x),
    "Reciprocal": lambda u, x: -u / x**2,
    "Lgamma": lambda u, x: u * digamma(x),
    "Erf": lambda u, x: u * 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "Erfc": lambda u, x: -u * 2 / np.sqrt(np.pi) * np.exp(-x * x),
    "Expm1": lambda u, x: u * np.exp(x),
    "Sinh": lambda u, x: u * np.cosh(x),
    "Cosh": lambda u, x: u * np.sinh(x),
    "Tan": lambda u, x: u / np.cos(x) ** 2,
    "Atan": lambda u, x: u / (1 + x * x),
    "Asin": lambda u, x: u / np.sqrt(1 - x * x),
    "Acos": lambda u, x: -u / np.sqrt(1 - x * x),
    "Atanh": lambda u, x: u / (1 - x * x),
    "Asinh": lambda u, x: u / np.sqrt(1 + x * x),
    "Elu": lambda u, x: u * np.where(x > 0, 1.0, np.exp(x)),
    "Softsign": lambda u, x: u / (1 + np.abs(x)) ** 2,
}
_FROM_OUTPUT: dict[str, Callable[[Array, Array], Array]] = {
    "Exp": lambda u, y: u * y,
    "Tanh": lambda u, y: u * (1 - y * y),
    "Sigmoid": lambda u, y: u * y * (1 - y),
    "Softmax": lambda u, y: y * (u - np.sum(u * y, -1, keepdims=True)),
    "Sqrt": lambda u, y: u / (2 * y),
    "Rsqrt": lambda u, y: -u * y * y * y / 2,
    "Reciprocal": lambda u, y: -u * y * y,
    "Square": lambda u, y: 2 * u * y,
    "Expm1": lambda u, y: u * (1 + y),
    "Tan": lambda u, y: u * (1 + y * y),
    "Elu": lambda u, y: u * np.where(y > 0, 1.0, 1 + y),
}


def other_operands(draws: Sequence[Draw]) -> Iterator[OtherOperand]:
    """Yield rules that see another value, as many as are tried."""
    first = draws[0]
    pool = _values(first)
    found = (
        OtherOperand(i, own, seen, rule)
        for i, edge in enumerate(first.edges)
        for own, shape, rule in rules_of(edge)
        for seen in _candidates(pool, first, i, own, shape)
    )
    return islice(found, OTHER_OPERANDS)


def _candidates(
    pool: Sequence[Seen], draw: Draw, edge: int, own: str, shape: tuple[int, ...]
) -> Iterator[Seen | Moved]:
    """Yield what a rule may see: what it needs at other places, then other values of that shape."""
    if own != WHOLE_FACTOR:
        yield from (Moved(edge, own, how, axis) for axis, size in enumerate(shape) if size > 1 for how in _MOVES)
    yield from (seen for seen in pool if seen.at(draw).shape == shape)


def _values(draw: Draw) -> list[Seen]:
    """Return the values of the forward, each once: what ops give, and what goes into them from outside."""
    found: dict[bytes, Seen] = {}
    for i, edge in enumerate(draw.edges):
        for given, value in ((False, edge.value), (True, edge.output)):
            found.setdefault(np.ascontiguousarray(value).tobytes() + repr(value.shape).encode(), Seen(i, given))
    return list(found.values())


_Rule = tuple[str, tuple[int, ...], "Callable[[Edge, Array], Array | None]"]


def rules_of(edge: Edge) -> Iterator[_Rule]:
    """Yield the rules of an edge, with what each is computed from and the shape of that."""
    if edge.op in _FROM_INPUT:
        yield OWN_INPUT, edge.value.shape, lambda e, v: _FROM_INPUT[e.op](e.upstream, v)
    if edge.op in _FROM_OUTPUT:
        yield OWN_OUTPUT, edge.output.shape, lambda e, v: _FROM_OUTPUT[e.op](e.upstream, v)
    if len(edge.others) != 1:
        return
    shape = edge.others[0].shape
    if edge.op == "Mul":
        yield OWN_FACTOR, shape, lambda e, v: e.upstream * v
        if shape != edge.output.shape:
            yield WHOLE_FACTOR, edge.output.shape, lambda e, v: e.upstream * v
    elif edge.op == "RealDiv" and edge.position == 0:
        yield OWN_FACTOR, shape, lambda e, v: e.upstream / v
    elif edge.op == "RealDiv":
        yield OWN_FACTOR, shape, lambda e, v: -e.upstream * v / e.value**2
        yield OWN_INPUT, edge.value.shape, lambda e, v: -e.upstream * e.others[0] / v**2
    elif edge.op == "Pow" and edge.position == 0:
        yield OWN_FACTOR, shape, lambda e, v: e.upstream * v * e.value ** (v - 1)
        yield OWN_INPUT, edge.value.shape, lambda e, v: e.upstream * e.others[0] * v ** (e.others[0] - 1)
    number = product_of(edge)
    if number is not None:
        yield OWN_FACTOR, shape, lambda e, v: number(e.upstream, v)

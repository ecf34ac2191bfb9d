"""A stand-in for an op at its sample, in NumPy: what the sites ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradcheck.numerics.packing import Coordinates, make_slot
from gradcheck.numerics.random_streams import stream


@dataclass
class Leaf:
    """One input as the spec describes it."""

    values: np.ndarray
    domain: tuple[float, float] | None = None
    avoids_zero: bool = False
    structure: str | None = None
    differentiated: bool = True
    name: str = "x"
    ends: tuple[float, float] | None = None
    whole_range: tuple[int, int] | None = None

    @property
    def is_free(self):
        return self.structure is None

    @property
    def floating(self):
        return self.values.dtype.kind == "f"

    def __post_init__(self):
        self.ends = self.ends or self.domain or (-np.inf, np.inf)


@dataclass
class Sampled:
    """An op at inputs without variables; `redrawn` are the leaves of other draws."""

    leaves: list[Leaf]
    custom: bool = True
    constants: tuple[float, ...] = ()
    redrawn: list[Any] = field(default_factory=list)
    parameters: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self):
        self.values = tuple(leaf.values for leaf in self.leaves)
        floating = [i for i, leaf in enumerate(self.leaves) if leaf.values.dtype.kind == "f" and leaf.differentiated]
        self.sources = tuple(floating)
        self.variables = ()
        slots = [make_slot(f"x{i}", v.values, str(v.values.dtype), v.structure, v.domain)
                 for i in floating for v in [self.leaves[i]]]  # fmt: skip
        self.layout = SimpleNamespace(inputs=Coordinates(tuple(slots)))
        self.precision = SimpleNamespace(op=SimpleNamespace(constants=self.constants))
        self.gradients = SimpleNamespace(state=None)

    def vector(self):
        return self.layout.inputs.pack([self.values[i] for i in self.sources]).copy()

    def rng(self, *names):
        return stream(0, "check", *names)

    def drawn_anew(self, number):
        return self.redrawn[number] if number < len(self.redrawn) else None


def sampled(*arrays, **more):
    """Return an op at these inputs; an array may be a Leaf."""
    return Sampled([a if isinstance(a, Leaf) else Leaf(np.asarray(a)) for a in arrays], **more)

# SPDX-License-Identifier: Apache-2.0
"""What an exemption may ask of an op."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gradcheck.differences.vector_function import Point
from gradcheck.numerics.arrays import Array


class Bends(Protocol):
    """Know where the ops of a forward bend."""

    def bends_at(self, x: Array) -> bool:
        """Return whether an op of the forward bends just at a point."""


class Witness(Protocol):
    """Offer what an exemption may ask of the op: gradients in the widest precision, and random numbers."""

    @property
    def rounds_to_half(self) -> bool:
        """Return whether the op rounds to half precision somewhere."""

    @property
    def growth(self) -> float:
        """Return how many times as large a relative change of the inputs comes out of the op."""

    @property
    def proved(self) -> bool:
        """Return whether exact arithmetic shows that the gradient is the derivative at the sample, if it was asked."""

    @property
    def iterates(self) -> bool:
        """Return whether a loop in the op ends when floating numbers say so."""

    @property
    def steering(self) -> Bends | None:
        """Return what knows where the op bends, None if its graph cannot be followed."""

    def gradient_near(self, point: Point) -> Array | None:
        """Return the gradient under test at a point, None if the op refuses it."""

    def autodiff(self, point: Point) -> Array | None:
        """Return the gradient of the bare forward at a point, None if there is none."""

    def unrounded(self, point: Point) -> tuple[Array, Array | None] | None:
        """Return gradient and autodiff with constants that are not rounded to float32, None if there are none."""

    def rng(self, *names: str) -> np.random.Generator:
        """Return the random stream of these names."""

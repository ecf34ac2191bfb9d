# SPDX-License-Identifier: Apache-2.0
"""Pack differentiated tensors into one vector of reals and back.

Complex numbers become two reals, with TensorFlow's convention: for phi = Re sum conj(v) f the
gradient is dphi/da + i dphi/db.  Structured matrices are packed by their free entries, so that
perturbations stay on the tangent space and gradients are projected on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.numerics.arrays import Array


@dataclass(frozen=True, slots=True)
class Slot:
    """Describe one packed tensor: entry k of the flat tensor is coordinate `index[k]`, or fixed (-1).

    `index` is None where every entry is a coordinate of its own, in order.  `signs` are the factors of the
    imaginary parts in a Hermitian matrix: 1 below the diagonal, 0 on it, -1 above; None elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    index: np.ndarray[Any, np.dtype[np.int64]] | None
    size: int
    low: float = -np.inf
    high: float = np.inf
    signs: Array | None = None

    @property
    def complex(self) -> bool:
        """Return whether each entry is two coordinates."""
        return self.dtype.startswith("complex")

    @property
    def width(self) -> int:
        """Return the number of real coordinates."""
        return self.size * (2 if self.complex else 1)

    @property
    def plain(self) -> bool:
        """Return whether every entry is a coordinate of its own, in order."""
        return self.index is None

    def pack(self, value: Any) -> Array:
        """Return the coordinates of a tensor; they may be a view of it."""
        flat = np.asarray(value).reshape(-1).astype(np.complex128 if self.complex else np.float64, copy=False)
        if self.index is None:
            return _as_reals(flat)
        flat = self._conjugated(flat)
        entries = np.zeros(self.size, flat.dtype)
        free = self.index >= 0
        entries[self.index[free][::-1]] = flat[free][::-1]
        return _as_reals(entries)

    def unpack(self, coordinates: Array) -> np.ndarray[Any, Any]:
        """Return the tensor (float64 or complex128) at these coordinates; it may be a view of them."""
        entries: Any = coordinates
        if self.complex:
            entries = coordinates[: self.size] + 1j * coordinates[self.size :]
        if self.index is None:
            return np.reshape(entries, self.shape)
        flat = np.where(self.index >= 0, entries[self.index] if self.size else 0.0, 0.0)
        return self._conjugated(np.asarray(flat)).reshape(self.shape)

    def project(self, gradient: Any) -> Array:
        """Return the gradient with respect to the coordinates; NaN for one of another shape."""
        if gradient is None:
            return np.zeros(self.width)
        if tuple(np.shape(gradient)) != self.shape:
            return np.full(self.width, np.nan)
        dtype = np.complex128 if self.complex else np.float64
        flat = np.asarray(gradient).reshape(-1)
        if self.index is None:
            # A sum with zero, as below, so that no gradient is a negative zero.
            return _as_reals(np.add(flat, 0.0, dtype=dtype, casting="unsafe"))
        flat = self._conjugated(flat.astype(dtype))
        entries = np.zeros(self.size, dtype)
        free = self.index >= 0
        np.add.at(entries, self.index[free], flat[free])
        return _as_reals(entries)

    def _conjugated(self, flat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the entries of a Hermitian matrix from those below the diagonal, or what each says of these."""
        return flat if self.signs is None else flat.real + 1j * (flat.imag * self.signs)

    def where(self, coordinate: int) -> tuple[int, ...]:
        """Return the index inside the tensor of a coordinate (the first, if several share it)."""
        entry = coordinate % self.size if self.complex else coordinate
        position = entry if self.index is None else int(np.argmax(self.index == entry))
        return tuple(int(i) for i in np.unravel_index(position, self.shape)) if self.shape else ()


def make_slot(
    name: str, value: Any, dtype: str, structure: str | None = None, domain: tuple[float, float] | None = None
) -> Slot:
    """Return the slot of a tensor."""
    shape = tuple(int(n) for n in np.shape(value))
    low, high = domain if domain else (-np.inf, np.inf)
    index, size = _free_entries(shape, structure)
    hermitian = dtype.startswith("complex") and structure in ("symmetric", "spd")
    return Slot(name, shape, dtype, index, size, low, high, _signs(shape) if hermitian else None)


def _signs(shape: tuple[int, ...]) -> Array:
    """Return the factors of the imaginary parts of Hermitian matrices."""
    n = shape[-1]
    rows, columns = np.divmod(np.arange(n * n), n)
    count = int(np.prod(shape))
    return np.asarray(np.tile(np.sign(rows - columns).astype(np.float64), count // (n * n) if n else 0))


def _free_entries(shape: tuple[int, ...], structure: str | None) -> tuple[np.ndarray[Any, Any] | None, int]:
    count = int(np.prod(shape))
    if structure is None:
        return None, count
    n = shape[-1]
    rows, columns = np.divmod(np.arange(n * n), n)
    below = rows >= columns
    numbers = np.full((n, n), -1)
    numbers[np.tril_indices(n)] = np.arange(n * (n + 1) // 2)
    pattern = numbers[np.maximum(rows, columns), np.minimum(rows, columns)]
    if structure == "lower-triangular":
        pattern = np.where(below, pattern, -1)
    each = n * (n + 1) // 2
    batches = count // (n * n) if n else 0
    offsets = np.repeat(np.arange(batches) * each, n * n)
    tiled = np.tile(pattern, batches)
    return np.where(tiled >= 0, tiled + offsets, -1), each * batches


def _as_reals(entries: np.ndarray[Any, Any]) -> Array:
    if np.iscomplexobj(entries):
        return np.concatenate([entries.real, entries.imag])
    return np.asarray(entries, np.float64)


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Pack several tensors into one vector."""

    slots: tuple[Slot, ...]

    @property
    def width(self) -> int:
        """Return the number of coordinates."""
        return sum(slot.width for slot in self.slots)

    def ranges(self) -> list[slice]:
        """Return where each slot lies in the vector."""
        ends = np.cumsum([slot.width for slot in self.slots])
        return [slice(int(end) - slot.width, int(end)) for slot, end in zip(self.slots, ends, strict=True)]

    def pack(self, values: Sequence[Any]) -> Array:
        """Return the vector of these tensors."""
        return _join([slot.pack(value) for slot, value in zip(self.slots, values, strict=True)])

    def unpack(self, vector: Array) -> list[np.ndarray[Any, Any]]:
        """Return the tensors (float64 or complex128) at a vector."""
        return [slot.unpack(vector[part]) for slot, part in zip(self.slots, self.ranges(), strict=True)]

    def project(self, gradients: Sequence[Any]) -> Array:
        """Return the gradient vector; None counts as zero."""
        return _join([slot.project(g) for slot, g in zip(self.slots, gradients, strict=True)])

    def bounds(self) -> tuple[Array, Array]:
        """Return the domain of each coordinate."""
        if all(np.isinf(slot.low) and np.isinf(slot.high) for slot in self.slots):
            return np.broadcast_to(-np.inf, self.width), np.broadcast_to(np.inf, self.width)
        low = _join([np.full(slot.width, slot.low) for slot in self.slots])
        high = _join([np.full(slot.width, slot.high) for slot in self.slots])
        return low, high


def _join(parts: list[Array]) -> Array:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0)

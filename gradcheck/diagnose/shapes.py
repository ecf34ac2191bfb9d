# SPDX-License-Identifier: Apache-2.0
"""Say how the shape of a gradient came to differ from the shape of its input."""

from __future__ import annotations

from itertools import combinations

Shape = tuple[int, ...]


def explain_shape(found: Shape, wanted: Shape) -> tuple[str | None, str]:
    """Return (cause, what to change) for a gradient of shape `found` for an input of shape `wanted`."""
    axes = axes_to_sum(found, wanted)
    if axes is not None:
        listed = axes[0] if len(axes) == 1 else list(axes)
        keep = len(found) == len(wanted)
        plural = "axis" if len(axes) == 1 else "axes"
        return "unreduced-broadcast", (
            f"sum over {plural} {listed}: tf.reduce_sum(gradient, axis={listed}{', keepdims=True' if keep else ''})"
        )
    if found == wanted[::-1] and len(wanted) > 1:
        return "transposed", "transpose the gradient: tf.transpose(gradient)"
    if sorted(found) == sorted(wanted) and found != wanted:
        return "transposed", f"exchange the axes of the gradient from {list(found)} to {list(wanted)}"
    if _size(found) < _size(wanted):
        return "over-reduced", "a sum went too far: the gradient needs one value per element of the input"
    if _size(found) == _size(wanted):
        return None, f"reshape the gradient to the input's shape: tf.reshape(gradient, {list(wanted)})"
    return None, f"return a gradient of shape {list(wanted)}"


def axes_to_sum(found: Shape, wanted: Shape) -> tuple[int, ...] | None:
    """Return the axes whose sum turns `found` into `wanted`, fewest and first; None if there are none."""
    if found == wanted or _size(found) < _size(wanted):
        return None
    for count in range(1, len(found) + 1):
        for axes in combinations(range(len(found)), count):
            dropped = tuple(n for i, n in enumerate(found) if i not in axes)
            kept = tuple(1 if i in axes else n for i, n in enumerate(found))
            if wanted in (dropped, kept):
                return axes
    return None


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n
    return size

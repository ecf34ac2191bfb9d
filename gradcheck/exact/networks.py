# SPDX-License-Identifier: Apache-2.0
"""Kinds of ops of neural networks: softmax and its losses, convolutions and pools over given patches.

A convolution is a product of patches and filters.  Which numbers a patch holds is known from `Patches`: for each output
place and each place of the window the place of the input, or -1 beyond its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck.exact.balls import Balls, Dual, Operand, Unknown, dual, full, joined, lift, multiply, objects, subtract
from gradcheck.exact.elementwise import ONES
from gradcheck.exact.orders import Attribute, order
from gradcheck.exact.reductions import log_sum_exp


def softmax(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the softmax of each last row."""
    return [ONES["Exp"](_log_softmax(dual(inputs[0])))]


def log_softmax(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the logarithm of the softmax of each last row."""
    return [_log_softmax(dual(inputs[0]))]


def _log_softmax(x: Dual) -> Dual:
    return subtract(x, log_sum_exp(x))


def cross_entropy(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the cross entropy of logits and labels, and softmax minus labels."""
    logits, labels = dual(inputs[0]), dual(inputs[1])
    logs = _log_softmax(logits)
    loss = multiply(labels, logs).map(lambda a: -np.add.reduce(a, axis=-1))
    return [loss, subtract(ONES["Exp"](logs), labels)]


def sparse_cross_entropy(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the cross entropy of logits and whole labels, and softmax minus the label's one."""
    logits, labels = dual(inputs[0]), np.asarray(inputs[1], np.int64)
    return cross_entropy([logits, lift(np.eye(logits.shape[-1])[labels])], attribute)


def patches(shape: Sequence[int], window: Sequence[int], attribute: Attribute) -> Any:
    """Return for each output place (rows, columns) and window place the flat place in an image, -1 beyond the edge."""
    if _text(attribute("data_format")) != "NHWC":
        raise Unknown("a convolution with channels first")
    strides, padding = list(attribute("strides"))[1:3], _text(attribute("padding"))
    spread = _dilations(attribute)
    sizes, starts = [], []
    for axis in range(2):
        size, reach = shape[1 + axis], (window[axis] - 1) * spread[axis] + 1
        if padding == "SAME":
            count = -(-size // strides[axis])
            before = max((count - 1) * strides[axis] + reach - size, 0) // 2
        elif padding == "VALID":
            count, before = -(-(size - reach + 1) // strides[axis]), 0
        else:
            raise Unknown("a convolution with padding of its own")
        sizes.append(count)
        starts.append(before)
    lines = [
        np.arange(sizes[a])[:, None] * strides[a] - starts[a] + np.arange(window[a])[None] * spread[a] for a in range(2)
    ]
    rows, columns = lines[0][:, None, :, None], lines[1][None, :, None, :]
    inside = (rows >= 0) & (rows < shape[1]) & (columns >= 0) & (columns < shape[2])
    return np.where(inside, rows * shape[2] + columns, -1)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _dilations(attribute: Attribute) -> list[int]:
    try:
        return list(attribute("dilations"))[1:3] or [1, 1]
    except (KeyError, ValueError):
        return [1, 1]


def _windows(x: Balls, places: Any) -> Balls:
    """Return the numbers in each patch: (batch, rows, columns, window, channels)."""
    flat = x.reshape(x.shape[0], -1, x.shape[-1])
    padded = np.concatenate([flat, full((x.shape[0], 1, x.shape[-1]))], axis=1)
    height, width = places.shape[:2]
    return np.asarray(padded[:, places.reshape(height, width, -1)])


def _spread(windows: Balls, places: Any, shape: Sequence[int]) -> Balls:
    """Return what `_windows` gives back: the sums of all that patches hold of each number."""
    found = full((shape[0], shape[1] * shape[2], shape[3]))
    height, width = places.shape[:2]
    flat = places.reshape(height, width, -1)
    for i, j, k in np.ndindex(*flat.shape):
        if flat[i, j, k] >= 0:
            found[:, flat[i, j, k]] = found[:, flat[i, j, k]] + windows[:, i, j, k]
    return found.reshape(tuple(shape))


def _bilinear(equation: str, a: Dual, b: Dual) -> Dual:
    return joined(
        a, b, np.einsum(equation, a.value, b.value),
        lambda p: np.einsum(equation, p, b.value), lambda q: np.einsum(equation, a.value, q),
    )  # fmt: skip


def _places(shape: Sequence[int], filters: Sequence[int], attribute: Attribute) -> Any:
    if filters[2] != shape[3]:
        raise Unknown("a convolution in groups")
    return patches(shape, filters[:2], attribute)


def _flat_filters(w: Dual) -> Dual:
    return w.map(lambda a: a.reshape(-1, *a.shape[2:]))


# The letters of what is summed: (batch, rows, columns, window, channels), filters (window, channels, outputs).
_FULL, _FULL_INPUT, _FULL_FILTER = "nijkc,kco->nijo", "nijo,kco->nijkc", "nijkc,nijo->kco"
_DEPTH, _DEPTH_INPUT, _DEPTH_FILTER = "nijkc,kcm->nijcm", "nijcm,kcm->nijkc", "nijkc,nijcm->kcm"


def convolution(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the convolution of images with filters."""
    x, w = dual(inputs[0]), dual(inputs[1])
    places = _places(x.shape, w.shape, attribute)
    return [_bilinear(_FULL, x.map(lambda a: _windows(a, places)), _flat_filters(w))]


def convolution_input(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the gradient of the images: their shape, filters, upstream."""
    shape, w, dy = [int(n) for n in np.asarray(inputs[0])], dual(inputs[1]), dual(inputs[2])
    places = _places(shape, w.shape, attribute)
    return [_bilinear(_FULL_INPUT, dy, _flat_filters(w)).map(lambda a: _spread(a, places, shape))]


def convolution_filter(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the gradient of the filters: images, their shape, upstream."""
    x, shape, dy = dual(inputs[0]), tuple(int(n) for n in np.asarray(inputs[1])), dual(inputs[2])
    places = _places(x.shape, shape, attribute)
    return [_bilinear(_FULL_FILTER, x.map(lambda a: _windows(a, places)), dy).map(lambda a: a.reshape(shape))]


def _by_channel(dy: Dual, filters: Sequence[int]) -> Dual:
    return dy.map(lambda a: a.reshape(*a.shape[:3], filters[2], filters[3]))


def depthwise(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the convolution of each channel with filters of its own."""
    x, w = dual(inputs[0]), dual(inputs[1])
    places = patches(x.shape, w.shape[:2], attribute)
    found = _bilinear(_DEPTH, x.map(lambda a: _windows(a, places)), _flat_filters(w))
    return [found.map(lambda a: a.reshape(*a.shape[:3], -1))]


def depthwise_input(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the gradient of the images of a depthwise convolution."""
    shape, w = [int(n) for n in np.asarray(inputs[0])], dual(inputs[1])
    places = patches(shape, w.shape[:2], attribute)
    found = _bilinear(_DEPTH_INPUT, _by_channel(dual(inputs[2]), w.shape), _flat_filters(w))
    return [found.map(lambda a: _spread(a, places, shape))]


def depthwise_filter(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the gradient of the filters of a depthwise convolution."""
    x, shape = dual(inputs[0]), tuple(int(n) for n in np.asarray(inputs[1]))
    places = patches(x.shape, shape[:2], attribute)
    found = _bilinear(_DEPTH_FILTER, x.map(lambda a: _windows(a, places)), _by_channel(dual(inputs[2]), shape))
    return [found.map(lambda a: a.reshape(shape))]


def _pool_places(shape: Sequence[int], attribute: Attribute) -> Any:
    window = list(attribute("ksize"))
    if window[0] != 1 or window[3] != 1:
        raise Unknown("a pool over channels")
    return patches(shape, window[1:3], attribute)


def average_pool(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the mean of what each patch holds of the image."""
    x = dual(inputs[0])
    places = _pool_places(x.shape, attribute)
    counts = (places >= 0).sum(axis=(2, 3))[None, :, :, None]
    return [x.map(lambda a: np.add.reduce(_windows(a, places), axis=3) / counts)]


def average_pool_grad(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the upstream shared over each patch: the image's shape, upstream."""
    shape = [int(n) for n in np.asarray(inputs[0])]
    places = _pool_places(shape, attribute)
    counts = (places >= 0).sum(axis=(2, 3))[None, :, :, None]
    cells = places.shape[2] * places.shape[3]
    return [
        dual(inputs[1]).map(lambda a: _spread(np.repeat((a / counts)[:, :, :, None], cells, axis=3), places, shape))
    ]


def _largest(x: Dual, places: Any) -> Any:
    """Return which place of each window holds the largest number, the first of equal ones."""
    windows, flat = _windows(x.value, places), places.reshape(*places.shape[:2], -1)
    chosen = np.zeros((windows.shape[0], *flat.shape[:2], windows.shape[4]), np.int64)
    for n, i, j, c in np.ndindex(*chosen.shape):
        inside = np.flatnonzero(flat[i, j] >= 0)
        best = inside[0]
        for k in inside[1:]:
            if order(windows[n, i, j, k, c], windows[n, i, j, best, c]) == 1:
                best = k
        chosen[n, i, j, c] = best
    return chosen[:, :, :, None]


def max_pool(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the largest number of each patch."""
    x = dual(inputs[0])
    places = _pool_places(x.shape, attribute)
    chosen = _largest(x, places)
    return [x.map(lambda a: np.take_along_axis(_windows(a, places), chosen, 3)[:, :, :, 0])]


def max_pool_grad(inputs: Sequence[Operand], attribute: Attribute) -> list[Operand]:
    """Return the upstream at the largest number of each patch: image, pooled image, upstream."""
    x = dual(inputs[0])
    places = _pool_places(x.shape, attribute)
    chosen = _largest(x, places)
    cells = np.arange(places.shape[2] * places.shape[3])[None, None, None, :, None]

    def spread(dy: Balls) -> Balls:
        return _spread(objects(np.where(cells == chosen, dy[:, :, :, None], full(()))), places, x.shape)

    return [dual(inputs[2]).map(spread)]

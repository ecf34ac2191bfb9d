# SPDX-License-Identifier: Apache-2.0
"""Draw the inputs of a case: flat leaves with a name each, and how they nest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.numerics.random_streams import stream
from gradcheck.spec.model import DRAWN_BETWEEN, Case, Input
from gradcheck.spec.schema import DTYPES

REDRAWS = 1000
# Rows that are written with a few digits sum to one but for these.
SHARES_ATOL = 1e-3


class InputError(Exception):
    """Report that an input cannot be made as the spec says."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Hold one tensor of the inputs.

    `values` are what is differentiated: the tensor, the stored values of a sparse tensor, the
    flat values of a ragged one; `indices`, `dense_shape`, `row_lengths` complete the latter two.
    `whole_range` holds the least and the largest integers that may come, None where nothing says so;
    `ends` the least and the largest real numbers of its domain, else of those that are drawn, as far as they may come;
    `shares` says that its rows are given and sum to one each, as probabilities do.
    """

    name: str
    values: np.ndarray[Any, Any]
    dtype: str
    differentiate: bool | str
    domain: tuple[float, float] | None = None
    structure: str | None = None
    indices: np.ndarray[Any, Any] | None = None
    dense_shape: tuple[int, ...] | None = None
    row_lengths: tuple[int, ...] | None = None
    avoids_zero: bool = False
    whole_range: tuple[int, int] | None = None
    ends: tuple[float, float] = (-np.inf, np.inf)
    shares: bool = False

    @property
    def is_free(self) -> bool:
        """Return whether single numbers may be other ones: no structure holds them together."""
        return self.structure is None and not self.shares

    @property
    def floating(self) -> bool:
        """Return whether the leaf can have a gradient."""
        return self.dtype.startswith(("float", "bfloat", "complex"))

    @property
    def differentiated(self) -> bool:
        """Return whether the leaf's gradient is compared."""
        return self.floating and self.differentiate is True

    def assemble(self, values: Any) -> Any:
        """Return the tensor that the op receives, built around `values`."""
        if self.indices is not None:
            return tf.SparseTensor(self.indices, values, self.dense_shape)
        if self.row_lengths is not None:
            return tf.RaggedTensor.from_row_lengths(values, self.row_lengths, validate=False)
        return values


def draw(case: Case, dtype: str | None, sample: int) -> tuple[list[Leaf], dict[str, Any]]:
    """Return the leaves and, per input, the nesting of leaf positions.

    Every leaf has a random stream of its own, so the order of inputs does not matter.
    """
    leaves: list[Leaf] = []
    nesting = {name: _draw(case, spec, name, dtype, sample, leaves) for name, spec in case.inputs.items()}
    return leaves, nesting


def _draw(case: Case, spec: Input, name: str, dtype: str | None, sample: int, leaves: list[Leaf]) -> Any:
    if isinstance(spec.items, Mapping):
        return {k: _draw(case, item, f"{name}.{k}", dtype, sample, leaves) for k, item in spec.items.items()}
    if spec.items is not None:
        return [_draw(case, item, f"{name}[{i}]", dtype, sample, leaves) for i, item in enumerate(spec.items)]
    rng = stream(case.seed, "input", name, str(sample))
    leaves.append(_leaf(case, spec, name, dtype, rng))
    return len(leaves) - 1


def _leaf(case: Case, spec: Input, name: str, dtype: str | None, rng: np.random.Generator) -> Leaf:
    if spec.dtype:
        # Before anything is drawn: of complex numbers the imaginary part is drawn too.
        spec = replace(spec, dtype=_asked_for(spec.dtype, dtype))
    values, kind = _numbers(case, spec, name, rng)
    _check_given(spec, name, values)
    kind = _asked_for(kind, dtype)
    array = _cast(np.asarray(values), kind, name)
    shy = any(abs(number) <= spec.margin for number in spec.avoid) or _on_one_side(spec)
    leaf = Leaf(
        name, array, kind, spec.differentiate, spec.domain, spec.structure, avoids_zero=shy, whole_range=_range(spec),
        ends=_ends(spec), shares=spec.source == "values" and _are_shares(array),
    )  # fmt: skip
    if spec.sparse:
        return _sparse(leaf, spec.source, rng)
    if spec.ragged is not None:
        return Leaf(name, array, kind, spec.differentiate, spec.domain, None, row_lengths=spec.ragged, ends=leaf.ends)
    return leaf


def _are_shares(array: np.ndarray[Any, Any]) -> bool:
    """Return whether each row holds shares of one: probabilities, soft targets, one-hot labels."""
    if array.dtype.kind not in "fV" or not array.ndim or array.shape[-1] < 2 or not array.size:
        return False
    rows = array.astype(np.float64)
    return bool(np.all(rows >= 0) and np.allclose(rows.sum(-1), 1.0, rtol=0.0, atol=SHARES_ATOL))


def _range(spec: Input) -> tuple[int, int] | None:
    """Return the least and the largest integers that may come: of the domain, else of those that are drawn."""
    if spec.domain is not None and spec.dtype.startswith(("int", "uint")):
        low, high = (int(np.clip(end, -(2**31), 2**31 - 1)) for end in spec.domain)
        return low, high
    if spec.source != "integers":
        return None
    p = spec.parameters or {}
    return int(p.get("low", 0)), int(p.get("high", 10)) - 1


def _ends(spec: Input) -> tuple[float, float]:
    """Return the least and the largest real numbers that may come, as far as something says so.

    They are those of the domain, else of what is drawn between two numbers; one that is to be avoided is infinite.
    """
    if spec.dtype.startswith("complex"):
        return -np.inf, np.inf
    low, high = spec.domain or (-np.inf, np.inf)
    if spec.source in DRAWN_BETWEEN:
        drawn_low, drawn_high = _drawn_between(spec)
        low, high = low if np.isfinite(low) else drawn_low, high if np.isfinite(high) else drawn_high
    shunned = [any(abs(end - number) <= spec.margin for number in spec.avoid) for end in (low, high)]
    return (-np.inf if shunned[0] else low, np.inf if shunned[1] else high)


def _on_one_side(spec: Input) -> bool:
    """Return whether an input without a domain is drawn between two numbers on one side of zero: zero never comes."""
    if spec.domain is not None or spec.source not in DRAWN_BETWEEN or spec.dtype.startswith("complex"):
        return False
    low, high = _drawn_between(spec)
    return bool(low > 0 or high < 0)


def _drawn_between(spec: Input) -> tuple[float, float]:
    """Return between which numbers an input is drawn."""
    p, (low, high) = spec.parameters or {}, DRAWN_BETWEEN[spec.source]
    return p.get("low", low), p.get("high", high)


def _asked_for(own: str, dtype: str | None) -> str:
    """Return the dtype of an input after `dtypes` replaced it, if they do."""
    if dtype and own.startswith(("float", "bfloat")):
        return dtype
    if dtype and own.startswith("complex") and dtype.startswith(("complex", "float64", "float32")):
        return {"float64": "complex128", "float32": "complex64"}.get(dtype, dtype)
    return own


def _cast(values: np.ndarray[Any, Any], kind: str, name: str) -> np.ndarray[Any, Any]:
    if kind == "string":
        return values.astype(object)
    wanted = tf.as_dtype(kind)
    with np.errstate(all="ignore"):
        array = values.astype(wanted.as_numpy_dtype)
        if wanted.is_integer and np.any(array.astype(values.dtype) != values):
            raise InputError(f"input `{name}` holds numbers that do not fit {kind}")
    return array


def _check_given(spec: Input, name: str, values: Any) -> None:
    """Raise InputError unless given numbers are what the spec says of them; drawn numbers are made to fit."""
    array = np.asarray(values)
    if spec.ragged is not None and (array.ndim == 0 or len(array) != sum(spec.ragged)):
        raise InputError(f"input `{name}` has shape {list(array.shape)}, `ragged` asks for {sum(spec.ragged)} rows")
    if spec.source not in ("values", "constant", "file", "linspace") or array.dtype == object:
        return
    if spec.source == "file" and spec.shape is not None and array.shape != spec.shape:
        raise InputError(f"input `{name}`: the file has shape {list(array.shape)}, `shape` says {list(spec.shape)}")
    if spec.domain is not None and array.dtype.kind in "fiu":
        outside = (array < spec.domain[0]) | (array > spec.domain[1])
        if outside.any():
            raise InputError(f"input `{name}`: {array[outside][0]} lies outside `domain` {list(spec.domain)}")
    if spec.structure is not None:
        _check_structure(spec.structure, name, array)


def _check_structure(structure: str, name: str, values: np.ndarray[Any, Any]) -> None:
    if values.ndim < 2 or values.shape[-1] != values.shape[-2]:
        raise InputError(f"input `{name}`: `{structure}` needs square matrices, its shape is {list(values.shape)}")
    size = float(np.abs(values).max(initial=0.0))
    if structure == "lower-triangular":
        met = not np.any(np.triu(values, 1))
    else:
        met = bool(np.allclose(values, np.conj(np.swapaxes(values, -1, -2)), rtol=1e-6, atol=1e-6 * size))
        if met and structure == "spd" and np.all(np.isfinite(values)):
            met = bool(np.linalg.eigvalsh(values).min(initial=1.0) > 0)
    if not met:
        raise InputError(f"input `{name}` is not {'positive definite' if structure == 'spd' else structure}")


def _sparse(leaf: Leaf, source: str, rng: np.random.Generator) -> Leaf:
    # Of given numbers the zeros are not stored.
    stored = leaf.values != 0 if source in ("values", "file") else rng.random(leaf.values.shape) < 0.5
    if stored.size and not stored.any():
        stored.flat[0] = True
    indices = np.argwhere(stored).astype(np.int64)
    return Leaf(
        leaf.name, leaf.values[stored], leaf.dtype, leaf.differentiate, leaf.domain,
        indices=indices, dense_shape=leaf.values.shape, ends=leaf.ends,
    )  # fmt: skip


def _numbers(case: Case, spec: Input, name: str, rng: np.random.Generator) -> tuple[Any, str]:
    if spec.source == "file":
        loaded = load_file(os.path.join(case.folder, spec.parameters), name)
        return loaded, spec.dtype or loaded.dtype.name
    if spec.source == "values":
        kind = object if spec.dtype == "string" else (np.complex128 if spec.dtype.startswith("complex") else None)
        array = np.array(spec.parameters, dtype=kind)
        return (np.broadcast_to(array, spec.shape) if spec.shape is not None else array), spec.dtype
    shape = spec.shape if spec.ragged is None else (sum(spec.ragged), *(spec.shape or ()))
    if shape is None:
        raise InputError(f"input `{name}` has no shape")
    if spec.source == "constant":
        return np.full(shape, spec.parameters, dtype=object if spec.dtype == "string" else None), spec.dtype
    values = _drawn(spec, shape, rng)
    if spec.structure:
        values = _structured(spec.structure, values)
    return values, spec.dtype


def load_file(path: str, name: str) -> np.ndarray[Any, Any]:
    """Return the array in a .npy file.

    Raises InputError.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"input `{name}`: {path} cannot be read: {error.strerror or error}") from None
    except Exception:
        raise InputError(f"input `{name}`: {path} is no .npy file of plain numbers; write it with np.save") from None
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"input `{name}`: {path} is an archive; save one array with np.save")
    if loaded.dtype.kind not in "biufc" or loaded.dtype.name not in DTYPES:
        raise InputError(f"input `{name}`: {path} holds {loaded.dtype}, which no tensor can")
    return loaded


def _drawn(spec: Input, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if spec.source == "linspace":
        p = spec.parameters or {}
        count = int(np.prod(shape))
        return np.linspace(p.get("start", 0.0), p.get("stop", 1.0), count).reshape(shape)
    if spec.source == "integers" or spec.dtype == "bool":
        p = spec.parameters or {}
        if spec.dtype == "bool":
            return _of_both(rng.integers(0, 2, shape).astype(bool))
        return rng.integers(p.get("low", 0), p.get("high", 10), shape)
    if spec.dtype.startswith("complex"):
        return np.asarray(_drawn_reals(spec, shape, rng) + 1j * _drawn_reals(spec, shape, rng))
    return _drawn_reals(spec, shape, rng)


def _of_both(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a mask that holds both truth values: of a short one that is all false nothing would come through."""
    if mask.size > 1 and mask.all() == mask.any():
        mask.flat[: mask.size // 2] ^= True
    return mask


def _drawn_reals(spec: Input, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    values = _law(spec, shape, rng)
    for _ in range(REDRAWS):
        bad = _unwanted(spec, values)
        if not bad.any():
            return values
        values = np.where(bad, _law(spec, shape, rng), values)
    values = np.where(_unwanted(spec, values), _inside(spec, shape, rng), values)
    if _unwanted(spec, values).any():
        raise InputError(f"input `{spec.name}`: `domain` and `avoid` leave no room for its numbers")
    return values


def _law(spec: Input, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if spec.source == "uniform":
        return rng.uniform(*_drawn_between(spec), shape)
    if spec.source == "log_uniform":
        low, high = np.log(_drawn_between(spec))
        return np.asarray(np.exp(rng.uniform(low, high, shape)))
    p = spec.parameters or {}
    return rng.normal(p.get("mean", 0.0), p.get("stddev", 1.0), shape)


def _unwanted(spec: Input, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    bad = np.zeros(values.shape, bool)
    for number in spec.avoid:
        bad |= np.abs(values - number) < spec.margin
    if spec.domain is not None:
        bad |= (values <= spec.domain[0]) | (values >= spec.domain[1])
    return bad


def _inside(spec: Input, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    low, high = spec.domain or (-1.0, 1.0)
    low, high = (low if np.isfinite(low) else high - 1.0), (high if np.isfinite(high) else low + 1.0)
    values = rng.uniform(low + 0.05 * (high - low), high - 0.05 * (high - low), shape)
    for number in spec.avoid:
        near = np.abs(values - number) < spec.margin
        values = np.where(near, number + spec.margin * np.where(values < number, -1.5, 1.5), values)
    return np.asarray(values)


def _structured(structure: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    size = values.shape[-1]
    transposed = np.conj(np.swapaxes(values, -1, -2))
    if structure == "symmetric":
        return np.asarray((values + transposed) / 2)
    if structure == "spd":
        return np.asarray(values @ transposed / max(size, 1) + np.eye(size))
    lower = np.tril(values, -1)
    diagonal = np.abs(np.diagonal(values, axis1=-2, axis2=-1)) + 0.5
    return np.asarray(lower + np.eye(size) * diagonal[..., None, :])

# SPDX-License-Identifier: Apache-2.0
"""Write the numbers of a failed case to disk: inputs, upstream and the three gradients."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck.measure.lab import Lab
from gradcheck.results import Saved
from gradcheck.spec.discover import SAVED_FAILURE

LONGEST_NAME = 80


def save(lab: Lab, folder: Path, counterexample: Mapping[str, Any] | None = None) -> Saved:
    """Write `failure.npz` and one .npy file per drawn input; return what was written.

    `counterexample` holds the inputs that are written in the place of the sample's.  Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    resized = False
    for leaf in lab.leaves:
        if np.asarray(leaf.values).dtype == object:
            continue
        own = (counterexample or {}).get(leaf.name)
        whole = _plain(_dense(leaf) if own is None else np.array(own["values"], leaf.values.dtype))
        resized |= np.shape(whole) != np.shape(_dense(leaf))
        arrays[f"input.{leaf.name}"] = whole
        inputs[leaf.name] = f"{file_name(leaf.name)}.npy"
        np.save(folder / inputs[leaf.name], whole)
    upstream = []
    # With other sizes the outputs have others too.
    for i, value in enumerate(() if resized else lab.upstream):
        arrays[f"upstream.{i}"] = _plain(value)
        upstream.append(f"upstream.{i}.npy")
        np.save(folder / upstream[-1], _plain(value))
    arrays.update(_gradients(lab))
    np.savez(folder / SAVED_FAILURE, **arrays)
    return Saved(folder.as_posix(), lab.dtype, inputs, tuple(upstream))


def _gradients(lab: Lab) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for measurement in lab.known_measurements:
        name = measurement.slot.name
        arrays[f"analytic.{name}"] = measurement.slot.unpack(measurement.gradient)
        arrays[f"finite_difference.{name}"] = measurement.slot.unpack(measurement.value)
        if measurement.autodiff is not None:
            arrays[f"autodiff.{name}"] = measurement.slot.unpack(measurement.autodiff)
    if not arrays and lab.known_run is not None:
        for slot, gradient in zip(lab.slots, lab.known_run.gradients, strict=True):
            if gradient is not None:
                arrays[f"analytic.{slot.name}"] = _plain(gradient)
    return arrays


def _dense(leaf: Any) -> Any:
    if leaf.indices is None:
        return leaf.values
    whole = np.zeros(leaf.dense_shape, leaf.values.dtype)
    whole[tuple(leaf.indices.T)] = leaf.values
    return whole


def _plain(value: Any) -> Any:
    """Return an array that .npy can hold; bfloat16 becomes float32, which holds it exactly."""
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def file_name(text: str) -> str:
    """Return a name that every file system takes; what it cannot hold makes a digest, so that no two are the same."""
    plain = re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII)[:LONGEST_NAME].lstrip(".") or "case"
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

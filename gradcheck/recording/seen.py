# SPDX-License-Identifier: Apache-2.0
"""What the inputs of recorded calls have in common, and the case that checks such a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.backend.tensorflow.given import Call, case_of, is_dense, numbers
from gradcheck.backend.tensorflow.replay import Replay
from gradcheck.engine.in_process import OP
from gradcheck.spec.model import Case, Input

# Entries of a symmetric matrix that differ by rounding only.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Seen:
    """Hold what a spec says of an input by what a program gave: its domain, or its structure."""

    domain: tuple[float, float] | None
    structure: str | None

    def described(self) -> dict[str, Any]:
        """Return the keys of a spec."""
        if self.structure is not None:
            return {"structure": self.structure}
        return {"domain": list(self.domain)} if self.domain is not None else {}


def case_for(replay: Replay, name: str, seen: Mapping[str, Seen], modes: tuple[str, ...]) -> Case:
    """Return the case that checks a recorded call; `seen` is what its inputs have in common in all calls."""
    case = case_of(name, OP, Call(replay.inputs, {}), {})
    inputs = {key: _as_seen(spec, seen.get(key)) for key, spec in case.inputs.items()}
    return replace(case, inputs=inputs, modes=modes, recorded=True)


def seen_in(calls: list[Mapping[str, Any]]) -> dict[str, Seen]:
    """Return what each floating input has in common in all calls: the range of its numbers, and its structure."""
    found: dict[str, Seen] = {}
    for name in {name for call in calls for name in call}:
        values = [numbers(call[name]) for call in calls if name in call and is_dense(call[name])]
        values = [value for value in values if value.size and value.dtype.kind == "f"]
        if values and all(np.isfinite(value).all() for value in values):
            lowest, highest = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
            structure = structure_of(values)
            found[name] = Seen(None, structure) if structure else Seen(around(lowest, highest), None)
    return found


def structure_of(values: list[np.ndarray[Any, Any]]) -> str | None:
    """Return the structure that all matrices of an input have, None for any or none.

    A matrix that is diagonal or constant has every structure by chance, as weights that start so.
    """
    if any(v.ndim < 2 or v.shape[-1] != v.shape[-2] or v.shape[-1] < 2 for v in values):
        return None
    matrices = [m.astype(np.float64) for v in values for m in v.reshape(-1, *v.shape[-2:])]
    if any(np.ptp(m) == 0 or not (m - np.diag(np.diagonal(m))).any() for m in matrices):
        return None
    if all(not np.triu(m, 1).any() for m in matrices):
        return "lower-triangular"
    if not all(np.allclose(m, m.T, rtol=SAME, atol=SAME * np.abs(m).max()) for m in matrices):
        return None
    return "spd" if all(np.linalg.eigvalsh(m).min() > 0 for m in matrices) else "symmetric"


def around(low: float, high: float) -> tuple[float, float]:
    """Return the range around the lowest and the highest number of an input, in which differences may be taken."""
    room = max(high - low, abs(low), abs(high), 1.0)
    wide = (_rounded(low - room, math.floor), _rounded(high + room, math.ceil))
    # A number at an end needs differences on both of its sides.
    if low > 0.0:
        return (0.0, 1.0) if high < 1.0 else (0.0, wide[1])
    return (wide[0], 0.0) if high < 0.0 else wide


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """Return a number with two digits, as people write a range."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    return float(f"{towards(value / unit) * unit:.3g}")


def _as_seen(spec: Input, seen: Seen | None) -> Input:
    if seen is None or spec.items is not None:
        return spec
    return replace(spec, domain=seen.domain, structure=seen.structure)

# SPDX-License-Identifier: Apache-2.0
"""What a spec says, as frozen records with the defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradcheck.ways import MODES, TAPES

# Between which numbers real ones are drawn if a spec does not say so.
DRAWN_BETWEEN = {"uniform": (0.0, 1.0), "log_uniform": (1e-3, 1e3)}


@dataclass(frozen=True, slots=True)
class Input:
    """Describe one input: a literal (`source` "values"), a drawn tensor, or a nested structure."""

    name: str
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    source: str = "normal"
    parameters: Any = None
    avoid: tuple[float, ...] = ()
    margin: float = 0.05
    differentiate: bool | str = True
    domain: tuple[float, float] | None = None
    structure: str | None = None
    sparse: bool = False
    ragged: tuple[int, ...] | None = None
    items: Mapping[str, Input] | tuple[Input, ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Describe one case; `module` is a dotted name or an absolute path ending in .py.

    With `factory`, `inputs` are those that stand in the spec; the factory may return further ones.
    With `guess`, inputs that are not given are found by trying; with `recorded`, they are those of a call in
    the user's program.  `exact` asks for exact arithmetic: "exact", "auto" where it can be had, or "strict".
    """

    id: str
    name: str
    spec: str
    folder: str
    line: int
    module: str
    op: str
    inputs: Mapping[str, Input]
    factory: str | None = None
    build: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    exact: str | None = None
    surrogate: str | None = None
    expected_vjp: str | None = None
    intended: tuple[str, ...] = ()
    expectation: Mapping[str, int] | None = None
    strategy: str | None = None
    cost: Mapping[str, Any] | None = None
    expect: tuple[str, ...] = ()
    reason: str | None = None
    modes: tuple[str, ...] = MODES
    tapes: tuple[str, ...] = TAPES
    devices: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = ()
    order: int = 1
    samples: int = 1
    coverage: str = "auto"
    variables: str | tuple[str, ...] = "all"
    dynamic_shapes: bool | None = None
    rtol: float | None = None
    atol: float | None = None
    seed: int = 0
    timeout: float = 120.0
    skip: str | None = None
    tags: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    expect_line: int = 0
    guess: bool = False
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """Hold the cases of one file."""

    file: str
    cases: tuple[Case, ...]

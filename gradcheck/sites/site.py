# SPDX-License-Identifier: Apache-2.0
"""What a site is: other coordinates of the same op, or the same op set up anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradcheck.backend.tensorflow.operation import State
from gradcheck.measure.pulled import Pulled
from gradcheck.numerics.arrays import Array


@dataclass(frozen=True, slots=True)
class Site:
    """Hold other coordinates, at which the op is the function that it is at the sample."""

    x: Array


@dataclass(frozen=True, slots=True)
class SetUp:
    """Hold other leaves and variables, for which the op is set up anew, and the words for it.

    `asked` is false for sizes that nobody said the op must take, `ordinary` says that such a size is one that ops of
    any size take, `axis` which axis has it; `wanted` is what the bare forward gives there, if that is known already;
    `repeats`: integers come twice that do not at the sample.
    """

    said: str
    values: tuple[Any, ...]
    state: State
    resized: bool
    asked: bool = True
    wanted: Pulled | None = None
    repeats: bool = False
    ordinary: bool = False
    axis: int = 0

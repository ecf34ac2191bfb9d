# SPDX-License-Identifier: Apache-2.0
"""One program for many points: a traced loop over rows, plain or compiled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.numerics.arrays import Array

# Rows that are worth a loop in one graph; a compiled loop takes just so many, as others would be compiled anew.
BATCH = 64


@dataclass(frozen=True, slots=True)
class RowLoop:
    """Map rows by a concrete function, which takes any number of them or, if it is compiled, BATCH at a time."""

    program: Any
    compiled: bool

    def __call__(self, rows: Array) -> Array:
        """Map points (k, n) to packed outputs (k, m)."""
        if not self.compiled:
            return np.asarray(self.program(tf.constant(rows)))
        parts = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            padded = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
            parts.append(self.program(tf.constant(padded)).numpy()[: len(part)])
        return np.concatenate(parts)


def fastest(compiled: RowLoop | None, plain: RowLoop | None, vector: Array) -> RowLoop | None:
    """Return the loop that takes a batch of rows in less time."""
    if compiled is None or plain is None:
        return compiled or plain
    rows, spent = np.tile(vector, (BATCH, 1)), []
    for loop in (compiled, plain):
        started = time.perf_counter()
        loop(rows)
        spent.append(time.perf_counter() - started)
    return compiled if spent[0] < spent[1] else plain

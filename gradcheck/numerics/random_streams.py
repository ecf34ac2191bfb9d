# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a case, reproducible in any order of asking."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream(seed: int, *names: str) -> np.random.Generator:
    """Return the generator that belongs to `names` under `seed`."""
    digest = hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def signed_uniform(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return `size` numbers of random sign and size in [0.5, 1.5).

    Non-negative directions hide isolated errors and plain signs hide pairs of opposite
    errors; this law misses neither.
    """
    drawn = np.asarray(rng.choice([-1.0, 1.0], size))
    drawn *= rng.uniform(0.5, 1.5, size)
    return drawn

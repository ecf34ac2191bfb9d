# SPDX-License-Identifier: Apache-2.0
"""The types of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# What a tensor holds, of any dtype; several of them: the leaves of a call, its outputs, its upstreams.
AnyArray = NDArray[Any]
Arrays = Sequence[AnyArray]

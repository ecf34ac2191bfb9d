# SPDX-License-Identifier: Apache-2.0
"""Evaluate a traced function and its directional derivatives in ball arithmetic: to 80 digits, without any step.

The other modules of this package need python-flint, which only who asks for exact arithmetic has.
"""

from __future__ import annotations

import importlib.util


def is_installed() -> bool:
    """Return whether python-flint is there."""
    return importlib.util.find_spec("flint") is not None

# SPDX-License-Identifier: Apache-2.0
"""Check hand-written TensorFlow gradients.

From Python: `gradcheck.check(fn, inputs)` returns what was found, `assert_gradients`
and `assert_spec` raise where something is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.version import VERSION

if TYPE_CHECKING:
    from gradcheck.api import ArgumentError, CheckResult, assert_gradients, assert_spec, check
    from gradcheck.results import CaseResult

__version__ = VERSION

__all__ = [
    "ArgumentError",
    "CaseResult",
    "CheckResult",
    "__version__",
    "assert_gradients",
    "assert_spec",
    "check",
]
_API = ("ArgumentError", "CheckResult", "assert_gradients", "assert_spec", "check")


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # On first use, so that the command line starts without loading what it may not need.
    if name in _API:
        from gradcheck import api

        return getattr(api, name)
    if name == "CaseResult":
        from gradcheck.results import CaseResult

        return CaseResult
    raise AttributeError(f"module 'gradcheck' has no attribute '{name}'")

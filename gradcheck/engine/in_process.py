# SPDX-License-Identifier: Apache-2.0
"""Check a function in this process, which goes on afterwards as if nothing had been checked."""

from __future__ import annotations

import inspect
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

from gradcheck.engine.case import check_started
from gradcheck.engine.limits import Limits
from gradcheck.results import CaseResult
from gradcheck.spec.model import Case

# The name under which a case finds the function that is checked.
OP = "gradcheck_op"
_ONE_AT_A_TIME = threading.RLock()


def check_here(
    fn: Callable[..., Any], case: Case, limits: Limits, functions: Mapping[str, Callable[..., Any]] | None = None
) -> CaseResult:
    """Check `fn` as `case`, whose `op` is `OP`, says, and return what was found.

    `functions` are further functions that the case names.  The random state of the process and
    TensorFlow's decorators are put back.  Raises KeyboardInterrupt.
    """
    from gradcheck.backend.tensorflow.install import installed, redecorated
    from gradcheck.backend.tensorflow.loading import Loaded
    from gradcheck.backend.tensorflow.operation import Creations
    from gradcheck.backend.tensorflow.recorder import Recorder
    from gradcheck.backend.tensorflow.runtime import (
        logical_devices,
        quiet,
        random_state_kept,
        whole_tracebacks,
        without_debuggers,
    )

    recorder, creations = Recorder(intended=case.intended), Creations()
    home = names_beside(fn)

    def start() -> tuple[Any, tuple[str, ...]]:
        from gradcheck.backend.tensorflow.target import resolve

        module = types.ModuleType("gradcheck_case")
        vars(module).update(home)
        setattr(module, OP, redecorated(recorder, fn))
        for name, function in (functions or {}).items():
            setattr(module, name, function)
        with creations.watch():
            op = resolve(module, OP, case.build)
        return Loaded(case, module, op, recorder, creations), logical_devices(case.devices)

    # TensorFlow's decorators are replaced for the whole process, so that two checks cannot overlap.
    with (
        _ONE_AT_A_TIME,
        random_state_kept(),
        quiet(),
        whole_tracebacks(),
        without_debuggers(),
        installed(recorder, [home]),
    ):
        return check_started(case, start, limits, lambda phase, known: None, interruptible=True)


def names_beside(fn: Any) -> dict[str, Any]:
    """Return the names of the module in which `fn` was written."""
    function = inspect.unwrap(fn) if callable(fn) else fn
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    names = getattr(function, "__globals__", None)
    return names if isinstance(names, dict) else (vars(module) if module is not None else {})

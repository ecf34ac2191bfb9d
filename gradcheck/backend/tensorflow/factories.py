# SPDX-License-Identifier: Apache-2.0
"""Call the factory of a case: it returns the op, or the op and its inputs."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradcheck.backend.tensorflow.given import call_of, case_of
from gradcheck.backend.tensorflow.target import TargetError, attribute
from gradcheck.spec.model import Case


def made(module: types.ModuleType, case: Case) -> tuple[Any, Case]:
    """Return the op that the factory of a case makes, and the case with the inputs that it returned beside it.

    Inputs and arguments that stand in the spec take the place of the factory's of the same name.
    Raises TargetError for a factory that is not there or returns neither; what it raises passes through.
    """
    assert case.factory is not None
    result = attribute(module, case.factory)()
    op, given = result if _is_pair(result) else (result, None)
    if not callable(op):
        message = f"factory `{case.factory}` must return the op or (op, inputs), it returned {type(result).__name__}"
        raise TargetError("op-error", message, "return the op, or the op and a list or mapping of its inputs")
    if given is None:
        if not case.inputs:
            message = f"factory `{case.factory}` returned no inputs and the case has none"
            raise TargetError("op-error", message, "return (op, inputs), or give `inputs:`")
        return op, case
    call = call_of(op, given)
    filled = case_of("factory", "factory", call, {})
    return op, replace(case, inputs={**filled.inputs, **case.inputs}, arguments={**filled.arguments, **case.arguments})


def _is_pair(result: Any) -> bool:
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        return False
    return callable(result[0]) and (isinstance(result[1], (Mapping, list, tuple)) or hasattr(result[1], "dtype"))

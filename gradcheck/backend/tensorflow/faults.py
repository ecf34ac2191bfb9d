# SPDX-License-Identifier: Apache-2.0
"""Whether an exception comes from the op under check or is a fault of gradcheck's own."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from gradcheck import version
from gradcheck.backend.tensorflow.failures import Stopped
from gradcheck.backend.tensorflow.float64_graph import CannotRewrite
from gradcheck.backend.tensorflow.inputs import InputError
from gradcheck.backend.tensorflow.op_by_op import CannotFollow
from gradcheck.backend.tensorflow.rule_contract import ContractBroken
from gradcheck.backend.tensorflow.runs import OutputsChanged
from gradcheck.backend.tensorflow.target import TargetError
from gradcheck.text import user_files

_OWN = os.path.dirname(os.path.abspath(version.__file__)) + os.sep
# The one place at which the user's op is called, and the libraries that call its gradient.
_CALLS_THE_OP = os.path.join(_OWN, "backend", "tensorflow", "operation.py")
_LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("tensorflow", "keras", "tf_keras", "tensorflow_probability"))
# What gradcheck raises on purpose says something of the op.
_ON_PURPOSE = (Stopped, OutputsChanged, ContractBroken, CannotRewrite, CannotFollow, TargetError, InputError)

T = TypeVar("T")


def own_fault(error: BaseException) -> bool:
    """Return whether gradcheck itself failed: nothing of the op's or of TensorFlow's was running.

    An exception that an innermost line of gradcheck raises is its own too, unless a line of the
    user's called that line.
    """
    if isinstance(error, (*_ON_PURPOSE, MemoryError, RecursionError)) or not isinstance(error, Exception):
        return False
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if not files:
        return False
    if files[-1].startswith(_OWN):
        return not user_files(files)
    return not any(file == _CALLS_THE_OP or any(name in file for name in _LIBRARIES) for file in files)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Let the op refuse what is tried inside the block; a fault of gradcheck's own goes on."""
    try:
        yield
    except Exception as error:
        if own_fault(error):
            raise


def refused(attempt: Callable[[], T]) -> T | None:
    """Return what `attempt` returns, None if the op refuses it; a fault of gradcheck's own goes on."""
    with refusals():
        return attempt()
    return None

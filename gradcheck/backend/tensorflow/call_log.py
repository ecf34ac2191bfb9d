# SPDX-License-Identifier: Apache-2.0
"""Which calls of the user's functions succeeded and which raised, by what went in: both for one call is a fault.

A call that raised and was made once is made again at the end: an op may refuse inputs, but then it does so every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

# Numbers of a call that are looked at: of larger ones nobody waits for it.
MOST_NUMBERS = 10_000
# Calls that are made again.
MOST_AGAIN = 24
# What a lack of memory refuses it may grant later.
_BY_CHANCE = (MemoryError, tf.errors.ResourceExhaustedError)


@dataclass(frozen=True, slots=True)
class FailedCall:
    """Hold a call that raised, and how it is made again."""

    error: BaseException
    digest: bytes
    given: tuple[Any, ...]
    again: Callable[[], Any]


@dataclass(slots=True)
class CallLog:
    """Hold digests of calls; `variables` are those of the op, whose values belong to an eager call.

    Of a call that is traced the shapes and dtypes are known, and say all: what is traced twice is the same graph.
    """

    variables: tuple[Any, ...] = ()
    _succeeded: set[bytes] = field(default_factory=set)
    _failed: dict[bytes, BaseException] = field(default_factory=dict)
    _once: list[FailedCall] = field(default_factory=list)

    def succeeded(self, *given: Any) -> None:
        """Note a call that returned."""
        digest = self._digest(given)
        if digest is not None:
            self._succeeded.add(digest)

    def failed(self, error: BaseException, again: Callable[[], Any], *given: Any) -> None:
        """Note a call that raised; `again` makes it once more, without a word to anybody."""
        digest = self._digest(given)
        if digest is None or isinstance(error, _BY_CHANCE) or digest in self._failed:
            return
        self._failed[digest] = error
        if tf.executing_eagerly() and len(self._once) < MOST_AGAIN:
            self._once.append(FailedCall(error, digest, given, again))

    def odd(self) -> BaseException | None:
        """Return what a call raised that succeeds with the same inputs another time, None if none does."""
        known = next((error for digest, error in self._failed.items() if digest in self._succeeded), None)
        return known or next((call.error for call in self._once if self._succeeds_now(call)), None)

    def _succeeds_now(self, call: FailedCall) -> bool:
        """Return whether a call that raised returns, with variables as they were."""
        if self._digest(call.given) != call.digest:
            return False
        try:
            call.again()
        except Exception:
            return False
        return True

    def _digest(self, given: Any) -> bytes | None:
        """Return what identifies a call, None for one that is large or holds what has no digest."""
        traced = not tf.executing_eagerly()
        found = hashlib.sha256(b"traced" if traced else b"eager")
        try:
            # Read without a word to the tape, which takes what is read in a forward for a variable of the op.
            read = tf.raw_ops.ReadVariableOp
            held = [] if traced else [read(resource=v.handle, dtype=v.dtype) for v in self.variables]
        except (AttributeError, ValueError, tf.errors.OpError):
            # A variable of several replicas, or one that is gone.
            return None
        # Of rows of an upstream their indices are looked at too.
        for value in [*tf.nest.flatten(given, expand_composites=True), *held]:
            if not isinstance(value, tf.Tensor):
                if not isinstance(value, (int, float, str, bool, type(None))):
                    return None
                found.update(repr(value).encode("utf-8", "replace"))
                continue
            if value.dtype in (tf.variant, tf.resource):
                return None
            if not hasattr(value, "numpy"):
                found.update(f"{value.dtype.name} {value.shape} ".encode())
                continue
            if value.shape.num_elements() > MOST_NUMBERS:
                return None
            array = np.asarray(value.numpy())
            found.update(f"{array.dtype} {array.shape} ".encode())
            found.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
        return found.digest()

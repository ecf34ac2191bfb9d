"""Which calls of the user's functions succeeded and which raised, by what went in: both for one call is a fault."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

# Numbers of a call that are looked at: of larger ones nobody waits for it.
MOST_NUMBERS = 10_000


@dataclass(slots=True)
class CallLog:
    """Hold digests of eager calls; `variables` are those of the op, whose values belong to a call."""

    variables: tuple[Any, ...] = ()
    _succeeded: set[bytes] = field(default_factory=set)
    _failed: dict[bytes, BaseException] = field(default_factory=dict)

    def succeeded(self, *given: Any) -> None:
        """Note a call that returned."""
        digest = self._digest(given)
        if digest is not None:
            self._succeeded.add(digest)

    def failed(self, error: BaseException, *given: Any) -> None:
        """Note a call that raised."""
        digest = self._digest(given)
        if digest is not None:
            self._failed.setdefault(digest, error)

    @property
    def odd(self) -> BaseException | None:
        """Return what a call raised that succeeded with the same inputs another time, None if none did."""
        return next((error for digest, error in self._failed.items() if digest in self._succeeded), None)

    def _digest(self, given: Any) -> bytes | None:
        """Return what identifies a call, None for one that is traced or large."""
        found = hashlib.sha256()
        if not tf.executing_eagerly():
            return None
        try:
            # Read without a word to the tape, which takes what is read in a forward for a variable of the op.
            held = [tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in self.variables]
        except (AttributeError, ValueError, tf.errors.OpError):
            # A variable of several replicas, or one that is gone.
            return None
        for value in [*tf.nest.flatten(given), *held]:
            if not isinstance(value, tf.Tensor):
                if not isinstance(value, (int, float, str, bool, type(None))):
                    return None
                found.update(repr(value).encode("utf-8", "replace"))
                continue
            if not hasattr(value, "numpy") or value.dtype in (tf.variant, tf.resource):
                return None
            if value.shape.num_elements() > MOST_NUMBERS:
                return None
            array = np.asarray(value.numpy())
            found.update(f"{array.dtype} {array.shape} ".encode())
            found.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
        return found.digest()

# SPDX-License-Identifier: Apache-2.0
"""A tf.function that keeps what it traced under a switch apart from what it traced without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import wrapt


class SwitchedFunction(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """Be a tf.function in all, but call `other()` if that is one: for methods too, which are bound at each look."""

    def __init__(self, function: Any, other: Callable[[], Any]) -> None:
        super().__init__(function)
        self._self_other = other

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the one of the two that the switch asks for."""
        other = self._self_other()
        return (self.__wrapped__ if other is None else other)(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self

        def bound() -> Any:
            other = self._self_other()
            return None if other is None else other.__get__(instance, owner)

        return SwitchedFunction(self.__wrapped__.__get__(instance, owner), bound)

    @property
    def __signature__(self) -> inspect.Signature:
        """Return what `inspect` says of the function itself, which is bound as it should be."""
        return inspect.signature(self.__wrapped__)

# SPDX-License-Identifier: Apache-2.0
"""Call a recorded function again: its arguments with the values that it had, its closure with what it held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.closures import rebuilt
from gradcheck.backend.tensorflow.given import Call, positional_names
from gradcheck.calls import Kept


@dataclass(frozen=True, slots=True)
class Replay:
    """Hold a recorded call as a function of its tensors, and these tensors by the names of its parameters."""

    op: Callable[..., Any]
    inputs: Mapping[str, Any]


def arguments_of(call: Kept) -> Call:
    """Return the tensors of a recorded call by parameter name, and its other arguments."""
    args, kwargs = packed(call)
    names = positional_names(call.function, len(args))
    named = {**dict(zip(names, args, strict=True)), **kwargs}
    inputs = {name: value for name, value in named.items() if _has_tensor(value)}
    return Call(inputs, {name: value for name, value in named.items() if name not in inputs})


def replay_of(call: Kept) -> Replay:
    """Return the function that makes a recorded call again on other tensors."""
    args, kwargs = packed(call)
    names = positional_names(call.function, len(args))
    places = [i for i, value in enumerate(args) if _has_tensor(value)]
    function = rebuilt(call.function, call.captured)

    def op(*tensors: Any) -> Any:
        whole = list(args)
        for place, tensor in zip(places, tensors, strict=True):
            whole[place] = tensor
        # Decorated at each call: by then the check stands in the place of TensorFlow's decorator.
        return tf.custom_gradient(function)(*whole, **kwargs)

    op.__name__ = getattr(call.function, "__name__", "op")
    op.__qualname__ = getattr(call.function, "__qualname__", op.__name__)
    return Replay(op, {names[i]: args[i] for i in places})


def packed(call: Kept) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a recorded call with their values in the place of tensors."""
    args, kwargs = tf.nest.pack_sequence_as(call.template, list(call.leaves), expand_composites=True)
    return list(args), dict(kwargs)


def _has_tensor(value: Any) -> bool:
    leaves = tf.nest.flatten(value, expand_composites=True)
    return bool(leaves) and all(tf.is_tensor(leaf) or isinstance(leaf, np.ndarray) for leaf in leaves)

# SPDX-License-Identifier: Apache-2.0
"""What a function under tf.custom_gradient and its grad_fn have to return, and a note of each gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


class ContractBroken(Exception):
    """Report that a function under tf.custom_gradient breaks its contract."""

    def __init__(self, code: str, message: str, wrt: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.wrt, self.hint = code, message, wrt, hint


@dataclass(frozen=True, slots=True)
class GradientNote:
    """Note one gradient that a grad_fn returned: shapes and dtypes of it and of its argument."""

    function: str
    argument: str
    missing: bool
    shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    wanted_shape: tuple[int | None, ...] | None = None
    wanted_dtype: str = ""
    variable: bool = False


def declares_gradient(result: Any) -> bool:
    """Return whether a function returned (output, grad_fn)."""
    pair = isinstance(result, (tuple, list)) and len(result) == 2
    return pair and callable(result[1]) and not tf.is_tensor(result[1])


def check_return(result: Any, name: str) -> None:
    """Raise ContractBroken unless a function under tf.custom_gradient returned (output, grad_fn)."""
    if declares_gradient(result):
        return
    hint = "return (output, grad_fn)"
    if isinstance(result, (tuple, list)) and len(result) > 2 and callable(result[-1]):
        hint = "put the outputs in a tuple: return (" + ", ".join(["..."] * (len(result) - 1)) + "), grad_fn"
    raise ContractBroken(
        "bad-return", f"`{name}` must return (output, grad_fn), it returned {described(result)}", hint=hint
    )


def described(value: Any) -> str:
    """Return a value in a few words, as messages name it."""
    if value is None:
        return "None"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} values ({', '.join(described(v) for v in value[:4])})"
    if tf.is_tensor(value):
        return f"a tensor of shape {tuple(value.shape.as_list()) if value.shape.rank is not None else '?'}"
    return "a function" if callable(value) else f"a {type(value).__name__}"


def count_broken(gradients: list[Any], arguments: list[Any], names: list[str], function: str) -> ContractBroken:
    """Return what is wrong with a number of gradients that is not that of the arguments."""
    message = (
        f"grad_fn of `{function}` returned {len(gradients)} gradient{'s' * (len(gradients) != 1)},"
        f" it has {len(arguments)} argument{'s' * (len(arguments) != 1)}: {', '.join(names)}"
    )
    if len(gradients) < len(arguments):
        lacking = names[len(gradients) :]
        plain = [n for n, a in zip(names, arguments, strict=False) if n in lacking and not tf.is_tensor(a)]
        hint = f"return a gradient for {', '.join(lacking)} too"
        if plain:
            hint = f"{', '.join(plain)} counts as an argument for TensorFlow: return None for it"
        return ContractBroken("gradient-count", f"{message} (missing: {', '.join(lacking)})", lacking[0], hint)
    return ContractBroken("gradient-count", message, hint="return exactly one gradient per argument")


def _shape_of(gradient: Any) -> Any:
    """Return the shape of a gradient; of slices that of the whole, which may be given as plain numbers."""
    whole = getattr(gradient, "dense_shape", None)
    if whole is not None and not tf.is_tensor(whole):
        return tf.TensorShape(whole)
    return gradient.shape if hasattr(gradient, "shape") else np.shape(gradient)


def _is_numbers(gradient: Any) -> bool:
    """Return whether TensorFlow makes a tensor of a gradient that is none: numbers, or lists of them of one length."""
    try:
        return np.asarray(gradient).dtype.kind in "biufc"
    except ValueError:
        return False


def note_of(gradient: Any, argument: Any, name: str, function: str, variable: bool = False) -> GradientNote:
    """Return the note of one gradient; raises ContractBroken for what is no tensor."""
    if isinstance(argument, float):
        # TensorFlow makes a tensor of it, and in graphs holds the gradient to its shape.
        argument = np.float32(argument)
    differentiable = hasattr(argument, "dtype") and (
        tf.as_dtype(argument.dtype).is_floating or tf.as_dtype(argument.dtype).is_complex
    )
    if gradient is None or not differentiable:
        return GradientNote(function, name, gradient is None, variable=variable)
    if not hasattr(gradient, "dtype") and not _is_numbers(gradient):
        raise ContractBroken(
            "gradient-error",
            f"grad_fn of `{function}` returned {described(gradient)} for `{name}`, not a tensor",
            name,
            "return one tensor (or None) per argument",
        )
    shape = _shape_of(gradient)
    dtype = getattr(gradient, "dtype", None) or np.asarray(gradient).dtype
    return GradientNote(
        function,
        name,
        False,
        _static(shape),
        tf.as_dtype(dtype).name,
        _static(argument.shape),
        tf.as_dtype(argument.dtype).name,
        variable,
    )


def _static(shape: Any) -> tuple[int | None, ...] | None:
    shape = tf.TensorShape(shape)
    return None if shape.rank is None else tuple(shape.as_list())

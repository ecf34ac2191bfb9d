# SPDX-License-Identifier: Apache-2.0
"""Put the recorder in the place of what TensorFlow declares gradients with, for good or for a while."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.recorder import Real, Recorder
from gradcheck.text import user_files

_Decorated = type(Real(lambda x: (x, lambda upstream: upstream)))
_Traced = type(tf.function(lambda: None))
_MODULES = (tf, tf.compat.v1, tf.compat.v2)
# Where TensorFlow itself decorates, and whence some users import.
_OWN: Any = importlib.import_module("tensorflow.python.ops.custom_gradient")


def install(recorder: Recorder) -> None:
    """Put `recorder` in the place of what declares or traces gradients, for code imported or called from now on."""
    unconverted = tf.autograph.experimental.do_not_convert
    for module in _MODULES:
        _put(module, "custom_gradient", unconverted(recorder.decorate))
        _put(module, "function", unconverted(recorder.function))
    _OWN.custom_gradient = unconverted(_of_users(recorder))
    # A plain function, which Python binds to the graph.
    tf.Graph.gradient_override_map = lambda graph, op_type_map: recorder.override_map(graph, op_type_map)


def _put(module: Any, name: str, value: Any) -> None:
    """Set an attribute of a module of TensorFlow's; those for older code keep what was read of them once."""
    setattr(module, name, value)
    keep = getattr(module, "_fastdict_insert", None)
    if keep is not None:
        keep(name, value)


def _of_users(recorder: Recorder) -> Callable[..., Any]:
    """Return tf.custom_gradient as TensorFlow's own files know it: with the recorder for a user's function only."""

    def custom_gradient(f: Any = None) -> Any:
        code = getattr(f, "__code__", None)
        of_user = code is not None and bool(user_files([code.co_filename]))
        return recorder.decorate(f) if of_user else Real(f)

    return custom_gradient


@contextlib.contextmanager
def installed(recorder: Recorder, namespaces: Iterable[dict[str, Any]]) -> Iterator[None]:
    """Put `recorder` in the place of tf.custom_gradient and tf.function inside the block only.

    Functions in `namespaces` that were decorated before are decorated anew with the recorder.
    """
    override_map = tf.Graph.gradient_override_map
    before, own = [(module, module.custom_gradient, module.function) for module in _MODULES], _OWN.custom_gradient
    found = [
        (names, name, value, redecorated(recorder, value)) for names in namespaces for name, value in names.items()
    ]
    changed = [entry for entry in found if entry[3] is not entry[2]]
    install(recorder)
    for names, name, _, new in changed:
        names[name] = new
    try:
        yield
    finally:
        for module, decorator, function in before:
            _put(module, "custom_gradient", decorator)
            _put(module, "function", function)
        _OWN.custom_gradient = own
        tf.Graph.gradient_override_map = override_map
        for names, name, value, _ in changed:
            names[name] = value


def redecorated(recorder: Recorder, op: Any) -> Any:
    """Return a function that was decorated before the recorder came, decorated anew; others as they are."""
    inner = unwrapped(op)
    if inner is not None:
        return recorder.decorate(inner)
    clone = getattr(op, "_clone", None)
    if type(op) is not _Traced or not callable(clone):
        return op
    inner = unwrapped(op.python_function)

    def another() -> Any:
        return clone(None if inner is None else recorder.decorate(inner))

    # What it traced before says nothing to the recorder.
    return recorder.apart(another(), another)


def unwrapped(op: Any) -> Any | None:
    """Return the plain function below a library op that was decorated before the recorder came, or None."""
    inner = getattr(op, "__wrapped__", None)
    return inner if isinstance(op, _Decorated) and callable(inner) else None

"""Put the probe in the place of TensorFlow's own decorators, for good or for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from gradcheck.autodiff.probe import Probe, Real

_Decorated = type(Real(lambda x: (x, lambda upstream: upstream)))
_Traced = type(tf.function(lambda: None))
_MODULES = (tf, tf.compat.v1, tf.compat.v2)


def install(probe: Probe) -> None:
    """Put `probe` in the place of tf.custom_gradient and tf.function for code imported or called from now on."""
    unconverted = tf.autograph.experimental.do_not_convert
    for module in _MODULES:
        module.custom_gradient = unconverted(probe.decorate)
        module.function = unconverted(probe.function)


@contextlib.contextmanager
def installed(probe: Probe, namespaces: Iterable[dict[str, Any]]) -> Iterator[None]:
    """Put `probe` in the place of tf.custom_gradient and tf.function inside the block only.

    Functions in `namespaces` that were decorated before are decorated anew with the probe.
    """
    before = [(module, module.custom_gradient, module.function) for module in _MODULES]
    found = [(names, name, value, redecorated(probe, value)) for names in namespaces for name, value in names.items()]
    changed = [entry for entry in found if entry[3] is not entry[2]]
    install(probe)
    for names, name, _, new in changed:
        names[name] = new
    try:
        yield
    finally:
        for module, decorator, function in before:
            module.custom_gradient, module.function = decorator, function
        for names, name, value, _ in changed:
            names[name] = value


def redecorated(probe: Probe, op: Any) -> Any:
    """Return a function that was decorated before the probe came as the probe would have it, others as they are."""
    inner = unwrapped(op)
    if inner is not None:
        return probe.decorate(inner)
    clone = getattr(op, "_clone", None)
    if type(op) is not _Traced or not callable(clone):
        return op
    inner = unwrapped(op.python_function)

    def another() -> Any:
        return clone(None if inner is None else probe.decorate(inner))

    # What it traced before says nothing to the probe.
    return probe.apart(another(), another)


def unwrapped(op: Any) -> Any | None:
    """Return the plain function below a library op that was decorated before the probe came, or None."""
    inner = getattr(op, "__wrapped__", None)
    return inner if isinstance(op, _Decorated) and callable(inner) else None

# SPDX-License-Identifier: Apache-2.0
"""Watch the calls of custom gradients in a program that runs as it would without.

Both functions through which tf.custom_gradient calls what it decorates are replaced where TensorFlow
looks them up, so that it does not matter when and under which name a library has taken the decorator.
Inside of a graph the values come out through a host callback that stands beside the op.
"""

from __future__ import annotations

import functools
import inspect
import os
import random
import sys
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.call_sites import described, is_converted, is_framework
from gradcheck.backend.tensorflow.callbacks import Countdown, strip
from gradcheck.backend.tensorflow.closure_keys import PRIMITIVE, ClosureKeys, words_of
from gradcheck.backend.tensorflow.closures import functions_in, graph_tensors
from gradcheck.calls import NEVER, Kept, Place, Signature, Site

_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


class CallWatch:
    """Keep calls of custom gradients; `on_new` is called with a site when a new signature of it was kept."""

    def __init__(self, samples: int, max_bytes: int, on_new: Callable[[Site], None]) -> None:
        self.samples, self.left, self.on_new = samples, max_bytes, on_new
        self.active = True
        self.sites: dict[Hashable, Site] = {}
        # Functions that asked for XLA, and those of them in which a custom gradient was called.
        self._compiled: weakref.WeakSet[Any] = weakref.WeakSet()
        self._reached: set[int] = set()
        # Where graphs call custom gradients.
        self._places: list[tuple[Countdown, Place]] = []
        self.faults: list[str] = []
        # Its own stream: the program's random numbers stay what they are.
        self._random = random.Random(0)
        self._lock = threading.RLock()
        self._closures = ClosureKeys()

    def seen(self, function: Any, args: Any, kwargs: Any) -> None:
        """Note a call on values; never raises."""
        if not self.active:
            return
        try:
            site = self._site(function)
            if site is None:
                return
            site.calls += 1
            if site.own or site.reason:
                return
            key = (_kinds(args), _kinds(kwargs), self._closures.key(function))
            # The usual call, of which nothing new is kept, takes this way only.
            signature = site.signature(key, lambda: _with_closure(words(args, kwargs), function))
            slot = signature.slot(self.samples, self._random) if signature is not None else None
            if signature is not None and slot is not None:
                leaves = [_value(leaf) for leaf in _flat(args, kwargs)]
                self._keep(site, signature, slot, Kept(function, (args, kwargs), tuple(leaves)))
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")

    def seen_in_graph(self, function: Any, args: Any, kwargs: Any) -> None:
        """Put a callback into the graph that notes the values of a call; never raises."""
        if not self.active:
            return
        try:
            site = self._site(function)
            if site is not None and not site.own:
                self._put_callback(site, function, args, kwargs)
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")

    def _put_callback(self, site: Site, function: Any, args: Any, kwargs: Any) -> None:
        self._note_compiled()
        leaves, captured = _flat(args, kwargs), graph_tensors(function)
        tensors = [_read(leaf) for leaf in leaves if _is_tensor(leaf)]
        if any(tensor.dtype in (tf.variant, tf.resource) for tensor in [*tensors, *captured]):
            site.reason = "it takes a TensorArray or another object that has no values"
            return
        if not getattr(tf.compat.v1.get_default_graph(), "building_function", False):
            site.reason = "it is called in a graph of TensorFlow 1, whose values are known to the session only"
            return
        count = len(tensors)
        place = Place(site, self.samples, self._random)

        def keep(passed: int, *values: Any) -> int:
            if not self.active:
                return NEVER
            kinds = tuple((value.dtype.str, value.shape) for value in values[:count])
            key = (
                "graph",
                kinds,
                _kinds([leaf for leaf in leaves if not _is_tensor(leaf)]),
                self._closures.key(function),
            )
            signature, slot = place.called(passed, key, lambda: _with_closure(words(args, kwargs, values), function))
            if signature is not None and slot is not None:
                copies = iter([tf.constant(value) for value in values[:count]])
                known = tuple(next(copies) if _is_tensor(leaf) else leaf for leaf in leaves)
                held = {id(t): tf.constant(value) for t, value in zip(captured, values[count:], strict=True)}
                self._keep(site, signature, slot, Kept(function, (args, kwargs), known, held))
            return place.pause()

        self._places.append((Countdown(keep, [*tensors, *captured]), place))

    def end(self) -> None:
        """Note no further call; count those that were counted in graphs only."""
        if self.active:
            self.active = False
            for countdown, place in self._places:
                place.count(countdown.passed())

    @property
    def without_xla(self) -> int:
        """Return how many functions that asked for XLA, and call custom gradients, ran without it."""
        return len(self._reached)

    def _note_compiled(self) -> None:
        """Note the functions with jit_compile=True that are traced just now."""
        frame = sys._getframe() if self._compiled else None
        while frame is not None:
            owner = frame.f_locals.get("self")
            if type(owner).__name__ == "Function" and owner in self._compiled:
                self._reached.add(id(owner))
            frame = frame.f_back

    def _keep(self, site: Site, signature: Signature, slot: int, call: Kept) -> None:
        """Keep a call if there is room for its values."""
        with self._lock:
            size = _size(call) - (_size(signature.kept[slot]) if slot < len(signature.kept) else 0)
            if size > self.left:
                if not any(known.kept for known in site.signatures.values()):
                    site.reason = (
                        f"its inputs take {_size(call):,} bytes, of which {self.left:,} are left (--max-bytes)"
                    )
                return
            self.left -= size
            signature.keep(slot, call)
        if slot == 0:
            self.on_new(site)

    def _site(self, function: Any) -> Site | None:
        """Return the site of a function under tf.custom_gradient; None for those of gradcheck itself."""
        plain = getattr(function, "__func__", function)
        plain = plain.func if isinstance(plain, functools.partial) else plain
        code = getattr(plain, "__code__", None) or getattr(type(plain).__call__, "__code__", None)
        key = (code or type(plain), functions_in(plain))
        known = self.sites.get(key)
        if known is not None:
            return known
        # A check of gradcheck's own, which may run in the program, stands below a wrapper of TensorFlow's.
        inner = getattr(inspect.unwrap(plain), "__code__", code) if callable(plain) else code
        if inner is not None and inner.co_filename.startswith(_OURS):
            return None
        with self._lock:
            site = described(len(self.sites), plain, function)
            if is_converted(code):
                # Another function, which AutoGraph made of the same lines.
                site = next((known for known in self.sites.values() if known.place == site.place), site)
            return self.sites.setdefault(key, site)

    def install(self, module: Any) -> None:
        """Put the watch into tensorflow.python.ops.custom_gradient.

        Raises AttributeError where this TensorFlow calls what it decorates otherwise.
        """
        eager, graph = module._eager_mode_decorator, module._graph_mode_decorator

        def watched_eager(f: Any, args: Any, kwargs: Any) -> Any:
            self.seen(f, args, kwargs)
            return eager(f, args, kwargs)

        def watched_graph(f: Any, args: Any, kwargs: Any) -> Any:
            self.seen_in_graph(f, args, kwargs)
            return graph(f, args, kwargs)

        module._eager_mode_decorator, module._graph_mode_decorator = watched_eager, watched_graph

    def install_without_xla(self, module: Any) -> None:
        """Have functions with jit_compile=True run without XLA, which knows no host callback."""
        watch, real = self, module.Function.__init__

        @functools.wraps(real)
        def init(function: Any, *args: Any, **kwargs: Any) -> None:
            if watch.active and kwargs.get("jit_compile"):
                kwargs["jit_compile"] = False
                watch._compiled.add(function)
            real(function, *args, **kwargs)

        module.Function.__init__ = init

    def install_saved(self, module: Any) -> None:
        """Have programs saved without the recorder's nodes."""
        real = module._build_meta_graph_impl

        @functools.wraps(real)
        def build(*args: Any, **kwargs: Any) -> Any:
            built = real(*args, **kwargs)
            strip(built[0].graph_def)
            return built

        module._build_meta_graph_impl = build

    def install_registered(self, module: Any) -> None:
        """Note gradients that are registered for an op, and count their calls."""
        watch, real = self, module.RegisterGradient.__call__

        def register(registration: Any, f: Any) -> Any:
            site = None if is_framework(f) or not watch.active else watch._site(f)
            if site is None:
                return real(registration, f)
            site.how = "RegisterGradient"
            site.reason = f"it is registered for the op {registration._op_type}: check a function that uses this op"

            @functools.wraps(f)
            def counted(op: Any, *upstream: Any) -> Any:
                site.calls += 1
                return f(op, *upstream)

            real(registration, counted)
            return f

        module.RegisterGradient.__call__ = register


def _flat(args: Any, kwargs: Any) -> list[Any]:
    return list(tf.nest.flatten((args, kwargs), expand_composites=True))


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, (tf.Tensor, tf.Variable))


def _read(leaf: Any) -> Any:
    return leaf.read_value() if isinstance(leaf, tf.Variable) else leaf


def _value(leaf: Any) -> Any:
    """Return a value that does not change any more."""
    if isinstance(leaf, np.ndarray):
        return leaf.copy()
    return _read(leaf)


def _size(call: Kept) -> int:
    return sum(_bytes(value) for value in [*call.leaves, *call.captured.values()])


def _bytes(value: Any) -> int:
    if _is_tensor(value):
        return int(value.shape.num_elements() or 0) * int(value.dtype.size)
    return int(value.nbytes) if isinstance(value, np.ndarray) else 0


def _kinds(value: Any) -> Hashable:
    """Return what makes calls alike: shapes and dtypes of tensors, values of whole numbers and words."""
    shape = getattr(value, "_shape_tuple", None)
    if shape is not None:
        return value.dtype, shape()
    if isinstance(value, float):
        return float
    if isinstance(value, PRIMITIVE):
        return type(value), value
    if isinstance(value, (list, tuple)):
        return tuple([_kinds(item) for item in value])
    if isinstance(value, dict):
        return tuple([(key, _kinds(item)) for key, item in value.items()])
    if isinstance(value, (np.ndarray, tf.Variable)):
        return type(value), str(value.dtype), tuple(value.shape)
    return type(value).__name__


def words(args: Any, kwargs: Any, values: Any = None) -> str:
    """Return the arguments of a call in words: `[4, 3] float32, axis=1`."""
    known = iter(values if values is not None else ())
    found = [_word(value, known) for value in args]
    found += [f"{name}={_word(value, known)}" for name, value in kwargs.items()]
    return ", ".join(found) or "no arguments"


def _with_closure(said: str, function: Any) -> str:
    held = words_of(function)
    return f"{said}; {held}" if held else said


def _word(value: Any, known: Iterator[Any]) -> str:
    if isinstance(value, (tf.Tensor, tf.Variable, np.ndarray)):
        array = next(known, value)
        dtype = getattr(value.dtype, "name", str(value.dtype))
        return f"{list(array.shape)} {dtype}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_word(item, known) for item in value) + "]"
    text = repr(value) if isinstance(value, (*PRIMITIVE, float)) else type(value).__name__
    return text if len(text) <= 40 else text[:37] + "..."

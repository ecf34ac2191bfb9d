# SPDX-License-Identifier: Apache-2.0
"""Stand between the user's code and tf.custom_gradient: watch what passes, or bypass it.

Stand before tf.function too, which keeps what it traced: with and without the bypass are two.

While the user's module is imported and called, `tf.custom_gradient` is this recorder.  Normally
it applies the real decorator and notes arguments and returned gradients; while `bypass` is
set it calls the plain forward, so that autodiff sees the same code and the same weights.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
import wrapt

from gradcheck.backend.tensorflow.call_log import CallLog
from gradcheck.backend.tensorflow.copies import Copies
from gradcheck.backend.tensorflow.definitions import defined_at, qualified_name
from gradcheck.backend.tensorflow.rule_contract import (
    ContractBroken,
    GradientNote,
    check_return,
    count_broken,
    described,
    note_of,
)
from gradcheck.backend.tensorflow.signatures import argument_names, positional_count, takes_variables
from gradcheck.backend.tensorflow.switched_function import SwitchedFunction

Real = tf.custom_gradient
_Function = tf.function
_override_map = tf.Graph.gradient_override_map


@dataclass(frozen=True, slots=True)
class Rule:
    """Say where the grad_fn of an op is written, and the names of the op's arguments."""

    op: str
    file: str
    line: int
    function: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """Hold how much a recorder has noted by some time."""

    broken: ContractBroken | None
    gradient_failure: BaseException | None
    called: int
    keyword_calls: int
    notes: int


@dataclass(slots=True)
class Recorder:
    """Hold the switch and the notes.

    `intended` names functions whose rules are meant as they are: they are never bypassed; `stopped` names functions
    that pass no gradient on when they are bypassed.
    `stops` are the tf.stop_gradient that were traced inside of functions under tf.custom_gradient: graph and name.
    `edited` says that the user's code runs with an edit that is tried, `overrides` that the op gave
    TensorFlow's own ops other gradients (tf.Graph.gradient_override_map).
    """

    bypass: bool = False
    intended: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    copies: Copies | None = None
    called: list[str] = field(default_factory=list)
    keyword_calls: list[str] = field(default_factory=list)
    notes: list[GradientNote] = field(default_factory=list)
    broken: ContractBroken | None = None
    gradient_failure: BaseException | None = None
    permute_variables: bool = False
    rules: dict[str, Rule] = field(default_factory=dict)
    overrides: bool = False
    stops: list[tuple[Any, str]] = field(default_factory=list)
    edited: bool = False
    calls: CallLog = field(default_factory=CallLog)

    def end_if_copy(self) -> None:
        """End the process if it is a copy that the op made with os.fork."""
        if self.copies is not None:
            self.copies.end_if_copy()

    def clear(self) -> None:
        """Forget what was noted."""
        self.broken, self.gradient_failure = None, None
        self.called.clear()
        self.keyword_calls.clear()
        self.notes.clear()
        self.stops.clear()

    def kept(self) -> Noted:
        """Return what is noted now, so that it can be put back."""
        return Noted(self.broken, self.gradient_failure, len(self.called), len(self.keyword_calls), len(self.notes))

    def put_back(self, noted: Noted) -> None:
        """Forget what was noted since."""
        self.broken, self.gradient_failure = noted.broken, noted.gradient_failure
        del self.called[noted.called :], self.keyword_calls[noted.keyword_calls :], self.notes[noted.notes :]

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[None]:
        """Call plain forwards inside the block."""
        before, self.bypass = self.bypass, True
        try:
            yield
        finally:
            self.bypass = before

    @contextlib.contextmanager
    def keeping(self, *names: str) -> Iterator[None]:
        """Bypass no function of these names inside the block."""
        before, self.intended = self.intended, (*self.intended, *names)
        try:
            yield
        finally:
            self.intended = before

    @contextlib.contextmanager
    def stopping(self, *names: str) -> Iterator[None]:
        """Let no gradient through functions of these names when they are bypassed inside the block."""
        before, self.stopped = self.stopped, (*self.stopped, *names)
        try:
            yield
        finally:
            self.stopped = before

    @contextlib.contextmanager
    def permuted(self) -> Iterator[None]:
        """Hand variables to grad_fn in reversed order inside the block."""
        self.permute_variables = True
        try:
            yield
        finally:
            self.permute_variables = False

    def decorate(self, f: Callable[..., Any] | None = None) -> Any:
        """Take the place of tf.custom_gradient."""
        if f is None:
            return self.decorate
        if isinstance(f, wrapt.FunctionWrapper) or not callable(f):
            return Real(f)
        return wrapt.FunctionWrapper(f, self._call)

    def function(self, func: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Take the place of tf.function."""
        if func is None:
            return lambda f: self.function(f, *args, **kwargs)
        return self.apart(_Function(func, *args, **kwargs), lambda: _Function(func, *args, **kwargs))

    def apart(self, function: Any, another: Callable[[], Any]) -> Any:
        """Return a tf.function that keeps what it traces under a switch apart: in `another` of its kind."""
        others: dict[tuple[bool, bool, tuple[str, ...], tuple[str, ...]], Any] = {}

        def other() -> Any:
            named = (self.intended, self.stopped) if self.bypass else ((), ())
            switches = (self.bypass, self.permute_variables, *named)
            if (self.bypass or self.permute_variables) and switches not in others:
                others[switches] = another()
            return others.get(switches)

        return SwitchedFunction(function, other)

    def override_map(self, graph: tf.Graph, op_type_map: Any) -> Any:
        """Take the place of tf.Graph.gradient_override_map."""
        if self.bypass:
            return contextlib.nullcontext()
        self.overrides = True
        return _override_map(graph, op_type_map)

    def _call(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        name = getattr(wrapped, "__name__", "op")
        if self.bypass and not _is_among(wrapped, self.intended):
            result = self._logged(lambda: wrapped(*args, **kwargs), name, args, kwargs)
            check_return(result, name)
            return _stopped(result[0]) if _is_among(wrapped, self.stopped) else result[0]
        self.called.append(qualified_name(wrapped, name))
        if any(tf.is_tensor(value) for value in tf.nest.flatten(kwargs)):
            self.keyword_calls.append(name)
        return Real(self._recorded(wrapped, name))(*args, **kwargs)

    def _recorded(self, wrapped: Callable[..., Any], name: str) -> Any:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._noting_stops():
                result = self._logged(lambda: wrapped(*args, **kwargs), name, args, kwargs)
            try:
                check_return(result, name)
            except ContractBroken as broken:
                self.broken = broken
                raise
            output, grad_fn = result
            return output, self._watched(grad_fn, wrapped, name, args)

        recorded.__name__ = name
        return tf.autograph.experimental.do_not_convert(recorded)

    @contextlib.contextmanager
    def _noting_stops(self) -> Iterator[None]:
        """Note the tf.stop_gradient that are traced inside the block."""
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        before = 0 if graph is None else len(graph.get_operations())
        yield
        if graph is not None:
            made = graph.get_operations()[before:]
            self.stops += [(graph, op.name) for op in made if op.type == "StopGradient"]

    def _watched(self, grad_fn: Callable[..., Any], wrapped: Any, name: str, args: Any) -> Callable[..., Any]:
        names = argument_names(wrapped, args)
        if name not in self.rules and (place := defined_at(grad_fn)) is not None:
            self.rules[name] = Rule(name, *place, tuple(names))

        def call(upstream: Any, variables: Any, given: bool) -> Any:
            def once() -> Any:
                self._check_upstreams(grad_fn, upstream, name)
                if not given:
                    return grad_fn(*upstream)
                return self._with_variables(grad_fn, upstream, variables, name)

            try:
                result = self._logged(once, "grad_fn", name, args, upstream)
            except BaseException as error:
                self.gradient_failure = error
                raise
            finally:
                self.end_if_copy()
            try:
                self._note(result[0] if given else result, names, args, name)
                if given:
                    self._note_variables(result[1], variables, name)
            except ContractBroken as broken:
                self.broken = broken
                raise
            return result

        if takes_variables(grad_fn):

            def watched(*upstream: Any, variables: Any = None) -> Any:
                return call(upstream, variables, variables is not None)

            return watched

        def watched_without(*upstream: Any) -> Any:
            return call(upstream, None, False)

        return watched_without

    def _logged(self, call: Callable[[], Any], *given: Any) -> Any:
        """Make a call and note how it ended, but where the recorder itself changes what the op sees."""
        changes = self.permute_variables or self.edited or self.intended
        try:
            result = call()
        except Exception as error:
            if not changes:
                self.calls.failed(error, call, *given)
            raise
        if not changes:
            self.calls.succeeded(*given)
        return result

    def _check_upstreams(self, grad_fn: Callable[..., Any], upstream: Any, name: str) -> None:
        count = positional_count(grad_fn)
        if count is None or count[0] <= len(upstream) <= count[1]:
            return
        takes = count[1] if len(upstream) > count[1] else count[0]
        self.broken = ContractBroken(
            "gradient-error",
            f"`{name}` has {len(upstream)} output{'s' * (len(upstream) != 1)}, its grad_fn takes {takes}"
            f" upstream{'s' * (takes != 1)}",
            hint="grad_fn takes one upstream per output",
        )
        raise self.broken

    def _with_variables(self, grad_fn: Callable[..., Any], upstream: Any, variables: Any, name: str) -> Any:
        order = list(reversed(range(len(variables)))) if self.permute_variables else list(range(len(variables)))
        result = grad_fn(*upstream, variables=[variables[i] for i in order])
        pair = isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], (list, tuple))
        listed = ", ".join(variable.name for variable in variables)
        if not pair:
            self.broken = ContractBroken(
                "variables-count",
                f"grad_fn of `{name}` must return (gradients of the inputs, [gradient of each variable]);"
                f" it uses {listed} and returned {described(result)}",
                hint="return upstream_gradients, [one gradient for each of `variables`]",
            )
            raise self.broken
        if isinstance(result[1], tuple):
            self.broken = ContractBroken(
                "gradient-error",
                f"grad_fn of `{name}` returned its variable gradients in a tuple",
                hint="return a list as second element: return input_gradients, [gradient of each variable]",
            )
            raise self.broken
        if len(result[1]) != len(variables):
            self.broken = ContractBroken(
                "variables-count",
                f"grad_fn of `{name}` returned {len(result[1])} variable gradients for {len(variables)} variables:"
                f" {listed}",
                hint="return one gradient for each of `variables`, in their order",
            )
            raise self.broken
        if not self.permute_variables:
            return result
        return result[0], [result[1][order.index(i)] for i in range(len(variables))]

    def _note(self, result: Any, names: list[str], args: Any, function: str) -> None:
        gradients = tf.nest.flatten(result)
        arguments = tf.nest.flatten(args)
        composite = any(isinstance(a, (tf.SparseTensor, tf.RaggedTensor)) for a in arguments)
        if len(gradients) != len(arguments) and not composite:
            raise count_broken(gradients, arguments, names, function)
        for gradient, argument, name in zip(gradients, arguments, names, strict=False):
            self.notes.append(note_of(gradient, argument, name, function))

    def _note_variables(self, gradients: Any, variables: Any, function: str) -> None:
        for gradient, variable in zip(gradients, variables, strict=True):
            name = variable.name.split(":")[0]
            self.notes.append(note_of(gradient, variable, name, function, variable=True))


def _is_among(wrapped: Any, names: Sequence[str]) -> bool:
    """Return whether a function has one of some names, short or qualified."""
    return getattr(wrapped, "__name__", "") in names or qualified_name(wrapped, "") in names


def _stopped(outputs: Any) -> Any:
    return tf.nest.map_structure(lambda t: tf.stop_gradient(t) if tf.is_tensor(t) else t, outputs)

# SPDX-License-Identifier: Apache-2.0
"""Guess the inputs of an op that has no spec, by trying shapes and dtypes until it can be called."""

from __future__ import annotations

import inspect
import itertools
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.failures import first_line
from gradcheck.backend.tensorflow.given import Call, case_of
from gradcheck.backend.tensorflow.guesses import COLUMNS, calls, required
from gradcheck.backend.tensorflow.inputs import InputError, draw
from gradcheck.backend.tensorflow.keras_types import is_layer
from gradcheck.backend.tensorflow.operation import Operation, differentiable
from gradcheck.backend.tensorflow.target import TargetError, attribute, bind, resolve, signature_of
from gradcheck.errors import NeedsInput
from gradcheck.results import Guessed
from gradcheck.spec.model import Case, Input
from gradcheck.text import shortened

# An op is tried with at most so many inputs, for at most so long: a few candidates fit nearly every op.
MOST_TRIES = 160
LONGEST_S = 20.0
LONGEST_REASON = 120
# Nearly every factory that takes numbers takes one of these for each, the fractions in ascending order.  Of a half,
# one minus it is the same, and of two its double and its square are: a mistake would not show.
_FACTORY_FRACTIONS, _FACTORY_NUMBERS = (0.7, 0.8, 0.9), (3, 2, 1)


def guessed(
    module: types.ModuleType, case: Case, forget: Callable[[], None], rules_used: Callable[[], int]
) -> tuple[Any, Case, Guessed]:
    """Return the op of a case, the case with inputs with which it can be called, and what was guessed.

    Inputs and arguments that the case has are kept; `forget` is called before a layer is made anew, and `rules_used`
    counts the calls of custom gradients.  Raises NeedsInput, and TargetError if there is no such op.
    """
    op, build = _op(module, case)

    def called(with_arguments: Case) -> tuple[Any, Case, Guessed]:
        return _called(lambda used: _unbuilt(module, case, used, forget), op, with_arguments, build)

    if _may_train(op, case) and _uses_a_rule_in_training(called, case, rules_used):
        case = replace(case, arguments={**case.arguments, "training": True})
    try:
        return called(case)
    except _IsFactory:
        return _first_called(_made(op, case), case)


def _may_train(op: Any, case: Case) -> bool:
    """Return whether an op may run in training, in which alone layers that drop or add noise use a rule."""
    signature = signature_of(op)
    parameter = signature.parameters.get("training") if signature is not None else None
    return parameter is not None and parameter.default in (None, False) and "training" not in case.arguments


def _uses_a_rule_in_training(
    called: Callable[[Case], tuple[Any, Case, Guessed]], case: Case, rules_used: Callable[[], int]
) -> bool:
    """Return whether an op uses a custom gradient in training, and none otherwise."""
    counts = []
    for arguments in (case.arguments, {**case.arguments, "training": True}):
        before = rules_used()
        try:
            called(replace(case, arguments=arguments))
        except (NeedsInput, _IsFactory):
            return False
        counts.append(rules_used() - before)
    return not counts[0] and counts[1] > 0


def _first_called(made: Iterable[tuple[Any, Mapping[str, Any]]], case: Case) -> tuple[Any, Case, Guessed]:
    """Return the first op of a factory that can be called, with its case and guess; raises NeedsInput."""
    failure: NeedsInput | None = None
    for op, build in made:
        try:
            return _called(lambda used: used, op, case, build)
        except NeedsInput as error:
            failure = failure or error
        except _IsFactory:
            failure = failure or NeedsInput(_unmade(case, None))
    raise failure or NeedsInput(_unmade(case, None))


def _unbuilt(module: types.ModuleType, case: Case, op: Any, forget: Callable[[], None]) -> Any:
    """Return a layer whose weights have no shape yet, of the same class as one that has; another op as it is."""
    if not (is_layer(op) and op.built):
        return op
    forget()
    return resolve(module, case.op, case.build)


class _IsFactory(Exception):
    """Report that what was called is no op: it has returned a function."""


def _made(factory: Any, case: Case) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield what a factory makes of numbers, and these; raises NeedsInput where it makes nothing of any."""
    failure: BaseException | None = None
    any_made = False
    names = [p.name for p in required(factory)]
    builds: list[dict[str, float]] = [dict(zip(names, itertools.cycle(_FACTORY_FRACTIONS), strict=False))]
    builds += [dict.fromkeys(names, number) for number in _FACTORY_NUMBERS]
    for build in builds:
        try:
            made = factory(**build)
        except (Exception, SystemExit) as error:
            failure = failure or error
            continue
        if callable(made):
            any_made = True
            yield made, build
    if not any_made:
        raise NeedsInput(_unmade(case, failure))


def _unmade(case: Case, failure: BaseException | None) -> str:
    why = f" ({_brief(failure)})" if failure is not None else ""
    return (
        f"needs `build`: `{case.op}` cannot be made without more arguments{why};"
        " write a spec with `build: {...}`, or a `factory`"
    )


def _op(module: types.ModuleType, case: Case) -> tuple[Any, Mapping[str, Any] | None]:
    """Return the op, made without arguments where it is a class, and the keywords with which it was made."""
    try:
        value = attribute(module, case.op)
        if not callable(value):
            raise NeedsInput(_no_op(case, value))
        return resolve(module, case.op, case.build), {} if inspect.isclass(value) else case.build
    except (TargetError, NeedsInput):
        raise
    except (Exception, SystemExit) as error:
        raise NeedsInput(_unmade(case, error)) from None


def _no_op(case: Case, value: Any) -> str:
    return (
        f"needs a name: `{case.op}` is of type {type(value).__name__}, no function; give each op in it a name of its"
        " own at the top of the module, or write a spec with a `factory` that returns it"
    )


def _called(
    fresh: Callable[[Any], Any], op: Any, case: Case, build: Mapping[str, Any] | None
) -> tuple[Any, Case, Guessed]:
    """Return the op, the case and the guess with which it can be called; `fresh` undoes what a call has fixed."""
    first: tuple[Case, Guessed] | None = None
    failure: BaseException | None = None
    started = time.monotonic()
    for call in itertools.islice(calls(op, case), MOST_TRIES):
        if time.monotonic() - started > LONGEST_S:
            break
        trial = _trial(case, call)
        try:
            op = fresh(op)
            differentiated = _runs(op, trial)
        except _IsFactory:
            raise
        except (Exception, SystemExit) as error:
            failure = failure or error
            continue
        trial = replace(trial, build=build, guess=False)
        guess = Guessed(call.inputs, call.arguments, build, differentiated)
        if differentiated:
            return op, trial, guess
        first = first or (trial, guess)
    if first is not None:
        return fresh(op), *first
    raise NeedsInput(_what_to_write(op, case, failure))


def _what_to_write(op: Any, case: Case, failure: BaseException | None) -> str:
    name = next((p.name for p in required(op) if p.name not in case.inputs), "x")
    tried = f" ({_brief(failure)})" if failure is not None else ""
    return (
        f"needs an input: no shape that was tried can be used{tried};"
        f" write: gradcheck run {case.id} --input {name}=SHAPE"
    )


def _brief(error: BaseException) -> str:
    return shortened(first_line(error), LONGEST_REASON)


def _trial(case: Case, call: Call) -> Case:
    """Return the case with the inputs and arguments of a call beside its own."""
    filled = case_of("guess", "guess", call, {})
    given = {name: _small(spec) for name, spec in case.inputs.items()}
    return replace(case, inputs={**filled.inputs, **given}, arguments={**call.arguments, **case.arguments})


def _small(spec: Input) -> Input:
    """Return an input of whole numbers, of which only the shape was given, with numbers that every axis has."""
    drawn = spec.source == "integers" and spec.parameters is None and spec.dtype != "bool"
    return replace(spec, parameters={"low": 0, "high": COLUMNS}) if drawn else spec


def _runs(op: Any, case: Case) -> bool:
    """Return whether the op's gradient can be taken too; what its forward pass raises passes through."""
    leaves, nesting = draw(case, None, 0)
    operation = Operation(op, bind(op, list(case.inputs), case.arguments), tuple(leaves), nesting)
    tensors = [tf.constant(leaf.values) for leaf in leaves]
    _refuse_shapes(operation, tensors)
    with tf.GradientTape() as tape:
        tape.watch([t for t in tensors if differentiable(t)])
        result = operation.structured(tensors)
        if _is_function(result):
            raise _IsFactory
        outputs = [tf.convert_to_tensor(r) for r in tf.nest.flatten(result, expand_composites=True)]
        outputs = [output for output in outputs if differentiable(output)]
    if not outputs or not all(bool(tf.reduce_all(tf.math.is_finite(tf.math.abs(o)))) for o in outputs):
        raise InputError("the output is no finite floating tensor")
    try:
        tape.gradient(outputs, [t for t in tensors if differentiable(t)])
    except Exception:
        return False
    return True


def _is_function(result: Any) -> bool:
    return callable(result) and not tf.is_tensor(result) and not isinstance(result, tf.Variable)


def _refuse_shapes(operation: Operation, tensors: Sequence[Any]) -> None:
    """Raise what TensorFlow's rules of shapes say against a call: a kernel may end the process instead."""

    def traced(*values: Any) -> Any:
        result = operation.structured(list(values))
        return () if _is_function(result) else result

    try:
        tf.function(traced, autograph=False).get_concrete_function(*tensors)
    except (ValueError, tf.errors.InvalidArgumentError):
        raise
    except Exception:
        # It cannot be traced at all, which says nothing about the shapes.
        return

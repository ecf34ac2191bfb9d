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

import numpy as np
import tensorflow as tf

from gradcheck.backend.tensorflow.failures import first_line
from gradcheck.backend.tensorflow.given import Call, case_of
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
ROWS, COLUMNS, OTHER = 4, 3, 5

_SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    # Shapes of the first, second, third ... tensor; the last one stands for all further ones.
    ((ROWS, COLUMNS),),
    ((ROWS, COLUMNS), (COLUMNS,)),
    ((ROWS, COLUMNS), (COLUMNS, OTHER), (OTHER,)),
    ((ROWS, COLUMNS), ()),
    ((COLUMNS,),),
    ((ROWS, COLUMNS), (ROWS,)),
    ((COLUMNS, COLUMNS),),
    ((COLUMNS, COLUMNS), (COLUMNS,)),
    ((2, ROWS, COLUMNS),),
    ((2, 6, 6, 2), (3, 3, 2, 2), (2,)),
    ((2, 6, 6, 2),),
    ((2, 6, 2), (3, 2, 2), (2,)),
    ((),),
)
_WHOLE_SHAPES: tuple[tuple[int, ...] | None, ...] = ((ROWS,), None, (), (ROWS, 2))
_WHOLE_NAMES = ("ids", "idx", "index", "indices", "segment", "lengths", "length", "token", "classes")
_MASK_NAMES = ("mask", "is_", "keep")
_LABEL_NAMES = ("label", "target", "y_true", "onehot", "one_hot")
_PROBABILITY_NAMES = ("prob", "p", "q")
_POSITIVE_NAMES = ("std", "stddev", "sigma", "var", "variance", "scale", "rate", "temperature", "weight", "eps")
_PYTHON_VALUES: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("axis", "dim"), (-1, 0)),
    **dict.fromkeys(("n", "k", "num", "count", "size", "steps", "depth", "units", "groups", "num_steps"), (3, 2)),
    **dict.fromkeys(("training", "transpose", "keepdims"), (False, True)),
}
_PYTHON_TYPES: Mapping[str, tuple[Any, ...]] = {"int": (3, 2, 1, -1), "bool": (False, True), "float": (0.7,)}


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
    """Return whether an op may be told to train, as layers that drop or add noise are: it uses a rule only then."""
    signature = signature_of(op)
    parameter = signature.parameters.get("training") if signature is not None else None
    return parameter is not None and parameter.default in (None, False) and "training" not in case.arguments


def _uses_a_rule_in_training(
    called: Callable[[Case], tuple[Any, Case, Guessed]], case: Case, rules_used: Callable[[], int]
) -> bool:
    """Return whether an op uses a custom gradient when it is told to train, and none otherwise."""
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
    names = [p.name for p in _required(factory)]
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
    for call in itertools.islice(_calls(op, case), MOST_TRIES):
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
    name = next((p.name for p in _required(op) if p.name not in case.inputs), "x")
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


def _required(op: Any) -> list[inspect.Parameter]:
    signature = signature_of(op)
    if signature is None:
        return []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p for p in signature.parameters.values() if p.kind in kinds and p.default is inspect.Parameter.empty]


def _calls(op: Any, case: Case) -> Iterator[Call]:
    """Yield the calls to try: likely ones first."""
    wanted = [p for p in _required(op) if p.name not in case.inputs and p.name not in case.arguments]
    if not wanted and not case.inputs:
        signature = signature_of(op)
        if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()) or is_layer(op):
            wanted = [inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        else:
            wanted = [p for p in signature.parameters.values() if p.default in (None, p.empty)][:1]
    python = {p.name: values for p in wanted if (values := _python_values(p))}
    tensors = [p.name for p in wanted if p.name not in python]
    constants = [dict(zip(python, values, strict=True)) for values in itertools.product(*python.values())]
    for kinds in _kinds(tensors):
        for shapes in _SHAPES[: None if tensors else 1]:
            for whole in _WHOLE_SHAPES if any(kind != "float32" for kind in kinds.values()) else (None,):
                described = _described(kinds, shapes, whole)
                for source in ("normal", "uniform"):
                    for arguments in constants:
                        yield Call(_with_source(described, source), arguments)


def _python_values(parameter: inspect.Parameter) -> tuple[Any, ...]:
    annotation = parameter.annotation
    named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return _PYTHON_TYPES.get(named) or _PYTHON_VALUES.get(parameter.name.lower()) or ()


def _kinds(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield dtypes for the tensors: by their names, then with one of them of another dtype, then float64."""
    likely = {name: _likely_dtype(name) for name in names}
    yield likely
    for name in reversed(names):
        for dtype in ("int32", "bool", "float32", "int64"):
            if likely[name] != dtype:
                yield {**likely, name: dtype}
    yield {name: "float64" if dtype == "float32" else dtype for name, dtype in likely.items()}
    yield {name: "complex64" if dtype == "float32" else dtype for name, dtype in likely.items()}


def _likely_dtype(name: str) -> str:
    lowered = name.lower()
    if any(word in lowered for word in _WHOLE_NAMES):
        return "int32"
    return "bool" if any(lowered.startswith(word) for word in _MASK_NAMES) else "float32"


def _described(
    kinds: Mapping[str, str], shapes: Sequence[tuple[int, ...]], whole: tuple[int, ...] | None
) -> dict[str, dict[str, Any]]:
    """Return what a spec says of the tensors: `whole` is the shape of those that are not floating, None for any."""
    found: dict[str, dict[str, Any]] = {}
    floating = 0
    for name, dtype in kinds.items():
        is_floating = dtype.startswith(("float", "complex"))
        shape = shapes[min(floating, len(shapes) - 1)] if is_floating or whole is None else whole
        floating += is_floating
        found[name] = {"shape": list(shape)} if dtype == "float32" else {"shape": list(shape), "dtype": dtype}
        if dtype.startswith("int"):
            found[name]["integers"] = {"low": 0, "high": COLUMNS}
    return found


def _with_source(described: Mapping[str, dict[str, Any]], source: str) -> dict[str, dict[str, Any]]:
    return {name: _sourced(name, item, source) for name, item in described.items()}


def _sourced(name: str, item: dict[str, Any], source: str) -> dict[str, Any]:
    """Return an input with its numbers drawn as its name suggests, or else from `source`."""
    lowered = name.lower()
    if item.get("dtype", "float32") not in ("float32", "float64"):
        return item
    if any(word in lowered for word in _LABEL_NAMES) and item["shape"]:
        return {**item, "values": _one_hot(item["shape"]), "differentiate": False}
    if any(lowered == word or (len(word) > 2 and word in lowered) for word in _PROBABILITY_NAMES):
        return {**item, "uniform": {"low": 0.1, "high": 0.9}}
    if lowered in _POSITIVE_NAMES:
        return {**item, "uniform": {"low": 0.5, "high": 2.0}}
    return item if source == "normal" else {**item, "uniform": {"low": 0.1, "high": 0.9}}


def _one_hot(shape: Sequence[int]) -> Any:
    count = int(np.prod(shape[:-1], dtype=int))
    rows = np.eye(shape[-1])[np.arange(count) % shape[-1]]
    return rows.reshape(shape).tolist()

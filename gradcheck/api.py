"""Check gradients from Python, inside test suites that already exist."""

from __future__ import annotations

import inspect
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradcheck.engine.case import check_started
from gradcheck.engine.limits import Limits
from gradcheck.reports.wording import failure_text
from gradcheck.results import PASSED, SKIPPED, CaseResult
from gradcheck.runner import Options, results_of
from gradcheck.spec.model import Case, Input
from gradcheck.spec.parse import parse_data
from gradcheck.spec.schema import DTYPES, SCHEMA

_OP = "gradcheck_op"
_ONE_AT_A_TIME = threading.RLock()
_FUNCTIONS = ("reference", "surrogate", "expected_vjp")
_WORDS = frozenset(SCHEMA["definitions"]["drawn"]["properties"])


def check(fn: Callable[..., Any], inputs: Mapping[str, Any] | Sequence[Any], **options: Any) -> CaseResult:
    """Check the gradients of `fn` and return what was found.

    `inputs` maps parameter names to tensors, arrays, numbers, nested structures of them, or
    what a spec would say (`{"shape": [4, 3]}`); a sequence is bound by position.  `options`
    are the keys of a case in a spec; `reference`, `surrogate` and `expected_vjp` take
    functions, `name` names the case, `show` is the number of worst elements per finding.
    Runs in this process, whose random state is left as it was found; `timeout` is not kept.

    Raises SpecError for options or inputs that a spec could not have either, TypeError if `fn` cannot be called,
    RuntimeError inside of a graph.
    """
    import tensorflow as tf

    from gradcheck.backend.tensorflow.install import installed, redecorated
    from gradcheck.backend.tensorflow.loading import Loaded
    from gradcheck.backend.tensorflow.operation import Creations
    from gradcheck.backend.tensorflow.recorder import Recorder
    from gradcheck.backend.tensorflow.runtime import logical_devices, quiet, random_state_kept, whole_tracebacks

    if not callable(fn):
        raise TypeError(f"fn must be a function or a layer, is {type(fn).__name__}")
    show = options.pop("show", 10)
    name = options.pop("name", None) or getattr(fn, "__name__", type(fn).__name__)
    functions = {key: options[key] for key in _FUNCTIONS if callable(options.get(key))}
    case = _case(fn, name, inputs, {**options, **{key: f"gradcheck_{key}" for key in functions}})
    recorder, creations = Recorder(intended=case.intended), Creations()
    home = _home(fn)

    def start() -> tuple[Any, tuple[str, ...]]:
        from gradcheck.backend.tensorflow.target import resolve

        module = types.ModuleType("gradcheck_case")
        vars(module).update(home)
        setattr(module, _OP, redecorated(recorder, fn))
        for key, function in functions.items():
            setattr(module, f"gradcheck_{key}", function)
        with creations.watch():
            op = resolve(module, _OP, case.build)
        return Loaded(case, module, op, recorder, creations), logical_devices(case.devices)

    if not tf.executing_eagerly():
        raise RuntimeError("gradcheck.check runs the op eagerly: call it outside of tf.Graph and tf.function")
    # TensorFlow's decorators are replaced for the whole process, so that two checks cannot overlap.
    with _ONE_AT_A_TIME, random_state_kept(), quiet(), whole_tracebacks(), installed(recorder, [home]):
        return check_started(case, start, Limits(show=show), lambda phase, known: None, interruptible=True)


def assert_gradients(fn: Callable[..., Any], inputs: Mapping[str, Any] | Sequence[Any], **options: Any) -> None:
    """Check as `check` does and raise AssertionError with the table of mismatches if the case does not pass."""
    __tracebackhide__ = True
    result = check(fn, inputs, **options)
    if result.status not in (PASSED, SKIPPED):
        raise AssertionError(failure_text(result))


def assert_spec(path: str | Path) -> None:
    """Check the cases of a spec, each in a process of its own.

    Raises AssertionError with what is wrong if one does not pass, SpecError if the spec is
    wrong, NothingSelected if it has no case.
    """
    __tracebackhide__ = True
    from gradcheck.spec.discover import load, select

    results = results_of(select(load([str(path)])), Options())
    bad = [result for result in results if result.status not in (PASSED, SKIPPED)]
    if bad:
        raise AssertionError("\n".join(failure_text(result) for result in bad))


def _home(fn: Any) -> dict[str, Any]:
    """Return the names of the module in which `fn` was written."""
    function = inspect.unwrap(fn) if callable(fn) else fn
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    names = getattr(function, "__globals__", None)
    return names if isinstance(names, dict) else (vars(module) if module is not None else {})


def _case(fn: Any, name: str, inputs: Mapping[str, Any] | Sequence[Any], options: Mapping[str, Any]) -> Case:
    named = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(_names(fn), inputs, strict=False))
    if not isinstance(inputs, Mapping) and len(named) < len(inputs):
        named.update({f"x{i}": value for i, value in enumerate(inputs) if i >= len(named)})
    body = {"op": _OP, **options, "inputs": {key: _described(value) for key, value in named.items()}}
    safe = "".join(c if c.isprintable() and not c.isspace() and c not in ":/" else "_" for c in name) or "op"
    spec = parse_data({"module": "gradcheck_case", "cases": {safe: _lists(body)}}, f"<{safe}>", Path.cwd())
    case = spec.cases[0]
    return replace(case, inputs={key: _filled(case.inputs[key], value) for key, value in named.items()})


def _names(fn: Any) -> Iterator[str]:
    target = getattr(fn, "call", fn)
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield parameter.name


def _lists(value: Any) -> Any:
    """Return data as a spec would hold it: lists where Python has tuples."""
    if isinstance(value, Mapping):
        return {key: item if key in ("build", "arguments") else _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _is_described(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= _WORDS and not _holds_tensors(value)


def _holds_tensors(value: Mapping[str, Any]) -> bool:
    return any(hasattr(item, "dtype") for key, item in value.items() if key not in ("values", "constant"))


def _described(value: Any) -> Any:
    """Return what a spec says of an input; the numbers of tensors and arrays are filled in later."""
    if _is_described(value):
        return value
    if isinstance(value, Mapping):
        return {"items": {str(key): _described(item) for key, item in value.items()}}
    if isinstance(value, (list, tuple)) and any(_is_array(item) or isinstance(item, Mapping) for item in value):
        return {"items": [_described(item) for item in value]}
    if not _is_array(value):
        return value
    array, extra = _array(value)
    return {"shape": list(array.shape), "dtype": _dtype(value, array), "constant": 0, **extra}


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype")


def _array(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the numbers of a tensor, and how a spec says that it is sparse or ragged."""
    import numpy as np
    import tensorflow as tf

    if isinstance(value, tf.SparseTensor):
        return np.asarray(tf.sparse.to_dense(tf.sparse.reorder(value))), {"sparse": True}
    if isinstance(value, tf.RaggedTensor):
        return np.asarray(value.values), {"ragged": value.row_lengths().numpy().tolist()}
    return np.asarray(value), {}


def _dtype(value: Any, array: Any) -> str:
    name = getattr(value.dtype, "name", str(value.dtype))
    return name if name in DTYPES else ("string" if array.dtype.kind in "OSU" else str(array.dtype))


def _filled(spec: Input, value: Any) -> Input:
    if _is_described(value):
        return spec
    if isinstance(spec.items, Mapping):
        return replace(spec, items={key: _filled(spec.items[str(key)], item) for key, item in value.items()})
    if spec.items is not None:
        return replace(spec, items=tuple(_filled(s, v) for s, v in zip(spec.items, value, strict=True)))
    if not _is_array(value):
        return spec
    return replace(spec, source="values", parameters=_array(value)[0], shape=None)

# SPDX-License-Identifier: Apache-2.0
"""The user's module imported, and the op found in it."""

from __future__ import annotations

import types
from dataclasses import dataclass, fields
from typing import Any

import tensorflow as tf

from gradcheck.backend.tensorflow.copies import Copies
from gradcheck.backend.tensorflow.factories import made
from gradcheck.backend.tensorflow.failures import Stopped, finding_from, stopped_by_spec
from gradcheck.backend.tensorflow.guessing import guessed
from gradcheck.backend.tensorflow.install import install
from gradcheck.backend.tensorflow.operation import Creations, Operation
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.runtime import end_debuggers
from gradcheck.backend.tensorflow.target import (
    TargetError,
    attribute,
    bind,
    import_module,
    method_of_op,
    resolve,
    signature_of,
)
from gradcheck.errors import NeedsInput
from gradcheck.results import Finding, Guessed
from gradcheck.spec.model import Case


@dataclass(slots=True)
class Loaded:
    """Hold the user's module and the op found in it."""

    case: Case
    module: types.ModuleType
    op: Any
    recorder: Recorder
    creations: Creations
    notes: tuple[str, ...] = ()
    guess: Guessed | None = None


def load(case: Case) -> Loaded:
    """Import the module and build the op.

    Raises Stopped with `import-error` or `op-error`, NeedsInput for an op whose inputs cannot be guessed.
    """
    guess = None
    recorder, creations = Recorder(intended=case.intended, copies=Copies()), Creations()
    install(recorder)
    with creations.watch():
        try:
            module = import_module(case.module, case.folder)
        except TargetError as error:
            raise stopped_by_spec(case, error.code, error.message, error.hint) from None
        except (Exception, SystemExit) as error:
            raise Stopped(finding_from(error, "import-error")) from error
        end_debuggers()
        if not tf.executing_eagerly():
            message = "the module turned eager execution off; gradcheck checks TensorFlow 2 code"
            raise Stopped(Finding("import-error", message, hint="leave out tf.compat.v1.disable_eager_execution()"))
        try:
            if case.guess:
                before = len(creations.made)
                op, case, guess = guessed(module, case, lambda: creations.forget(before), lambda: len(recorder.called))
            elif case.factory is not None:
                op, case = made(module, case)
            else:
                op = resolve(module, case.op, case.build)
        except NeedsInput:
            raise
        except TargetError as error:
            raise stopped_by_spec(case, error.code, error.message, error.hint) from None
        except (Exception, SystemExit) as error:
            raise Stopped(finding_from(error, "op-error", recorder)) from error
    return Loaded(case, module, op, recorder, creations, _graphs_again(), guess)


def another_function(loaded: Loaded, operation: Operation, name: str) -> Operation:
    """Return another function of the module, called on the same inputs as the op.

    Raises Stopped with `import-error` where there is none of that name.
    """
    try:
        method = method_of_op(loaded.module, loaded.op, name)
        op = attribute(loaded.module, name) if method is None else method
    except TargetError as error:
        key = _key_naming(loaded.case, name)
        hint = error.hint and error.hint.replace("`op`", f"`{key}`")
        raise stopped_by_spec(loaded.case, "import-error", f"`{key}: {name}`: {error.message}", hint) from None
    case, names = loaded.case, list(loaded.case.inputs)
    signature = signature_of(op)
    accepted = set(signature.parameters) if signature else set()
    try:
        bound = bind(op, names, {k: v for k, v in case.arguments.items() if k in accepted})
    except TargetError:
        bound = bind(lambda *tensors: None, names, {})
    return operation.with_op(op, bound)


def _key_naming(case: Case, name: str) -> str:
    """Return the key of a case that names a function."""
    keys = (
        field.name for field in fields(case) if field.name not in ("id", "name") and getattr(case, field.name) == name
    )
    return next(keys, "op")


def _graphs_again() -> tuple[str, ...]:
    """Let tf.function trace again where the module turned that off, and return what to note."""
    if not tf.config.functions_run_eagerly():
        return ()
    tf.config.run_functions_eagerly(False)
    return (
        "the module called tf.config.run_functions_eagerly(True): turned off, so that function and xla are checked",
    )

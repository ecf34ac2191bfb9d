"""A fresh Python process that loads what an op was saved as, and differentiates it there.

    python -m gradcheck.backend.tensorflow.fresh_process

It reads one job a line from standard input (JSON) and answers each with a line on standard output.  It is
started ahead, so that it imports TensorFlow while the case's other checks run, and ends with its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# The name under which the answers of a job are written beside its program.
ANSWER = "answer.npz"
VALUES = "values.npz"


class Refused(Exception):
    """Report what the fresh process raised while it loaded or differentiated a program."""


@dataclass(frozen=True, slots=True)
class Job:
    """Say what is loaded: a SavedModel, or a .keras file with the module that defines its layer."""

    folder: str
    sources: tuple[int, ...]
    traced: bool
    module: str = ""
    layer: str = ""


class FreshProcess:
    """Hold the process; it is started once and serves every job of a case."""

    def __init__(self) -> None:
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def run(self, job: Job) -> tuple[list[Any], list[Any]]:
        """Return outputs and gradients of a program; raises Refused with what the process raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise Refused("the process ended while it loaded the program")
        answer = json.loads(line)
        if answer["error"]:
            raise Refused(answer["error"])
        with np.load(os.path.join(job.folder, ANSWER)) as arrays:
            outputs = [arrays[f"output.{i}"] for i in range(answer["outputs"])]
            gradients = [arrays.get(f"gradient.{i}") for i in range(answer["gradients"])]
        return outputs, gradients


_STARTED: list[FreshProcess] = []


def started() -> FreshProcess:
    """Return the process of this case, started if it was not yet."""
    if not _STARTED:
        _STARTED.append(FreshProcess())
    return _STARTED[0]


def _serve() -> None:
    """Answer jobs until standard input ends; what programs print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    import tensorflow  # noqa: F401

    for line in sys.stdin:
        try:
            counts = _answered(Job(**json.loads(line)))
            answer: dict[str, Any] = {"error": "", "outputs": counts[0], "gradients": counts[1]}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {_said(error)}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _said(error: Exception) -> str:
    """Return the line of a message that says what happened: those of graphs begin with where it did."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Graph execution error", "Detected at", "File ", "[", "<"))]
    return next((line for line in told if "Error" in line), (told or lines or [""])[0])


def _answered(job: Job) -> tuple[int, int]:
    """Run a job and write its arrays; return how many outputs and gradients there are."""
    import tensorflow as tf

    with np.load(os.path.join(job.folder, VALUES), allow_pickle=False) as arrays:
        dtypes = json.loads(str(arrays["dtypes"]))
        tensors = [tf.cast(arrays[f"value.{i}"], dtype) for i, dtype in enumerate(dtypes["values"])]
        ups = [tf.cast(arrays[f"upstream.{i}"], dtype) for i, dtype in enumerate(dtypes["upstream"])]
    call, variables = _keras_layer(job) if job.layer else _saved_model(job)
    watched = [tensors[i] for i in job.sources]

    def value_and_gradient() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = [o for o in call(tensors) if o.dtype.is_floating or o.dtype.is_complex]
        return outputs, tape.gradient(outputs, [*watched, *variables], output_gradients=ups)

    outputs, gradients = tf.function(value_and_gradient)() if job.traced else value_and_gradient()
    dense = {f"gradient.{i}": _array(tf, g) for i, g in enumerate(gradients) if g is not None}
    np.savez(os.path.join(job.folder, ANSWER), **{f"output.{i}": _array(tf, o) for i, o in enumerate(outputs)}, **dense)
    return len(outputs), len(gradients)


def _saved_model(job: Job) -> tuple[Any, list[Any]]:
    import tensorflow as tf

    program = tf.saved_model.load(os.path.join(job.folder, "program"))
    return lambda tensors: tf.nest.flatten(program.op(*tensors)), list(program.differentiated)


def _keras_layer(job: Job) -> tuple[Any, list[Any]]:
    import importlib.util

    import tensorflow as tf

    spec = importlib.util.spec_from_file_location("gradcheck_saved_layer", job.module)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(job.module))
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    kind = module
    for name in job.layer.split("."):
        kind = getattr(kind, name)
    path = os.path.join(job.folder, "layer.keras")
    model = tf.keras.models.load_model(path, custom_objects={job.layer.rpartition(".")[2]: kind})
    layer = model.layers[-1]
    variables = [getattr(v, "value", v) for v in layer.trainable_variables]
    return lambda tensors: tf.nest.flatten(layer(*tensors)), variables


def _array(tf: Any, tensor: Any) -> Any:
    """Return a dense array that a file can hold: half precision in float32, which holds it exactly."""
    tensor = tf.convert_to_tensor(tensor)
    return tf.cast(tensor, tf.float32).numpy() if tensor.dtype == tf.bfloat16 else tensor.numpy()


if __name__ == "__main__":
    _serve()

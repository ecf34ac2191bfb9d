# SPDX-License-Identifier: Apache-2.0
"""A fresh Python process that loads what an op was saved as, and differentiates it there.

    python -m gradcheck.backend.tensorflow.fresh_process

It reads one job a line (JSON) and answers each with a line.  A case that has a process of its own forks it
before anything of the user's is loaded and any op has run; elsewhere it is started as a program of its own.
It ends with the case.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np

# The name under which the answers of a job are written beside its program.
ANSWER = "answer.npz"
VALUES = "values.npz"


class Refused(Exception):
    """Report what the fresh process raised while it loaded or differentiated a program."""


@dataclass(frozen=True, slots=True)
class Job:
    """Say what is loaded: a SavedModel, or a .keras file with the module that defines its layer.

    `weights` are the places of what is differentiated among a layer's trainable variables.
    """

    folder: str
    sources: tuple[int, ...]
    traced: bool
    module: str = ""
    layer: str = ""
    weights: tuple[int, ...] = ()


class FreshProcess:
    """Hold the two ends of the pipes to the process; it is started once and serves every job of a case."""

    def __init__(self, jobs: IO[str], answers: IO[str]) -> None:
        self._jobs, self._answers = jobs, answers

    def run(self, job: Job) -> tuple[list[Any], list[Any]]:
        """Return outputs and gradients of a program; raises Refused with what the process raised."""
        try:
            self._jobs.write(json.dumps(asdict(job)) + "\n")
            self._jobs.flush()
            line = self._answers.readline()
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
        _STARTED.append(_spawned())
    return _STARTED[0]


def fork_ahead() -> None:
    """Fork the process of this case from this one, which has imported TensorFlow and has run no op yet."""
    jobs, to_jobs = os.pipe()
    answers, to_answers = os.pipe()
    if os.fork() == 0:
        try:
            _close_all_but(jobs, to_answers)
            _serve(os.fdopen(jobs), os.fdopen(to_answers, "w"))
        finally:
            os._exit(0)
    os.close(jobs)
    os.close(to_answers)
    _STARTED.append(FreshProcess(os.fdopen(to_jobs, "w"), os.fdopen(answers)))


def _close_all_but(*kept: int) -> None:
    """Close what was inherited, the pipes of the case included; what is printed goes nowhere."""
    first = 3
    for low, high in itertools.pairwise((first - 1, *sorted(kept), os.sysconf("SC_OPEN_MAX"))):
        os.closerange(low + 1, high)
    _print_nothing()


def _print_nothing() -> None:
    with open(os.devnull, "w") as nowhere:
        for descriptor in (1, 2):
            os.dup2(nowhere.fileno(), descriptor)


def _spawned() -> FreshProcess:
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    path = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": path}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    return FreshProcess(process.stdin, process.stdout)


def _serve(jobs: Iterable[str], answers: IO[str]) -> None:
    """Answer jobs until there are no more."""
    for line in jobs:
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
    every = [getattr(v, "value", v) for v in layer.trainable_variables]
    variables = [every[place] for place in job.weights]
    return lambda tensors: tf.nest.flatten(layer(*tensors)), variables


def _array(tf: Any, tensor: Any) -> Any:
    """Return a dense array that a file can hold: half precision in float32, which holds it exactly."""
    tensor = tf.convert_to_tensor(tensor)
    return tf.cast(tensor, tf.float32).numpy() if tensor.dtype == tf.bfloat16 else tensor.numpy()


def _main() -> None:
    """Serve jobs of standard input, and import TensorFlow before the first comes."""
    answers = os.fdopen(os.dup(1), "w")
    _print_nothing()
    import tensorflow  # noqa: F401

    _serve(sys.stdin, answers)


if __name__ == "__main__":
    _main()

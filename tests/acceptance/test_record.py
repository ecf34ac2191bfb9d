"""A program's own calls of custom gradients, recorded and checked when it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

OPS = """
import tensorflow as tf

@tf.custom_gradient
def square(x):
    return x * x, lambda u: 2.0 * u * x

@tf.custom_gradient
def chunked(x):
    def grad(u):
        return tf.concat([2.0 * u[:64] * x[:64], 3.0 * u[64:] * x[64:]], 0)
    return x * x, grad

def scaled(factor):
    @tf.custom_gradient
    def inner(x):
        return factor * x, lambda u: u * factor
    return inner

@tf.custom_gradient
def never_called(x):
    return x, lambda u: u
"""


@pytest.fixture
def program(tmp_path):
    """Write modules and record a program; return what happened."""
    (tmp_path / "ops.py").write_text(OPS)

    def record(script: str, *options: str, name: str = "train.py", command=None, **more):
        (tmp_path / name).write_text(script)
        words = [sys.executable, "-m", "gradcheck", "record", *options, "--", *(command or ["python", name])]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "120", **more}
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)

    record.folder = tmp_path
    return record


def sites(folder):
    return {site["name"]: site for site in json.loads((folder / "recorded.json").read_text())["sites"]}


def test_every_site_that_a_script_calls_gets_its_verdict(program):
    done = program(
        """
import sys
import numpy as np
import tensorflow as tf
from ops import chunked, scaled, square

@tf.custom_gradient
def own(x):
    return tf.sin(x), lambda u: u * tf.sin(x)

class Gate(tf.keras.layers.Layer):
    def build(self, shape):
        self.s = self.add_weight(shape=(), name="s")
    def call(self, x):
        factor = tf.exp(self.s)
        @tf.custom_gradient
        def gate(x):
            return x * factor, lambda u: u * factor
        return gate(x)

print(sys.argv, float(tf.reduce_sum(square(tf.ones([3])))))
for n in range(20):
    scaled(2.0)(tf.ones([2]) * n)
chunked(tf.ones([70, 2]))
own(tf.constant([0.5, 1.0]))
model = tf.keras.Sequential([tf.keras.layers.Dense(3), Gate()])
model.compile("sgd", "mse", jit_compile=True)
model.fit(np.ones((8, 2)), np.ones((8, 3)), verbose=0, batch_size=4)
sys.exit(7)
""",
        "-o",
        "rec",
        command=["python", "train.py", "--epochs", "1"],
    )
    assert "['train.py', '--epochs', '1'] 3.0" in done.stdout
    assert done.returncode == 1
    found = sites(program.folder / "rec")
    assert {name: site["status"] for name, site in found.items()} == {
        "square": "passed",
        "scaled.<locals>.inner": "passed",
        "chunked": "failed",
        "own": "failed",
        "Gate.call.<locals>.gate": "passed",
    }
    assert found["scaled.<locals>.inner"]["calls"] == 20
    assert found["Gate.call.<locals>.gate"]["calls"] == 2
    assert found["chunked"]["file"] == "../ops.py"
    assert "the program ended with exit code 7" in done.stdout
    assert "never called: 1 custom gradient below this folder (ops.py:21 never_called)" in done.stdout
    assert "1 function with jit_compile=True ran without XLA while recording" in done.stdout
    assert "Traceback" not in done.stderr
    again = subprocess.run(
        [sys.executable, "-m", "gradcheck", "run", "rec", "--format", "json"],
        cwd=program.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert {case["case"]: case["status"] for case in json.loads(again.stdout)["cases"]} == {
        "square": "passed",
        "chunked": "failed",
    }


def test_closures_that_hold_other_things_are_each_checked(program):
    done = program(
        """
import tensorflow as tf

class Soft(tf.keras.layers.Layer):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
    def call(self, x):
        @tf.custom_gradient
        def soft(x):
            if self.kind == "sine":
                return tf.sin(x), lambda u: u * tf.cos(x)
            return tf.tanh(x), lambda u: u * (1.0 - tf.tanh(x))
        return soft(x)

def vjp(forward, backward):
    @tf.custom_gradient
    def op(x):
        return forward(x), lambda u: backward(u, x)
    return op

square = vjp(lambda x: x * x, lambda u, x: 2.0 * u * x)
cube = vjp(lambda x: x ** 3, lambda u, x: 2.0 * u * x)

def scaled(factor, slope):
    @tf.custom_gradient
    def times(x):
        return factor * x, lambda u: slope * u
    return times

x = tf.constant([0.5, 1.5])
layers = Soft("sine"), Soft("tanh")
for step in range(3):
    layers[0](x), layers[1](x), square(x), cube(x)
    for number in (1.0, 2.0, 3.0):
        scaled(number, 2.0)(x)
""",
        "-o",
        "rec",
    )
    found = [
        (site["name"], site["status"])
        for site in json.loads((program.folder / "rec/recorded.json").read_text())["sites"]
    ]
    assert sorted(found) == [
        ("Soft.call.<locals>.soft", "failed"),
        ("scaled.<locals>.times", "failed"),
        ("vjp.<locals>.op", "failed"),
        ("vjp.<locals>.op", "passed"),
    ]
    assert "op of <lambda>:" in done.stdout
    assert "9 calls  3 signatures" in done.stdout


def test_the_program_computes_the_same_with_and_without_the_recorder(program):
    script = """
import random
import numpy as np
import tensorflow as tf
from ops import scaled, square

tf.keras.utils.set_random_seed(3)

class L(tf.keras.layers.Layer):
    def call(self, x):
        return scaled(0.5)(square(x)) + tf.random.normal(tf.shape(x))

model = tf.keras.Sequential([tf.keras.layers.Dense(4), L(), tf.keras.layers.Dropout(0.5), tf.keras.layers.Dense(1)])
model.compile("adam", "mse")
history = model.fit(np.random.rand(32, 3), np.random.rand(32, 1), epochs=2, verbose=0).history["loss"]
print(history, random.random(), np.random.rand(), float(tf.random.uniform([])))
"""
    recorded = program(script)
    plain = subprocess.run(
        [sys.executable, "train.py"], cwd=program.folder, capture_output=True, text=True, check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert recorded.stdout.splitlines()[0] == plain.stdout.splitlines()[0]
    assert recorded.returncode == 0


def test_a_script_that_raises_is_judged_by_what_it_did_before(program):
    done = program("import tensorflow as tf\nfrom ops import square\nsquare(tf.ones(3))\nraise ValueError('mine')\n")
    assert "ValueError: mine" in done.stderr
    assert "square" in done.stdout
    assert "passed" in done.stdout
    assert done.returncode == 1


def test_a_script_that_a_signal_ends_keeps_what_can_be_imported(program):
    script = """
import os, signal
import tensorflow as tf
from ops import scaled, square
square(tf.ones(3)); scaled(2.0)(tf.ones(3))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = program(script, "-o", "rec")
    assert done.returncode == 128 + signal.SIGKILL
    found = sites(program.folder / "rec")
    assert found["square"]["status"] == "passed"
    assert found["scaled.<locals>.inner"]["status"] == "not checked"
    assert "the program ended before its calls could be checked" in done.stdout


def test_ctrl_c_is_the_programs_and_its_calls_are_judged(program):
    (program.folder / "train.py").write_text(
        "import time\nimport tensorflow as tf\nfrom ops import scaled\nscaled(2.0)(tf.ones(3))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    words = [sys.executable, "-m", "gradcheck", "record", "-o", "rec", "--", "python", "train.py"]
    process = subprocess.Popen(
        words, cwd=program.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        # A job that runs in the background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "KeyboardInterrupt" in err
    assert sites(program.folder / "rec")["scaled.<locals>.inner"]["status"] == "passed"


def test_a_hundred_thousand_calls_and_a_tensor_that_is_too_large(program):
    script = """
import tensorflow as tf
from ops import scaled, square
inner, x = scaled(2.0), tf.ones([2])
started = tf.timestamp()
for _ in range(100_000):
    inner(x)
square(tf.ones([2**22]))
"""
    done = program(script, "-o", "rec", "--max-bytes", "1M")
    found = sites(program.folder / "rec")
    assert found["scaled.<locals>.inner"]["calls"] == 100_000
    assert "its inputs take 16,777,216 bytes" in found["square"]["verdict"]
    assert done.returncode == 0


def test_calls_in_graphs_are_counted_and_each_new_shape_is_seen(program):
    script = """
import tensorflow as tf
from ops import chunked, scaled, square
inner = scaled(2.0)

@tf.function(input_signature=[tf.TensorSpec([None])])
def rows(x):
    return chunked(x)

@tf.function
def loop(x):
    return tf.while_loop(lambda i, x: i < 50, lambda i, x: (i + 1, inner(x)), (0, x))[1]

for n in [3] * 40 + [70] + [3] * 20:
    rows(tf.ones([n]))
loop(tf.ones([2]) * 1e-9)
tf.vectorized_map(square, tf.ones([4, 2]))
"""
    done = program(script, "-o", "rec")
    found = sites(program.folder / "rec")
    assert done.returncode == 1, done.stderr
    assert found["chunked"]["calls"] == 61
    assert found["chunked"]["signatures"] == ["[3] float32", "[70] float32"]
    assert found["chunked"]["status"] == "failed"
    assert found["scaled.<locals>.inner"]["calls"] == 50
    assert found["square"]["status"] == "passed"


def test_a_model_saved_while_recording_runs_elsewhere(program):
    script = """
import tensorflow as tf
from ops import scaled, square
inner = scaled(2.0)

class Model(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def call(self, x):
        return tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, inner(x)), (0, square(x)))[1]

model = Model()
model.call(tf.ones([3, 2]))
tf.saved_model.save(model, "saved", options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
model.call(tf.ones([4, 2]))
"""
    done = program(script, "-o", "rec")
    assert done.returncode == 0, done.stderr
    assert sites(program.folder / "rec")["square"]["calls"] >= 2
    load = """
import tensorflow as tf
x = tf.ones([3, 2])
with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.saved_model.load("saved").call(x)
print(y.numpy().sum(), tape.gradient(y, x).numpy().sum())
"""
    words = [sys.executable, "-c", load]
    loaded = subprocess.run(words, cwd=program.folder, capture_output=True, text=True, check=False)
    assert loaded.stdout.split() == ["24.0", "48.0"], loaded.stderr
    assert b"gradcheck" not in (program.folder / "saved" / "saved_model.pb").read_bytes()


def test_objects_that_cannot_be_pickled_and_nested_inputs(program):
    script = """
import threading
import tensorflow as tf

class Solver:
    def __init__(self):
        self.lock = threading.Lock()

def op(pair, solver):
    @tf.custom_gradient
    def inner(pair):
        a, b = pair
        with solver.lock:
            return a * b, lambda u: (u * b, u * a)
    return inner(pair)

solver = Solver()
op([tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])], solver)
"""
    done = program(script, "-o", "rec")
    assert sites(program.folder / "rec")["op.<locals>.inner"]["status"] == "passed", done.stdout


def test_a_step_that_is_straight_through_is_to_be_confirmed(program):
    script = """
import tensorflow as tf

@tf.custom_gradient
def rounded(x):
    return tf.round(x), lambda u: u

rounded(tf.constant([0.2, 1.7, -2.4]))
"""
    done = program(script, "-o", "rec")
    assert done.returncode == 0
    assert sites(program.folder / "rec")["rounded"]["verdict"].startswith("confirm: surrogate")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["nothing_like_this"], "there is no command 'nothing_like_this'"),
        (["gone.py"], "there is no file 'gone.py'"),
    ],
)
def test_a_command_that_does_not_exist_is_an_error_of_usage(program, command, said):
    done = program("", command=command)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_program_without_tensorflow_runs_as_it_is(program):
    done = program("print('hello')\nraise SystemExit(3)\n")
    assert done.stdout.startswith("hello\n")
    assert "nothing was recorded" in done.stdout
    assert done.returncode == 3


def test_a_disk_that_is_full_harms_nothing_and_is_told(program):
    script = """
import resource
import tensorflow as tf
from ops import scaled, square
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(float(square(tf.ones([3]))[0]), float(scaled(2.0)(tf.ones([3]))[0]))
"""
    done = program(script)
    assert done.stdout.startswith("1.0 2.0")
    assert "could not be written" in done.stdout
    assert "is the disk full?" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_what_tensorflow_wraps_and_registers_is_listed_by_the_users_function(program):
    script = """
import tensorflow as tf

@tf.recompute_grad
def block(x):
    return tf.sin(x) * x

@tf.RegisterGradient("Mine")
def mine(op, u):
    return u

through = tf.grad_pass_through(tf.round)
x = tf.constant([0.2, 1.7])
with tf.GradientTape() as tape:
    tape.watch(x)
    y = block(x) + through(x)
tape.gradient(y, x)
"""
    done = program(script, "-o", "rec")
    found = sites(program.folder / "rec")
    assert (found["block"]["how"], found["block"]["status"]) == ("recompute_grad", "passed"), done.stdout
    assert found["mine"]["how"] == "RegisterGradient"
    assert "registered for the op Mine" in found["mine"]["verdict"]
    assert done.returncode == 0


SUITE = """
import pytest
import tensorflow as tf
from ops import scaled, square

@pytest.mark.parametrize("n", [2, 3])
def test_square(n):
    assert float(square(tf.ones([n]))[0]) == 1.0

def test_wrong():
    @tf.custom_gradient
    def wrong(x):
        return x * x, lambda u: u * x
    wrong(tf.constant([1.0, 2.0]))
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_a_suite_of_pytest_is_recorded(program, workers):
    (program.folder / "test_ops.py").write_text(SUITE)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ops.py", *workers]
    done = program("", "-o", "rec", command=words)
    assert "3 passed" in done.stdout
    found = sites(program.folder / "rec")
    assert found["square"]["status"] == "passed"
    assert found["test_wrong.<locals>.wrong"]["status"] == "failed"
    assert done.returncode == 1


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_pytest_records_by_an_option_of_its_own(program, workers):
    (program.folder / "test_ops.py").write_text(SUITE)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ops.py", "--gradcheck-record=rec"]
    done = subprocess.run([*words, *workers], cwd=program.folder, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout
    assert "gradient-mismatch/constant-factor [x]" in done.stdout
    assert done.returncode == 1
    assert sites(program.folder / "rec")["square"]["status"] == "passed"


def test_time_is_bounded_by_a_limit_for_each_check(program):
    script = """
import time
import tensorflow as tf

def make():
    @tf.custom_gradient
    def slow(x):
        time.sleep(0.3)
        return x, lambda u: u
    return slow

make()(tf.ones([2]))
"""
    started = time.monotonic()
    done = program(script, "-o", "rec", "--timeout", "1")
    assert sites(program.folder / "rec")["make.<locals>.slow"]["status"] in ("passed", "errored"), done.stdout
    assert time.monotonic() - started < 60

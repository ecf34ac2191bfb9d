"""What a trusted tool promises: the named file is checked, nothing acts on a log, nothing passes silently."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

WRONG = "@tf.custom_gradient\ndef square(x):\n    return x * x, lambda u: tf.convert_to_tensor(u) * 7.0 * x\n"
CASE = "cases:\n  square: {inputs: {x: {shape: [4]}}}\n"


@pytest.mark.parametrize("path", ["keras/ops.py", "six/moves.py", "lib/tensorflow/math.py"])
def test_the_file_that_is_named_is_checked_though_its_name_is_taken(run_cli, tmp_path, path):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").write_text("")
    file.write_text("import tensorflow as tf\n\n" + WRONG)
    (tmp_path / "spec.yaml").write_text(f"module: {path}\n{CASE}")
    outcome = run_cli("run", tmp_path / "spec.yaml", "--mode", "eager")
    assert outcome.code == 1
    assert "gradient / reference = 3.5" in outcome.out


def test_a_module_that_puts_something_in_its_own_place_is_respected(run_cli, write_spec):
    ops = (
        WRONG.replace("7.0", "2.0")
        + "import sys, types\nsys.modules[__name__] = types.SimpleNamespace(square=square)\n"
    )
    assert run_cli("run", write_spec("module: ops.py\n" + CASE, ops + "del square\n"), "--mode", "eager").code == 0


def test_text_of_a_spec_is_no_command_of_a_ci_log(run_cli, write_spec):
    hostile = r'"see below\n::stop-commands::x\n::add-mask::e"'
    spec = write_spec(
        f"module: ops.py\ncases:\n  op: {{skip: {hostile}, inputs: {{x: {{shape: [2]}}}}}}\n", "op = tf.sin\n"
    )
    lines = run_cli("run", spec, "--format", "github").out.splitlines()
    token = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", lines[0]).group(1)
    end = lines.index(f"::{token}::")
    assert not [line for line in lines[1:end] if line.lstrip().startswith("::")]
    assert not [line for line in lines[end + 1 :] if "stop-commands" in line or "add-mask" in line]


def test_failures_of_names_that_differ_are_saved_apart(run_cli, write_spec, tmp_path):
    spec = write_spec(
        "module: ops.py\ndefaults: {modes: [eager]}\ncases:\n  größe: {op: square, inputs: {x: {shape: [3]}}}\n"
        "  grüße: {op: square, inputs: {x: {shape: [3]}}}\n",
        WRONG,
    )
    run_cli("run", spec, "--save-failures", tmp_path / "kept")
    saved = sorted((tmp_path / "kept").glob("*/spec.yaml"))
    assert len(saved) == 2
    for path in saved:
        assert run_cli("run", path).code == 1


BUDGET = """
def budget(n):
    left = [n]

    @tf.custom_gradient
    def op(x):
        def grad(u):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("handle is exhausted")
            return tf.convert_to_tensor(u) * 2.0 * x

        return x * x, grad

    return op
"""


def test_an_op_that_is_used_up_at_any_call_is_stale_state(run_cli, write_spec):
    cases = "".join(
        f"  at_{k}: {{op: budget, build: {{n: {k}}}, inputs: {{x: {{shape: [3]}}}}}}\n" for k in range(2, 24)
    )
    report = run_cli(
        "run", write_spec(f"module: ops.py\ncases:\n{cases}", BUDGET), "-j", "2", "--format", "json"
    ).report
    found = {case["case"]: [f["code"] for f in case["findings"] if f["level"] == "error"] for case in report["cases"]}
    assert found == {f"at_{k}": ["stale-state"] for k in range(2, 24)}


RAISES_ONCE = """
import pathlib


def once(k, where):
    calls = [0]

    def count(place):
        calls[0] += place == where
        if place == where and calls[0] == k:
            pathlib.Path(__file__).with_name(f"{where}_{k}.raised").touch()
            raise RuntimeError("once")

    @tf.custom_gradient
    def op(x):
        count("forward")

        def grad(u):
            count("backward")
            return tf.convert_to_tensor(u) * 2.0 * x

        return x * x, grad

    return op
"""


# Of the later calls every seventh, a number that no group of calls has.
CALLS = (*range(1, 13), *range(13, 61, 7))


def test_an_op_that_raises_in_any_one_of_its_calls_does_not_pass(run_cli, write_spec, tmp_path):
    cases = "".join(
        f"  {where}_{k}: {{op: once, build: {{k: {k}, where: {where}}}, inputs: {{x: {{shape: [3]}}}}}}\n"
        for where in ("forward", "backward")
        for k in CALLS
    )
    spec = write_spec(f"module: ops.py\ncases:\n{cases}", RAISES_ONCE)
    report = run_cli("run", spec, "-j", "2", "--format", "json").report
    raised = {path.stem for path in Path(spec).parent.glob("*.raised")}
    found = {case["case"]: {f["code"] for f in case["findings"] if f["level"] == "error"} for case in report["cases"]}
    assert len(raised) > len(CALLS)
    assert not [name for name in raised if not found[name]]
    # In the first few calls nothing else is known yet.
    early = {f"{where}_{k}" for where in ("forward", "backward") for k in range(1, 5)}
    assert not [name for name in raised - early if "stale-state" not in found[name]]
    assert not [name for name in found if name not in raised and found[name]]


def test_a_backward_pass_that_uses_up_the_forward_is_stale_state(run_cli, write_spec):
    ops = """
slot = []


@tf.custom_gradient
def op(x):
    slot[:] = [1]

    def grad(u):
        if not slot:
            raise RuntimeError("the buffer was given back")
        slot.clear()
        return tf.convert_to_tensor(u) * 2.0 * x

    return x * x, grad
"""
    out = run_cli("run", write_spec("module: ops.py\ncases:\n  op: {inputs: {x: {shape: [3]}}}\n", ops)).out
    assert "stale-state" in out
    assert "second backward pass" in out


def test_copies_that_an_op_forks_are_ended(run_cli, write_spec):
    ops = "import os\n\n\ndef op(x):\n    os.fork()\n    return x * x\n"
    outcome = run_cli("run", write_spec("module: ops.py\ncases:\n  op: {inputs: {x: {shape: [3]}}}\n", ops))
    assert outcome.code == 1
    assert "the op forks the process" in outcome.out


@pytest.mark.parametrize(
    "text",
    [
        "cases: {op: {inputs: {x: {shape: [0x" + "f" * 5000 + "]}}}}",
        "cases: {op: {timeout: 1" + "0" * 400 + ", inputs: {x: {shape: [3]}}}}",
        "cases: {op: {rtol: 1" + "0" * 400 + ", inputs: {x: {shape: [3]}}}}",
        'cases: {"op\\n": {inputs: {x: {shape: [2]}}}}',
        "cases:\n" + "".join(f"  ? &a{i} [{'*a' + str(i - 1) if i else 'x'}]\n  : 1\n" for i in range(300)),
    ],
    ids=["hex", "timeout", "rtol", "newline", "aliases"],
)
def test_no_spec_ends_in_a_fault(run_cli, write_spec, text):
    outcome = run_cli("validate", write_spec("module: ops.py\n" + text))
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_an_array_of_infinite_shape_is_refused(run_cli, write_spec, tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1e999,), }"
    (tmp_path / "inf.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert run_cli("validate", write_spec("module: ops.py\ncases: {op: {inputs: {x: {file: inf.npy}}}}")).code == 2


def test_checks_in_two_threads_leave_tensorflow_as_it_was():
    import tensorflow as tf

    import gradcheck

    def make():
        @tf.custom_gradient
        def right(x):
            return x * x, lambda u: tf.convert_to_tensor(u) * 2.0 * x

        return right

    before, out = tf.custom_gradient, []
    threads = [
        threading.Thread(target=lambda n=n: out.append(gradcheck.check(make(), {"x": np.ones(n, np.float32)}).status))
        for n in (3, 300)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == ["passed", "passed"]
    assert tf.custom_gradient is before


def test_a_frozen_clock_is_no_fault(monkeypatch):
    import time

    import tensorflow as tf

    import gradcheck

    for name in ("time", "perf_counter", "monotonic"):
        monkeypatch.setattr(time, name, lambda: 1.7e9)
    assert gradcheck.check(lambda x: tf.sin(x), {"x": {"shape": [3]}}).status == "passed"


def test_inside_a_graph_the_error_says_so():
    import tensorflow as tf

    import gradcheck

    with tf.Graph().as_default(), pytest.raises(RuntimeError, match=r"outside of tf\.Graph"):
        gradcheck.check(tf.sin, {"x": {"shape": [3]}})


@pytest.mark.parametrize("variable", ["TF_USE_LEGACY_KERAS=1", "KERAS_BACKEND=jax"])
def test_ops_without_keras_are_checked_where_keras_cannot_be_imported(write_spec, variable):
    import os

    spec = write_spec("module: ops.py\n" + CASE, WRONG.replace("7.0", "2.0"))
    name, _, value = variable.partition("=")
    command = [sys.executable, "-m", "gradcheck", "run", str(spec), "--mode", "eager"]
    assert subprocess.run(command, env={**os.environ, name: value}, capture_output=True).returncode == 0


SLOW = """
import os, time
import tensorflow as tf
STARTED = os.environ["STARTED"]

def op(x):
    if tf.executing_eagerly() and not os.path.exists(STARTED):
        open(STARTED, "w").close()
        time.sleep(3)
    return x * x
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals that stop a process")
def test_a_pause_of_the_run_is_no_timeout(write_spec, tmp_path):
    spec = write_spec("module: ops.py\ncases:\n  op: {inputs: {x: {shape: [3]}}}\n", SLOW)
    begun = tmp_path / "begun"
    command = [sys.executable, "-m", "gradcheck", "run", str(spec), "--timeout", "8", "--mode", "eager"]
    process = subprocess.Popen(
        command, env={**os.environ, "STARTED": str(begun)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not begun.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        time.sleep(10)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, out


def test_findings_of_an_installed_package_name_file_and_line(tmp_path):
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    package = site / "installedops"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "ops.py").write_text("def op(x):\n    raise ValueError('not for these')\n")
    (tmp_path / "spec.yaml").write_text("module: installedops.ops\ncases:\n  op: {inputs: {x: {shape: [3]}}}\n")
    command = [sys.executable, "-m", "gradcheck", "run", str(tmp_path / "spec.yaml"), "--mode", "eager"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not for these (ops.py:2)" in " ".join(done.stdout.split())


NAPPING = """
import time
import tensorflow as tf

def nap(x):
    time.sleep(0.1)
    return x

@tf.custom_gradient
def op(x):
    y = tf.sin(tf.numpy_function(nap, [x], x.dtype))
    y.set_shape(x.shape)
    return y, lambda u: tf.convert_to_tensor(u) * tf.cos(x)
"""


def test_a_slow_op_is_judged_by_what_there_was_time_for(run_cli, write_spec):
    spec = write_spec("module: ops.py\ncases:\n  op: {modes: [eager], inputs: {x: {shape: [3]}}}\n", NAPPING)
    outcome = run_cli("run", spec, "--timeout", "14", "--format", "json")
    (case,) = json.loads(outcome.out)["cases"]
    assert case["status"] == "passed", case
    assert ("other sites", "no time left (`timeout`)") in {(s["name"], s["reason"]) for s in case["skipped_checks"]}

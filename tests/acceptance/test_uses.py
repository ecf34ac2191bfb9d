"""Every way in which TensorFlow uses a gradient, and what it costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rates.uses import rows

FOLDER = Path(__file__).parents[1]


def checked(run_cli, *args):
    told = run_cli("run", *args, "--format", "json")
    return {case["case"]: case for case in json.loads(told.out)["cases"]}


def test_each_use_of_each_op_shows_what_is_expected():
    assert [(case, use, wanted, seen) for case, use, wanted, seen in rows(2) if wanted != seen] == []


@pytest.mark.parametrize("spec", ["uses/mirrored", "uses/registered", "uses/others", "expectation/spec"])
def test_right_ones_pass_and_wrong_ones_get_their_code(run_cli, spec):
    found = checked(run_cli, FOLDER / f"{spec}.yaml", "-j", "2")
    assert {name: case["findings"] for name, case in found.items() if case["status"] != "passed"} == {}


def test_a_declared_gradient_that_a_use_does_not_run_is_an_error(run_cli):
    case = checked(run_cli, f"{FOLDER / 'uses/spec.yaml'}::reversed_gradient", "--mode", "forward")["reversed_gradient"]
    (finding,) = [f for f in case["findings"] if f["code"] == "rule-bypassed"]
    assert (finding["level"], finding["mode"]) == ("error", "forward")
    assert case["status"] == "failed"


def test_the_line_of_a_registered_gradient_is_named(run_cli):
    case = checked(run_cli, f"{FOLDER / 'uses/registered.yaml'}::registered_doubled")["registered_doubled"]
    assert case["findings"][0]["source"]["text"] == "return 2.0 * up * tf.cos(op.inputs[0])"


def test_the_line_that_stops_a_gradient_is_named(run_cli):
    case = checked(run_cli, f"{FOLDER / 'uses/others.yaml'}::rounded_inside")["rounded_inside"]
    (finding,) = case["findings"]
    assert "tf.round" in finding["message"]
    assert "layers.Lambda(lambda x: tf.round(x))" in finding["source"]["text"]


KERNEL = """
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

using namespace tensorflow;

REGISTER_OP("GradcheckTwice").Input("x: float").Output("y: float")
    .SetShapeFn([](shape_inference::InferenceContext* c) { c->set_output(0, c->input(0)); return absl::OkStatus(); });

class Twice : public OpKernel {
 public:
  explicit Twice(OpKernelConstruction* context) : OpKernel(context) {}
  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, x.shape(), &y));
    for (int64_t i = 0; i < x.NumElements(); ++i) y->flat<float>()(i) = 2.0f * x.flat<float>()(i) + 1.0f;
  }
};
REGISTER_KERNEL_BUILDER(Name("GradcheckTwice").Device(DEVICE_CPU), Twice);
"""
TWICE = """
LIBRARY = tf.load_op_library({library!r})

@tf.RegisterGradient("GradcheckTwice")
def slope(op, up):
    return {factor} * up

def twice(x):
    return LIBRARY.gradcheck_twice(x=x)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Compile an op of its own with the flags that TensorFlow names; return the file."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "twice.cc").write_text(KERNEL)
    code = "import tensorflow as tf; print(*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags())"
    flags = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    command = [compiler, "-shared", "-fPIC", "-O0", "-o", "twice.so", "twice.cc", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return str(folder / "twice.so")


@pytest.mark.parametrize(("factor", "codes"), [(2.0, []), (3.0, ["gradient-mismatch"])])
def test_an_op_that_is_compiled_from_c_is_checked_by_its_registered_gradient(
    run_cli, write_spec, library, factor, codes
):
    spec = write_spec(
        "module: ops.py\ncases: {twice: {modes: [eager, function], inputs: {x: {shape: [5]}}}}\n",
        TWICE.format(library=library, factor=factor),
    )
    case = checked(run_cli, spec)["twice"]
    assert [f["code"] for f in case["findings"] if f["level"] == "error"] == codes
    assert all(f["source"]["text"] == "return 3.0 * up" for f in case["findings"])


def test_mode_all_runs_every_mode(run_cli, write_spec):
    spec = write_spec(
        "module: ops.py\ncases: {op: {modes: all, inputs: {x: {shape: [3]}}}}\n", "def op(x):\n    return tf.sin(x)\n"
    )
    modes = {comparison["mode"] for comparison in checked(run_cli, spec)["op"]["comparisons"]}
    assert modes == {"eager", "function", "xla", "forward", "vectorized", "saved"}
    assert modes == {c["mode"] for c in checked(run_cli, spec, "--mode", "all")["op"]["comparisons"]}


def test_a_use_alone_is_compared_with_eager(run_cli):
    case = checked(run_cli, f"{FOLDER / 'uses/spec.yaml'}::right", "--mode", "vectorized")["right"]
    assert case["status"] == "passed"
    assert {c["check"] for c in case["comparisons"]} >= {"tape.jacobian", "tf.vectorized_map", "tf.map_fn"}


def test_costs_are_told_for_every_mode_and_size(run_cli, write_spec):
    ops = (FOLDER / "uses/ops.py").read_text()
    spec = write_spec(
        "module: ops.py\ncases: {costly: {inputs: {x: {shape: [100, 20]}}, cost: {sizes: [1000]}}}\n", ops
    )
    case = checked(run_cli, spec)["costly"]
    assert {(cost["way"], cost["rows"]) for cost in case["cost"]} == {
        (way, rows) for way in ("eager", "function", "xla") for rows in (100, 1000)
    }
    assert all(cost["forward_s"] > 0 and cost["gradient_s"] > 0 and cost["autodiff_s"] > 0 for cost in case["cost"])
    told = run_cli("run", spec, "--cost")
    assert "cost eager, 100 rows: " in told.out
    assert "slower" in told.out


def test_the_mean_of_a_random_gradient_is_told_with_its_variance(run_cli):
    case = checked(run_cli, f"{FOLDER / 'expectation/spec.yaml'}::thinned")["thinned"]
    assert any(note.startswith("expectation over 1000 draws: largest bias") for note in case["notes"])
    assert [c["check"] for c in case["comparisons"]] == ["expectation"]

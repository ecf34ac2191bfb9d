"""Every finding points to a line of the user's file."""

from __future__ import annotations

import pytest

OPS = """
@tf.custom_gradient
def product(x, y):
    def grad(u):
        return (
            u * y,
            u * x * 1.5,
        )

    return x * y, grad


@tf.custom_gradient
def inner(x):
    return tf.sin(x), lambda u: u * tf.sin(x)


def outer(x):
    return 2.0 * inner(x)


@tf.custom_gradient
def raises(x):
    def grad(u):
        raise ValueError("mine")

    return x * x, grad


class Hidden(tf.keras.layers.Layer):
    def build(self, shape):
        self.kernel = [tf.Variable(tf.ones(shape[-1:]))][0]
        self.hidden = {"w": tf.Variable(2.0)}

    def call(self, x):
        return x * self.hidden["w"]


def plain(x):
    return tf.cast(tf.cast(x, tf.int32), tf.float32) * x
"""
CASES = {
    "product": ("gradient-mismatch", "u * x * 1.5,"),
    "outer": ("gradient-mismatch", "return tf.sin(x), lambda u: u * tf.sin(x)"),
    "raises": ("gradient-error", 'raise ValueError("mine")'),
}


@pytest.fixture
def report(run_cli, write_spec):
    body = "".join(f"  {name}: {{inputs: {{x: {{shape: [3]}}}}}}\n" for name in ("outer", "raises"))
    spec = "module: ops.py\ncases:\n  product: {inputs: {x: {shape: [3]}, y: {shape: [3]}}}\n" + body
    path = write_spec(spec, OPS)
    return lambda *args: run_cli("run", path, *args)


def test_the_line_is_the_one_that_returns_the_wrong_gradient(report):
    for case in report("--format", "json").report["cases"]:
        code, text = CASES[case["case"]]
        (finding,) = [f for f in case["findings"] if f["code"] == code]
        assert finding["source"]["text"] == text
        assert finding["source"]["file"].endswith("ops.py")
        assert finding["file"] == finding["source"]["file"]


def test_the_upstream_stands_beside_the_elements(report):
    (case,) = [c for c in report("--format", "json").report["cases"] if c["case"] == "product"]
    (finding,) = [f for f in case["findings"] if f["code"] == "gradient-mismatch"]
    for element in finding["elements"]:
        assert element["upstream"] is not None
        assert abs(element["upstream"]) > 0


def test_concise_output_is_one_line_per_error(report):
    told = report("--output", "concise")
    lines = [line for line in told.out.splitlines() if line.strip()]
    assert len(lines) == 4
    assert lines[0].endswith("spec.yaml::product")
    assert ":9: gradient-mismatch/constant-factor [y] " in lines[0]
    assert lines[-1].startswith("2 failed, 1 errored") or lines[-1].startswith("3 ")


def test_an_annotation_stands_at_the_line(report):
    told = report("--format", "github")
    assert "ops.py,line=9,title=product" in told.out


def test_quiet_is_one_line_per_failure(report):
    lines = [line for line in report("-q").out.splitlines() if line.strip()]
    assert [line.split()[0] for line in lines[:3]] == ["FAIL", "FAIL", "ERROR"]
    assert len(lines) == 4

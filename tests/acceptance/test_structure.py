"""What a case adds up to: every dtype and sample of its own, where a finding was seen, what did not run and why."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import gradcheck

X = np.array([12.0, 1.0, 2.0], np.float32)


@tf.custom_gradient
def overflowing_then_doubled(x):
    """Overflows in half precision only; in single precision the gradient has the factor 2."""
    y = tf.exp(-x)

    def grad(upstream):
        if x.dtype == tf.float16:
            return -upstream * y * (tf.exp(x) / tf.exp(x))
        return -2.0 * upstream * y

    return y, grad


def labels(result):
    return {(f.label, f.dtype) for f in result.findings if f.level == "error"}


@pytest.mark.parametrize("dtypes", [["float16", "float32"], ["float32", "float16"]])
def test_findings_of_one_dtype_do_not_silence_another(dtypes):
    result = gradcheck.check(overflowing_then_doubled, {"x": X}, dtypes=dtypes, modes=["eager"])
    assert labels(result) == {("gradient-nonfinite", "float16"), ("gradient-mismatch/constant-factor", "float32")}


def test_an_expectation_is_judged_on_all_dtypes_together():
    options = {"dtypes": ["float16", "float32"], "modes": ["eager"]}
    one = gradcheck.check(overflowing_then_doubled, {"x": X}, expect=["gradient-nonfinite"], **options)
    both = gradcheck.check(
        overflowing_then_doubled, {"x": X}, expect=["gradient-nonfinite", "gradient-mismatch"], **options
    )
    assert (one.status, both.status) == ("failed", "passed")


@tf.custom_gradient
def tripled(x):
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 3.0 * x


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"modes": ["xla"], "tapes": ["inside"]}, ("xla", "inside")),
        ({"modes": ["function"], "tapes": ["outside"]}, ("function", "outside")),
        ({"modes": ["eager", "xla"]}, ("eager", None)),
    ],
)
def test_a_finding_names_the_mode_that_ran(options, seen):
    result = gradcheck.check(tripled, {"x": X}, **options)
    (finding,) = [f for f in result.findings if f.level == "error"]
    assert (finding.mode, finding.tape) == seen
    assert finding.device == "cpu:0"
    assert finding.dtype == "float32"


def wave(limit):
    @tf.custom_gradient
    def op(x):
        slope = tf.where(tf.abs(x) < limit, tf.cos(x), 0.0)
        return tf.sin(x), lambda upstream: tf.convert_to_tensor(upstream) * slope

    return op


@pytest.mark.parametrize("seed", [0, 1])
def test_an_exempt_point_far_out_excuses_no_other(seed):
    result = gradcheck.check(wave(20.0), {"x": {"shape": [4]}}, seed=seed, modes=["eager"])
    assert [f.label for f in result.findings if f.level == "error"] == ["gradient-mismatch/region"]


@tf.custom_gradient
def noisy(x):
    keep = tf.cast(tf.random.uniform(tf.shape(x)) < 0.7, x.dtype)
    return x * keep, lambda upstream: tf.convert_to_tensor(upstream) * keep


def test_checks_that_did_not_run_say_why():
    result = gradcheck.check(noisy, {"x": {"shape": [6]}})
    assert result.status == "passed"
    reasons = {s.name: s.reason for s in result.skipped_checks}
    assert reasons["unknown sizes"] == "the op draws random numbers"
    assert reasons["other values"] == "the op draws random numbers"
    assert reasons["second order"] == "the case does not say `order: 2`"
    assert reasons["modes: values and gradients"] == "the op draws random numbers"


def test_after_a_decisive_finding_the_others_name_it():
    @tf.custom_gradient
    def random_rule(x):
        return x * 1.0, lambda upstream: tf.convert_to_tensor(upstream) * float(np.random.normal())

    result = gradcheck.check(random_rule, {"x": {"shape": [3]}})
    assert {s.reason for s in result.skipped_checks if s.name == "slopes"} == {"nondeterministic was found before"}


def test_exemptions_are_listed_with_their_number_of_elements():
    @tf.custom_gradient
    def root(x):
        y = tf.sqrt(x)
        return y, lambda upstream: 0.5 * upstream / y

    result = gradcheck.check(root, {"x": np.array([-1.0, 2.0, 3.0], np.float32)})
    assert result.status == "passed"
    (exempted,) = result.exemptions
    assert (exempted.reason, exempted.check, exempted.elements) == (
        "the element reaches an output that is no number",
        "slopes",
        1,
    )
    (finding,) = [f for f in result.findings if f.code == "forward-nonfinite"]
    assert "`domain: [0, .inf]` to `x`" in finding.hint


def test_json_and_console_show_what_was_skipped_and_exempt(run_cli, write_spec):
    ops = "@tf.custom_gradient\ndef root(x):\n    y = tf.sqrt(x)\n    return y, lambda u: 0.5 * u / y\n"
    spec = write_spec("module: ops.py\ncases:\n  root: {inputs: {x: [-1.0, 2.0, 3.0]}}\n", ops)
    case = run_cli("run", spec, "--format", "json").report["cases"][0]
    assert {"name", "reason"} <= set(case["skipped_checks"][0])
    assert case["exemptions"] == [
        {"reason": "the element reaches an output that is no number", "check": "slopes", "elements": 1}
    ]
    shown = run_cli("run", spec, "-v").out
    assert "exempt in slopes: 1 element: the element reaches an output that is no number" in shown
    assert "second order" in shown.split("skipped, not asked for")[1]
    assert "the case does not say `order: 2`" in run_cli("run", spec, "-vv").out
    assert "skipped" not in run_cli("run", spec).out

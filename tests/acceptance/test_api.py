"""Gradients checked from Python, in this process, beside other tests."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

import gradcheck
from gradcheck.errors import SpecError

tf = pytest.importorskip("tensorflow")


@tf.custom_gradient
def cube(x):
    return x**3, lambda u: tf.convert_to_tensor(u) * 3.0 * x**2


@tf.custom_gradient
def scaled_product(x, y):
    def grad(u):
        u = tf.convert_to_tensor(u)
        return u * y * 1.01, u * x

    return x * y, grad


@tf.custom_gradient
def rounded(x):
    return tf.round(x), lambda u: u


def nested(pair):
    return tf.reduce_sum(scaled_product(pair["a"], pair["b"]))


class InATestCase(tf.test.TestCase):
    def test_a_right_gradient_passes(self):
        gradcheck.assert_gradients(cube, {"x": tf.constant([1.0, 2.0, 3.0])}, order=2)


def test_inputs_are_arrays_or_what_a_spec_says():
    gradcheck.assert_gradients(cube, {"x": {"shape": [3, 2]}})
    gradcheck.assert_gradients(cube, [np.linspace(-1, 1, 6).reshape(2, 3)])
    gradcheck.assert_gradients(cube, [1.5])
    gradcheck.assert_gradients(tf.keras.layers.Dense(3), [tf.ones((2, 4))])


def test_the_message_of_a_failure_is_the_table():
    with pytest.raises(AssertionError) as failure:
        gradcheck.assert_gradients(scaled_product, {"x": np.ones(3, np.float32), "y": [1.0, 2.0, 3.0]})
    text = str(failure.value)
    assert "gradient-mismatch/constant-factor [x]" in text
    assert "finite diff" in text
    assert "[y]" not in text


def test_a_decorated_function_that_another_calls_is_seen_through():
    result = gradcheck.check(nested, [{"a": tf.constant([1.0, 2.0]), "b": tf.constant([2.0, 3.0])}])
    assert result.status == "failed"
    assert result.findings[0].wrt == "pair.a"
    assert type(scaled_product).__module__.startswith("tensorflow")


def test_functions_stand_for_the_words_of_a_spec():
    gradcheck.assert_gradients(rounded, [np.linspace(0.1, 2, 7)], surrogate=lambda x: x, reason="straight through")
    result = gradcheck.check(rounded, [np.linspace(0.1, 2, 7)], expect=["gradient-mismatch/straight-through"])
    assert result.status == "passed"


def test_the_random_state_is_left_as_it_was():
    def state():
        tf.random.set_seed(3)
        return random.random(), np.random.rand(), float(tf.random.uniform([]))

    random.seed(1)
    np.random.seed(1)
    first = state()
    random.seed(1)
    np.random.seed(1)
    tf.random.set_seed(3)
    before = tf.custom_gradient
    gradcheck.check(lambda x: tf.nn.dropout(x, 0.5), {"x": tf.ones(8)})
    assert (random.random(), np.random.rand(), float(tf.random.uniform([]))) == first
    assert tf.custom_gradient is before


def test_ctrl_c_ends_a_check_in_the_same_process():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gradcheck.check(interrupted, [1.0])


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="must be a function or a layer, is NoneType"):
        gradcheck.check(None, [1.0])


def test_a_misspelt_option_is_named():
    with pytest.raises(SpecError, match="did you mean `surrogate`"):
        gradcheck.check(cube, [1.0], surogate=cube)


def test_a_spec_is_asserted(tmp_path):
    (tmp_path / "ops.py").write_text("import tensorflow as tf\n\nf = tf.sin\ng = tf.round\n")
    (tmp_path / "s.yaml").write_text("module: ops.py\ncases:\n  f: {inputs: {x: {shape: [2]}}}\n")
    gradcheck.assert_spec(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("module: ops.py\ncases:\n  h: {inputs: {x: {shape: [2]}}}\n")
    with pytest.raises(AssertionError, match="there is no `h`"):
        gradcheck.assert_spec(tmp_path / "s.yaml")


def test_a_script_without_a_main_guard_is_not_run_again_by_the_cases(tmp_path):
    (tmp_path / "ops.py").write_text("import tensorflow as tf\n\ndef op(x):\n    return tf.sin(x)\n")
    (tmp_path / "spec.yaml").write_text("module: ops.py\ncases: {op: {inputs: {x: {shape: [3]}}}}\n")
    (tmp_path / "script.py").write_text(
        "import gradcheck\nprint('once')\ngradcheck.assert_spec('spec.yaml')\nprint('right')\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["once", "right"], done.stderr


def test_a_tf_function_that_was_called_before_is_seen_through():
    @tf.custom_gradient
    def inner(x):
        return tf.sin(x), lambda u: u * tf.cos(x) * tf.where((x > 5.0) & (x < 6.0), 1.3, 1.0)

    op = tf.function(inner)
    op(tf.ones([4, 3]))
    result = gradcheck.check(op, {"x": {"shape": [4, 3]}})
    assert [(f.code, f.cause) for f in result.findings if f.level == "error"] == [("gradient-mismatch", "region")]


def test_one_tensor_a_list_a_tuple_or_a_mapping_are_inputs():
    x = tf.constant([1.0, 2.0, 3.0])
    for given in (x, [x], (x,), {"x": x}, np.ones(3, np.float32)):
        assert gradcheck.check(cube, given)
    assert gradcheck.check(scaled_product, (x, x)).findings[0].wrt == "x"


def test_a_result_is_the_verdict():
    right = gradcheck.check(cube, tf.constant([1.0, 2.0]))
    wrong = gradcheck.check(scaled_product, {"x": {"shape": [3]}, "y": {"shape": [3]}})
    assert right
    assert right.passed
    assert not wrong
    assert not wrong.passed
    assert "finite diff" in str(wrong)
    assert "\n" not in repr(wrong)
    assert "constant-factor" in repr(wrong)
    assert "<table>" in wrong._repr_html_()


def test_dtypes_are_named_as_tensorflow_and_numpy_name_them():
    assert gradcheck.check(cube, {"x": {"shape": [3], "dtype": tf.float64}})
    assert gradcheck.check(cube, {"x": {"shape": [3], "dtype": np.float64}}, dtypes=[tf.float32, tf.float64])


def test_python_objects_are_handed_to_the_op_as_they_are():
    class Solver:
        power = 2

    def solved(x, solver, axis):
        @tf.custom_gradient
        def inner(x):
            return tf.reduce_sum(x**solver.power, axis), lambda u: tf.expand_dims(u, axis) * solver.power * x

        return inner(x)

    assert gradcheck.check(solved, (tf.ones([2, 3]), Solver(), 0))


def test_what_is_wrong_with_an_argument_is_said_of_the_argument():
    with pytest.raises(ValueError, match=r"^gradcheck.check: inputs\['x'\]: dtype: 'flaot32'.*did you mean `float32`"):
        gradcheck.check(cube, {"x": {"shape": [3], "dtype": "flaot32"}})
    with pytest.raises(ValueError, match=r"^gradcheck.check: inputs\['x'\]: shap: .*did you mean `shape`"):
        gradcheck.check(cube, {"x": {"shap": [3]}})
    with pytest.raises(ValueError, match=r"^gradcheck.check: samples: must be at least 1, is 0"):
        gradcheck.check(cube, tf.ones(3), samples=0)


def test_a_case_that_says_skip_is_skipped():
    result = gradcheck.check(cube, tf.ones(3), skip="the rule is rewritten")
    assert (result.status, result.reason) == ("skipped", "the rule is rewritten")


def test_nothing_compared_is_no_pass():
    with pytest.raises(AssertionError, match="nothing was compared"):
        gradcheck.assert_gradients(lambda x: tf.cast(x, tf.float32), {"x": {"shape": [3], "dtype": "int32"}})
    with pytest.raises(AssertionError, match="nothing was compared"):
        gradcheck.assert_gradients(cube, {"x": {"shape": [0, 3]}})


def test_the_package_shows_what_there_is():
    assert {"check", "assert_gradients", "assert_spec", "CheckResult"} <= set(dir(gradcheck))
    assert "annotations" not in dir(gradcheck)

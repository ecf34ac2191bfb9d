"""What beginners type by mistake is answered with what to type."""

from __future__ import annotations

import pytest

OPS = """
import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda up: tf.convert_to_tensor(up) * 2.0 * x


@tf.custom_gradient
def printing(x):
    tf.print("here", x)
    return x * x, lambda up: tf.convert_to_tensor(up) * 2.0 * x


def strings(x, s):
    return x * tf.cast(tf.strings.length(s), tf.float32)


def take(table, ids):
    return tf.gather(table, ids)


class Dense(tf.keras.layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w")

    def call(self, x):
        return x @ self.w
"""
X = "inputs: {x: {shape: [4, 3]}}"


def told(run_cli, write_spec, case, *options):
    found = run_cli("run", write_spec(f"module: ops.py\ncases:\n  {case}\n", OPS), *options)
    assert found.code in (1, 2, 5)
    assert "Traceback" not in found.err
    return found.out + found.err


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        (f"Dense: {{{X}}}", "add `build: {units: 3}`"),
        (f"Dense: {{build: {{unit: 3}}, {X}}}", "did you mean `build: {units: 3}`?"),
        ("take: {inputs: {table: {shape: [5, 3]}, ids: [0.0, 1.0]}}", "give it `dtype: int32`"),
        (f"square: {{skip: true, {X}}}", 'say why: `skip: "needs a GPU"`'),
        ("square: {inputs: {x: {shape: [None, 3]}}}", "write a number"),
        ("square: {inputs: {x: {shape: 3}}}", "write `shape: [3]`"),
        ("square: {inputs: {x: {shape: [3], uniform: [0, 1]}}}", "write `uniform: {low: 0, high: 1}`"),
        ("square: {inputs: {x: {shape: [3], domain: [0, inf]}}}", "write `.inf`"),
        (f"square: {{modes: eager, {X}}}", "'eager' is not one of all"),
        (f"square: {{tags: slow, {X}}}", "write `tags: [slow]`"),
        (f"printing: {{{X}}}", "leave it out with `modes: [eager, function]`"),
        ("strings: {inputs: {x: {shape: [3]}, s: [a, b, c]}}", "leave it out with `modes: [eager, function]`"),
        (f"square: {{expect: [gradient-mismatch], {X}}}", "delete it from `expect` at "),
        ("- {name: square, inputs: {x: 1.0}}", "the name of a case is its key"),
    ],
)
def test_a_spec_that_is_nearly_right_is_answered_with_what_to_write(run_cli, write_spec, case, answer):
    assert answer in told(run_cli, write_spec, case)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (("-k", "sqare"), "did you mean `square`?"),
        (("-k", "zzz"), "the cases are square"),
        (("--tag", "slow"), "the tags are fast"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(run_cli, write_spec, options, answer):
    assert answer in told(run_cli, write_spec, f"square: {{tags: [fast], {X}}}", *options)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("spec.yaml",), "did you mean `gradcheck run spec.yaml`?"),
        (("rnu",), "did you mean `gradcheck run`?"),
        (("explain", "constnt-factor"), "did you mean `gradient-mismatch/constant-factor`?"),
        (("explain", "shap"), "did you mean `shape`?"),
    ],
)
def test_a_command_that_is_nearly_right_is_answered_with_the_right_one(run_cli, words, answer):
    found = run_cli(*words)
    assert found.code == 2
    assert answer in found.err


@pytest.mark.parametrize("word", ["constant-factor", "gradient-mismatch", "domain", "expect", "module"])
def test_findings_causes_and_keys_are_explained(run_cli, word):
    found = run_cli("explain", word)
    assert found.code == 0
    assert any(part in found.out for part in ("example:", "wrong:", "what to do:"))


def test_a_module_that_lies_elsewhere_is_found(run_cli, write_spec, tmp_path):
    write_spec("module: ops.py\ncases: {square: {inputs: {x: 1.0}}}", OPS)
    inner = tmp_path / "specs"
    inner.mkdir()
    for module, near in (("ops.py", "../ops.py"), ("../op.py", "../ops.py")):
        (inner / "spec.yaml").write_text(f"module: {module}\ncases: {{square: {{inputs: {{x: 1.0}}}}}}\n")
        found = run_cli("run", inner / "spec.yaml")
        assert found.code == 2
        assert near in found.err or module == "../op.py"


def test_the_line_that_python_cannot_read_is_shown_with_a_caret(run_cli, write_spec):
    found = run_cli("run", write_spec("module: ops.py\ncases: {f: {inputs: {x: 1.0}}}", "def f(:\n    pass\n"))
    assert found.code == 1
    assert "def f(:" in found.out
    assert "^" in found.out
    assert found.out.count("invalid syntax") == 1

"""Custom gradients found by their syntax."""

from __future__ import annotations

import pytest

from gradcheck.scanning.declarations import parsed

SOURCE = b"""
import tensorflow as tf
from tensorflow import custom_gradient as cg
from tensorflow import recompute_grad

own = tf.custom_gradient

@tf.custom_gradient
def square(x):
    return x * x, lambda u: u

@cg
def by_another_name(x):
    return x, lambda u: u

@own
def by_an_alias(x):
    return x, lambda u: u

class Gate(tf.keras.layers.Layer):
    @tf.custom_gradient
    def apply(self, x):
        return x, lambda u: u

    def call(self, x):
        @tf.custom_gradient
        def inner(x):
            return x, lambda u: u
        return inner(x)

def make(alpha):
    def f(x):
        return alpha * x, lambda u: u
    return tf.custom_gradient(f)

negated = tf.custom_gradient(lambda x: (-x, lambda u: u))

@tf.RegisterGradient("Mine")
def _mine_grad(op, upstream):
    return upstream

tf.RegisterGradient("Other")(_mine_grad)
cheap = tf.recompute_grad(square)

def host(x):
    return tf.py_function(lambda x: x, [x], tf.float32)

def untouched(x):
    return square(x)
"""


def test_each_way_to_declare_a_gradient_is_found_where_it_stands():
    found = {(d.name, d.kind, d.how, d.owner) for d in parsed(SOURCE, "ops.py").declarations}
    assert found == {
        ("square", "top level", "custom_gradient", "square"),
        ("by_another_name", "top level", "custom_gradient", "by_another_name"),
        ("by_an_alias", "top level", "custom_gradient", "by_an_alias"),
        ("Gate.apply", "method", "custom_gradient", "Gate"),
        ("Gate.call.<locals>.inner", "closure", "custom_gradient", "Gate"),
        ("make.<locals>.f", "closure", "custom_gradient", "make"),
        ("<lambda>", "top level", "custom_gradient", "negated"),
        ("_mine_grad", "top level", "RegisterGradient", "_mine_grad"),
        ("square", "top level", "recompute_grad", "cheap"),
        ("host.<locals>.<lambda>", "closure", "py_function", "host"),
    }


def test_what_can_be_checked_without_a_spec_is_what_stands_at_the_top():
    ops = parsed(SOURCE, "ops.py").ops
    assert set(ops) == {"square", "by_another_name", "by_an_alias", "Gate", "make", "negated", "cheap", "host"}


def test_a_module_that_acts_when_it_is_imported_is_known():
    assert not parsed(SOURCE, "ops.py").calls_at_import
    assert parsed(b"import tensorflow as tf\nprint('training')\n", "train.py").calls_at_import
    assert not parsed(b"if __name__ == '__main__':\n    print('training')\n", "train.py").calls_at_import


def test_what_is_no_python_raises():
    with pytest.raises(SyntaxError):
        parsed(b"def f(:\n", "ops.py")
    with pytest.raises((ValueError, SyntaxError)):
        parsed(b"x = " + b"(" * 100_000, "ops.py")

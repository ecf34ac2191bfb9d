"""The probe bypasses custom gradients of every form, with the same weights."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.install import installed
from gradcheck.backend.tensorflow.recorder import Recorder
from gradcheck.backend.tensorflow.rule_contract import ContractBroken
from gradcheck.backend.tensorflow.signatures import argument_names


@pytest.fixture
def probe():
    probe = Recorder()
    with installed(probe, []):
        yield probe


def slope(f, x=3.0):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    return float(tape.gradient(y, x))


def test_decorated_functions_closures_methods_and_layers_are_bypassed(probe):
    @tf.custom_gradient
    def plain(x):
        return x * x, lambda upstream: upstream * 100.0

    def closure(x):
        factor = 2.0

        @tf.custom_gradient
        def inner(x):
            return factor * x * x, lambda upstream: upstream * 100.0

        return inner(x)

    class Op:
        weight = 3.0

        @tf.custom_gradient
        def method(self, x):
            return self.weight * x * x, lambda upstream: upstream * 100.0

    for f, right in ((plain, 6.0), (closure, 12.0), (Op().method, 18.0)):
        assert slope(f) == 100.0
        with probe.bypassed():
            assert slope(f) == right


def test_bypassing_reaches_inside_traced_functions(probe):
    @tf.custom_gradient
    def plain(x):
        return x * x, lambda upstream: upstream * 100.0

    with probe.bypassed():
        assert slope(tf.function(lambda x: plain(x))) == 6.0


@pytest.mark.parametrize("result", [lambda x: x * x, lambda x: (x, x, lambda u: u), lambda x: (x, x)])
def test_a_bad_return_is_told_at_the_call(probe, result):
    with pytest.raises(ContractBroken) as caught:
        tf.custom_gradient(result)(tf.constant(1.0))
    assert caught.value.code == "bad-return"


def test_what_grad_fn_returns_is_noted(probe):
    @tf.custom_gradient
    def add(x, b):
        return x + b, lambda upstream: (upstream, upstream)

    x, b = tf.zeros([4, 3]), tf.zeros([3])
    with tf.GradientTape() as tape:
        tape.watch([x, b])
        y = add(x, b)
    tape.gradient(y, [x, b])
    note = probe.notes[1]
    assert (note.argument, note.shape, note.wanted_shape) == ("b", (4, 3), (3,))


def test_arguments_are_named_by_path():
    def op(params, *rest):
        return params, rest

    value = ({"w": np.zeros(1), "b": np.zeros(1)}, np.zeros(1), np.zeros(1))
    assert argument_names(op, value) == ["params.b", "params.w", "rest[0]", "rest[1]"]


def squared(x):
    return x * x, lambda upstream: upstream * 100.0


def test_what_is_traced_under_the_bypass_is_kept_apart(probe):
    op = tf.function(tf.custom_gradient(squared))
    assert slope(op) == 100.0
    with probe.bypassed():
        assert slope(op) == 6.0
    assert slope(op) == 100.0


@pytest.mark.parametrize(
    "traced",
    [
        lambda f: tf.function(f, [tf.TensorSpec([])]),
        lambda f: tf.function(func=f, jit_compile=True),
        lambda f: tf.function(input_signature=[tf.TensorSpec([])])(f),
        lambda f: tf.function(tf.function(f)),
    ],
)
def test_tf_function_takes_what_it_took(probe, traced):
    op = traced(tf.custom_gradient(squared))
    assert slope(op) == 100.0
    with probe.bypassed():
        assert slope(op) == 6.0


def test_the_first_trace_may_be_under_the_bypass(probe):
    @tf.function(reduce_retracing=True)
    def op(x):
        return tf.custom_gradient(squared)(x)

    with probe.bypassed():
        assert slope(op) == 6.0
    assert slope(op) == 100.0


def test_methods_and_layers_that_are_traced_are_bypassed(probe):
    class Module(tf.Module):
        @tf.function
        def apply(self, x):
            return tf.custom_gradient(squared)(x) * self.scale

        scale = 2.0

    class Layer(tf.keras.layers.Layer):
        @tf.function(autograph=False)
        def call(self, x):
            return tf.custom_gradient(squared)(x)

    module, layer = Module(), Layer()
    assert (slope(module.apply), slope(layer)) == (200.0, 100.0)
    with probe.bypassed():
        assert (slope(module.apply), slope(layer)) == (12.0, 6.0)
    assert list(inspect.signature(module.apply).parameters) == ["x"]
    assert module.apply.get_concrete_function(tf.TensorSpec([])).outputs[0].shape == ()


def test_a_tf_function_that_was_there_before_is_bypassed():
    names = {"inner": tf.custom_gradient(squared)}
    names["op"] = tf.function(lambda x: names["inner"](x))
    before = dict(names)
    assert slope(names["op"]) == 100.0
    probe = Recorder()
    with installed(probe, [names]), probe.bypassed():
        assert slope(names["op"]) == 6.0
    assert names == before
    assert slope(names["op"]) == 100.0


def test_gradients_that_a_graph_gives_to_tensorflows_own_ops_are_bypassed_too(probe):
    tf.RegisterGradient("RecorderTestSine")(lambda op, upstream: upstream * 100.0)

    @tf.function
    def sine(x):
        with tf.compat.v1.get_default_graph().gradient_override_map({"Sin": "RecorderTestSine"}):
            return tf.sin(x)

    assert slope(sine) == 100.0
    assert probe.overrides
    with probe.bypassed():
        assert np.isclose(slope(sine), np.cos(3.0))

"""Of several functions in an op the one whose rule is wrong is named, and its line is shown."""

from __future__ import annotations

import tensorflow as tf

import gradcheck


@tf.custom_gradient
def sine(x):
    return tf.sin(x), lambda u: u * tf.cos(x)


@tf.custom_gradient
def square(x):
    return x * x, lambda u: u * x


@tf.custom_gradient
def gate(x):
    s = tf.sigmoid(x)
    return s, lambda u: u * s


@tf.custom_gradient
def gated(x):
    s = gate(x)
    return x * s, lambda u: u * (s + x * s * (1.0 - s))


def both(x):
    return sine(x) + square(x)


def twice(x):
    return square(x) + square(tf.cos(x))


def found(fn, **options):
    result = gradcheck.check(fn, {"x": {"shape": [5]}}, **options)
    return [finding for finding in result.findings if finding.level == "error"]


def test_the_second_of_two_functions_is_named_with_its_line():
    [finding] = found(both)
    assert "Without the rule of `square` inside it is right" in finding.message
    assert "lambda u: u * x" in finding.source.text


def test_one_function_alone_is_not_named_as_one_of_several():
    [finding] = found(twice)
    assert "Without the rule" not in finding.message


def test_a_wrong_rule_that_the_second_derivative_alone_uses_is_named_with_its_line():
    [finding] = found(gated, order=2)
    assert finding.code == "second-order-mismatch"
    assert "Without the rule of `gate` inside it is right" in finding.message
    assert finding.source.text == "return s, lambda u: u * s"

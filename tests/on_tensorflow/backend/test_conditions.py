"""Every condition of a traced function is seen, on the sides on which it is, and can be turned."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.backend.tensorflow.conditions import Conditions
from gradcheck.backend.tensorflow.op_by_op import CannotFollow
from gradcheck.numerics.descent import reached

X = np.array([[0.6, -0.3, 1.7], [-0.9, 0.2, 0.4]], np.float32)


def followed(f, *arrays, variables=()):
    concrete = tf.function(f).get_concrete_function(*(tf.TensorSpec(a.shape, a.dtype) for a in arrays))
    return Conditions(concrete, variables)


def sides(f, *arrays):
    """Return the sides of each condition of f: (true somewhere, false somewhere), in order."""
    found = followed(f, *arrays).at(arrays, ())
    return [(s.true, s.false) for s in found.values() if not s.condition.joint]


def turned(f, x, side=True):
    """Return a point at which the last condition of f is on a side."""
    conditions = followed(f, x)
    *_, key = [key for key, s in conditions.at([x], ()).items() if not s.condition.joint and not s.on(side)]

    def toward(point, depth):
        there, distance, slopes = conditions.toward(key, side, [point.reshape(x.shape)], (), depth)
        slope = np.zeros(x.size) if not slopes or slopes[0] is None else slopes[0].ravel()
        return there, distance, slope

    found = reached(toward, x.ravel().astype(np.float64), lambda p: p.astype(np.float32).astype(np.float64))
    return None if found is None else found.reshape(x.shape)


CHOICES = {
    "a comparison": lambda x: tf.where(x > 0.5, x, 2 * x),
    "and": lambda x: tf.where((x > 0.0) & (x < 0.5), x, 2 * x),
    "a mask": lambda x: x * tf.cast(x > 0.5, tf.float32),
    "a conditional": lambda x: tf.cond(tf.reduce_max(x) > 0.5, lambda: x, lambda: 2 * x),
    "relu": tf.nn.relu,
    "a minimum": lambda x: tf.minimum(x, 0.3),
    "a sign": tf.sign,
    "steps": tf.floor,
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_condition_is_seen_on_both_sides_where_it_is_on_both(name):
    (found,) = sides(CHOICES[name], X)
    assert found == ((True, False) if name == "a conditional" else (True, True))


def test_clipping_is_two_conditions():
    assert len(sides(lambda x: tf.clip_by_value(x, -0.5, 0.5), X)) == 2


def test_a_function_without_conditions_has_none():
    assert sides(lambda x: tf.sin(x) * tf.reduce_sum(x), X) == []


def test_what_no_input_moves_is_no_condition():
    assert sides(lambda x: tf.where(tf.constant([1.0, 2.0]) > 1.5, 1.0, 2.0)[0] * x, X) == []


TURNED = {
    "a band": (lambda x: tf.where((x > 3.71) & (x < 3.72), x, 2 * x), lambda x: ((x > 3.71) & (x < 3.72)).any()),
    "a sum": (lambda x: tf.where(tf.reduce_sum(x) > 40.0, x, 2 * x), lambda x: x.sum() > 40),
    "a norm": (
        lambda x: tf.where(tf.norm(x, axis=1) < 0.05, 0.0, 1.0),
        lambda x: (np.linalg.norm(x, axis=1) < 0.05).any(),
    ),
    "a count": (
        lambda x: tf.where(tf.reduce_sum(tf.cast(x > 2.0, tf.int32)) >= 5, x, 2 * x),
        lambda x: (x > 2).sum() >= 5,
    ),
    "an order": (lambda x: tf.where(tf.reduce_all(x[:, 1:] > x[:, :-1]), x, 2 * x), lambda x: (np.diff(x) > 0).all()),
    "an equality": (lambda x: tf.where(tf.equal(x, 2.5), x, 2 * x), lambda x: (x == 2.5).any()),
    "an exponential": (lambda x: tf.where(tf.exp(x) > 5000.0, x, 2 * x), lambda x: (np.exp(x) > 5000).any()),
    "the largest": (
        lambda x: tf.where(tf.reduce_all(tf.equal(tf.argmax(x, 1), 1)), x, 2 * x),
        lambda x: (x.argmax(1) == 1).all(),
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_condition_is_driven_to_its_other_side(name):
    f, holds = TURNED[name]
    point = turned(f, X)
    assert point is not None
    assert holds(point)


@tf.function
def inner(x):
    return tf.where(x > 7.0, x, 2 * x)


def test_conditions_of_called_functions_and_of_branches_inside_branches_are_seen():
    assert sides(inner, X) == [(False, True)]

    def nested(x):
        return tf.cond(tf.reduce_max(x) > 1.0, lambda: tf.where(x > 7.0, x, 2 * x), lambda: x)

    assert sides(nested, X) == [(True, False), (False, True)]
    assert sides(nested, X - 5) == [(False, True)]


def test_conditions_of_a_loop_are_one_for_all_its_steps():
    def loop(x):
        return tf.map_fn(lambda row: tf.where(tf.reduce_sum(row) > 1.0, row, 2 * row), x)

    assert sides(loop, X) == [(True, True)]


def test_two_conditions_one_inside_the_other_are_looked_at_together():
    def both(x):
        return tf.where(x > 0.5, tf.where(x < 0.55, x, 2 * x), 3 * x)

    joint = [s for s in followed(both, X).at([X], ()).values() if s.condition.joint]
    assert [s.true for s in joint] == [False, True]


def test_a_variable_keeps_its_value_while_a_graph_is_followed():
    step = tf.Variable(3.0)

    def counts(x):
        step.assign_add(1.0)
        return tf.where(step > 3.5, x, 2 * x)

    conditions = followed(counts, X, variables=(step,))
    (found,) = conditions.at([X], [np.float32(3.0)]).values()
    assert (found.true, found.false) == (True, False)
    assert float(step) == 3.0


def test_python_code_inside_a_graph_cannot_be_followed():
    def host(x):
        return tf.numpy_function(np.sin, [x], tf.float32)

    with pytest.raises(CannotFollow, match="Python code"):
        followed(host, X).at([X], ())


def test_the_line_of_a_condition_is_the_users():
    def op(x):
        return tf.where(x > 0.5, x, 2 * x)

    (found,) = followed(op, X).at([X], ()).values()
    assert found.condition.file.endswith("test_conditions.py")
    assert found.condition.line == op.__code__.co_firstlineno + 1

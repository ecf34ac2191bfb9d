"""Functions whose closures hold tensors of a graph, built again with values."""

from __future__ import annotations

import pytest

tf = pytest.importorskip("tensorflow")

from gradcheck.backend.tensorflow.closures import functions_in, graph_tensors, rebuilt, variables_of  # noqa: E402


def captured_in_a_graph(make):
    """Return the function that `make` returns inside of a tf.function, which is gone by then."""
    found = []

    @tf.function(autograph=False)
    def traced(x):
        found.append(make(x))
        return x

    traced(tf.constant([1.0, 2.0]))
    return found[0]


def test_a_tensor_of_a_graph_is_found_and_replaced():
    f = captured_in_a_graph(lambda x: lambda y: x * y)
    (tensor,) = graph_tensors(f)
    again = rebuilt(f, {id(tensor): tf.constant([3.0, 4.0])})
    assert again(tf.constant(2.0)).numpy().tolist() == [6.0, 8.0]


def test_functions_and_lists_in_the_closure_are_seen_through():
    def make(x):
        parts = [x, 2.0 * x]

        def helper(y):
            return parts[0] * y + parts[1]

        return lambda y: helper(y) - 1.0

    f = captured_in_a_graph(make)
    values = {id(tensor): tf.constant([float(n + 1)] * 2) for n, tensor in enumerate(graph_tensors(f))}
    assert len(values) == 2
    assert rebuilt(f, values)(tf.constant(10.0)).numpy().tolist() == [11.0, 11.0]


def test_a_function_without_such_tensors_stays_itself():
    x = tf.constant(1.0)

    def f(y):
        return x * y

    assert graph_tensors(f) == []
    assert rebuilt(f, {}) is f
    assert functions_in(lambda: f) == (f.__code__,)


def test_a_recursive_closure_comes_to_an_end():
    def f(n):
        return 0 if n == 0 else f(n - 1)

    assert graph_tensors(f) == []
    assert rebuilt(f, {1: 2})(3) == 0


def test_variables_of_the_closure_its_layers_and_its_object_are_found():
    alone = tf.Variable(1.0)
    layer = tf.keras.layers.Dense(2)
    layer.build((None, 3))

    class Op:
        def __init__(self):
            self.own = tf.Variable(2.0)

        def call(self, x):
            return layer(x) * alone * self.own

    assert {v.shape.rank for v in variables_of(lambda x: layer(x) * alone)} == {0, 1, 2}
    assert any(v is op.own for op in [Op()] for v in variables_of(op.call))

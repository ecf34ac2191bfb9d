"""The classic mistakes with tf.custom_gradient, one op each; the spec says what is wrong with it."""

import tempfile

import numpy as np
import tensorflow as tf


@tf.custom_gradient
def ignores_upstream(x):
    return x * x, lambda upstream: 2.0 * x


@tf.custom_gradient
def squares_upstream(x):
    return 3.0 * x, lambda upstream: 3.0 * upstream * upstream


@tf.custom_gradient
def unreduced_bias(x, b):
    return x + b, lambda upstream: (upstream, upstream)


@tf.custom_gradient
def over_reduced(x, b):
    return x + b, lambda upstream: (upstream, tf.reduce_sum(upstream))


@tf.custom_gradient
def one_gradient_short(x, y):
    return x * y, lambda upstream: upstream * y


@tf.custom_gradient
def number_counts_too(x, alpha):
    return x * alpha, lambda upstream: upstream * alpha


@tf.custom_gradient
def no_return(x):
    def grad(upstream):
        upstream * 2.0 * x

    return x * x, grad


@tf.custom_gradient
def _thousandfold(x):
    return x * x, lambda upstream: upstream * 1000.0 * x


def called_by_keyword(x):
    return _thousandfold(x=x)


@tf.custom_gradient
def _product(x, y):
    return x * y, lambda upstream: (upstream * y, upstream * x)


def one_by_keyword(x, y):
    return _product(x, y=y)


_weight = tf.Variable([1.0, 2.0, 3.0], name="weight")
_bias = tf.Variable([0.5, -0.5, 0.25], name="bias")


@tf.custom_gradient
def no_variables_keyword(x):
    return x * _weight, lambda upstream: upstream * _weight


@tf.custom_gradient
def variables_in_source_order(x):
    w, b = tf.convert_to_tensor(_weight), tf.convert_to_tensor(_bias)

    def grad(upstream, variables=None):
        dw, db = tf.reduce_sum(upstream * x, 0), tf.reduce_sum(upstream, 0)
        return upstream * w, [dw, db]

    return x * w + b, grad


@tf.custom_gradient
def variables_in_a_tuple(x):
    w = tf.convert_to_tensor(_weight)

    def grad(upstream, variables=None):
        return upstream * w, (tf.reduce_sum(upstream * x, 0),)

    return x * w, grad


@tf.custom_gradient
def only_the_input_gradient(x):
    w = tf.convert_to_tensor(_weight)
    return x * w, lambda upstream, variables=None: upstream * w


@tf.custom_gradient
def one_variable_gradient_of_two(x):
    w, b = tf.convert_to_tensor(_weight), tf.convert_to_tensor(_bias)

    def grad(upstream, variables=None):
        return upstream * w, [tf.reduce_sum(upstream * x, 0)]

    return x * w + b, grad


@tf.custom_gradient
def _scaled(x, w):
    return x * w, lambda upstream: (upstream * w, tf.reduce_sum(upstream * x, 0))


class KerasWeightAsArgument(tf.keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return _scaled(x, self.w)


class HalfGradientForWeight(tf.keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        variable = self.w.value

        @tf.custom_gradient
        def scaled(x):
            w = tf.cast(variable, tf.float16)

            def grad(upstream, variables=None):
                return upstream * w, [tf.reduce_sum(upstream * x, 0)]

            return x * w, grad

        return tf.cast(scaled(tf.cast(x, tf.float16)), tf.float32)


_constant = tf.constant([2.0, 3.0, 4.0])


def captures_a_tensor(c):
    @tf.custom_gradient
    def scaled(x):
        return x * c, lambda upstream: upstream * c

    return scaled(tf.ones_like(c))


@tf.custom_gradient
def double_from_numpy(x):
    return x * x, lambda upstream: tf.cast(upstream, tf.float64) * 2.0 * tf.cast(x, tf.float64)


@tf.custom_gradient
def numpy_in_gradient(x):
    return x * x, lambda upstream: upstream * (2.0 * x.numpy())


@tf.custom_gradient
def numpy_function_in_gradient(x):
    def grad(upstream):
        slope = tf.numpy_function(lambda v: (2.0 * v).astype(np.float32), [x], tf.float32)
        slope.set_shape(x.shape)
        return upstream * slope

    return x * x, grad


@tf.custom_gradient
def python_if_in_gradient(x):
    def grad(upstream):
        if tf.reduce_sum(x) > 100.0:
            return 2.0 * x * upstream
        return upstream * 2.0 * x

    return x * x, grad


@tf.custom_gradient
def _optional(x, mask):
    return x * x, lambda upstream: (upstream * 2.0 * x, None)


def none_as_argument(x):
    return _optional(x, None)


@tf.custom_gradient
def static_shape(x):
    return x / 2.0, lambda upstream: tf.reshape(upstream, [x.shape[0], 3]) / 2.0


@tf.custom_gradient
def sliced_upstream(x):
    return x * x, lambda upstream: upstream * 2 * x


@tf.custom_gradient
def one_upstream_for_two_outputs(x):
    return (x * x, x + 1.0), lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def integer_output(x):
    def grad(upstream, unused):
        # An unused output's upstream is None when the tape stands outside of the function.
        return upstream * 2.0 * x + tf.cast(unused, x.dtype) * 0.0

    return (x * x, tf.cast(x, tf.int64)), grad


@tf.custom_gradient
def stops_the_second(x):
    return x * x, lambda upstream: upstream * 2.0 * tf.stop_gradient(x)


@tf.custom_gradient
def inner_rule_not_called(x):
    s = tf.sigmoid(x)

    @tf.custom_gradient
    def inner(upstream):
        return upstream * s * (1.0 - s), lambda upstream2: upstream2 * 0.0

    return s, inner


@tf.custom_gradient
def _root(x):
    y = tf.sqrt(x)
    return y, lambda upstream: upstream * 0.5 / y


def root_below_where(x):
    return tf.where(x > 0.0, _root(x), tf.zeros_like(x))


@tf.custom_gradient
def log1pexp(x):
    e = tf.exp(x)
    return tf.math.log(1.0 + e), lambda upstream: upstream * (1.0 - 1.0 / (1.0 + e))


@tf.custom_gradient
def no_grad_fn(x):
    return x * x


@tf.custom_gradient
@tf.function
def decorators_swapped(x):
    return x * x, lambda upstream: upstream * 2.0 * x


_rate = tf.Variable(1.5, name="rate")


@tf.custom_gradient
def reads_the_variable_late(x):
    def grad(upstream, variables=None):
        return upstream * _rate, [tf.reduce_sum(upstream * x)]

    return x * _rate, grad


@tf.custom_gradient
def dictionary_swapped(d):
    return d["b"] * d["b"] * d["a"], lambda upstream: (
        2.0 * upstream * d["b"] * d["a"],
        upstream * d["b"] * d["b"],
    )


@tf.custom_gradient
def _cube(x):
    return x**3, lambda upstream: upstream * 3.0 * x**2


def keras_tensor():
    x = tf.keras.Input((3,))
    return tf.keras.Model(x, _cube(x))


def saved_without_gradient():
    module = tf.Module()
    module.f = tf.function(_cube, input_signature=[tf.TensorSpec([None, 3])])
    folder = tempfile.mkdtemp()
    tf.saved_model.save(module, folder, options=tf.saved_model.SaveOptions(experimental_custom_gradients=False))
    return tf.saved_model.load(folder).f


_switch = tf.Variable(1.5, name="switch")


@tf.custom_gradient
def _switched(x):
    w = tf.convert_to_tensor(_switch)
    return x * w, lambda upstream, variables=None: (upstream * w, [tf.reduce_sum(upstream * x)])


def variable_below_cond(x):
    return tf.cond(tf.reduce_sum(x) > -1e3, lambda: _switched(x), lambda: x)


@tf.custom_gradient
def exponential(x):
    y = tf.exp(x)
    return y, lambda upstream: upstream * y


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: tf.convert_to_tensor(upstream) * 2.0 * x

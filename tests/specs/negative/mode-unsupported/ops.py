import tensorflow as tf


@tf.custom_gradient
def square(x):
    return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def square_numpy(x):
    return x * x, lambda upstream: tf.constant(upstream.numpy() * 2.0 * x.numpy())


@tf.custom_gradient
def square_python(x):
    y = tf.numpy_function(lambda a: a * a, [x], x.dtype)
    y.set_shape(x.shape)
    return y, lambda upstream: upstream * 2.0 * x

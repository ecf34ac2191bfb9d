import tensorflow as tf


@tf.custom_gradient
def stable(x):
    return tf.math.expm1(x) - x, lambda upstream: upstream * tf.math.expm1(x)


@tf.custom_gradient
def cancelling(x):
    return tf.math.expm1(x) - x, lambda upstream: upstream * (tf.exp(x) - 1.0)


@tf.custom_gradient
def scaled(x):
    return x * tf.constant(0.1, x.dtype), lambda upstream: upstream * tf.constant(0.1, x.dtype)


@tf.custom_gradient
def rounded_constant(x):
    # tf.cast makes a float32 tensor of a Python number first.
    return x * tf.constant(0.1, x.dtype), lambda upstream: upstream * tf.cast(0.1, x.dtype)


@tf.custom_gradient
def one_rounded_constant(x):
    factor = tf.cast(0.1, x.dtype)
    return x * factor, lambda upstream: upstream * factor


@tf.custom_gradient
def masked(x):
    return tf.nn.relu(x), lambda upstream: upstream * tf.cast(tf.cast(x > 0, tf.float32), x.dtype)


@tf.custom_gradient
def through_float32(x):
    return tf.sin(x), lambda upstream: upstream * tf.cast(tf.cos(tf.cast(x, tf.float32)), x.dtype)


@tf.custom_gradient
def both_in_float32(x):
    single = tf.cast(x, tf.float32)
    return tf.cast(tf.sin(single), x.dtype), lambda upstream: upstream * tf.cast(tf.cos(single), x.dtype)

import tensorflow as tf


@tf.custom_gradient
def sigmoid(x):
    y = tf.sigmoid(x)
    return y, lambda upstream: upstream * y * (1.0 - y)


@tf.custom_gradient
def sigmoid_overflowing(x):
    """exp(-x) squared overflows in float32 below -44."""
    return tf.sigmoid(x), lambda upstream: upstream * tf.exp(-x) / (1.0 + tf.exp(-x)) ** 2


@tf.custom_gradient
def masked_root(x):
    """0 times infinity where the root is masked."""
    safe = tf.where(x > 0.0, tf.sqrt(tf.abs(x)), 0.0)
    return safe, lambda upstream: upstream * tf.where(x > 0.0, 1.0, 0.0) * 0.5 / tf.sqrt(tf.maximum(x, 0.0))


@tf.custom_gradient
def masked_root_guarded(x):
    inside = tf.where(x > 0.0, x, 1.0)
    value = tf.where(x > 0.0, tf.sqrt(inside), 0.0)
    return value, lambda upstream: tf.where(x > 0.0, upstream * 0.5 / tf.sqrt(inside), 0.0)

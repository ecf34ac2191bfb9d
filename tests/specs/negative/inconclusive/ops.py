import tensorflow as tf


@tf.custom_gradient
def relu(x):
    return tf.nn.relu(x), lambda upstream: tf.where(x > 0.0, upstream, 0.0)


@tf.custom_gradient
def floor(x):
    return tf.floor(x), lambda upstream: tf.zeros_like(x)


@tf.custom_gradient
def root(x):
    return tf.sqrt(x), lambda upstream: upstream * 0.5 / tf.sqrt(x)

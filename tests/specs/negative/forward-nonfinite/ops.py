import tensorflow as tf


@tf.custom_gradient
def log(x):
    return tf.math.log(x), lambda upstream: upstream / x

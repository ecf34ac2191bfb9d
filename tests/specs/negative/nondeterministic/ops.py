import random

import tensorflow as tf


@tf.custom_gradient
def noisy(x):
    return x * x, lambda upstream: upstream * 2.0 * x * (1.0 + 0.1 * random.random())


@tf.custom_gradient
def dropout_like(x):
    """tf.random is seeded alike in every evaluation."""
    mask = tf.cast(tf.random.uniform(tf.shape(x)) > 0.5, x.dtype)
    return x * mask, lambda upstream: upstream * mask

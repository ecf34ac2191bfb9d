import tensorflow as tf


def constant(x):
    return tf.constant([1.0, 2.0])


def scaled(x):
    return tf.constant([1.0, 2.0]) * x

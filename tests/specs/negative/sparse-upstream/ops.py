import tensorflow as tf


@tf.custom_gradient
def double(x):
    return 2.0 * x, lambda upstream: 2.0 * tf.convert_to_tensor(upstream)


@tf.custom_gradient
def double_dense_only(x):
    return 2.0 * x, lambda upstream: upstream * 2.0

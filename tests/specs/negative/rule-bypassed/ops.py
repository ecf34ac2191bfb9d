import tensorflow as tf


@tf.custom_gradient
def cube(x):
    return x**3, lambda upstream: tf.convert_to_tensor(upstream) * 3.0 * x * x


def row_by_row(x):
    return tf.map_fn(cube, x)


def vectorised(x):
    return tf.vectorized_map(cube, x)

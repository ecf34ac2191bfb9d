"""Linear algebra, where rules hold on structured inputs only."""

import tensorflow as tf


@tf.custom_gradient
def log_det(matrix):
    """log det of a symmetric positive definite matrix, by its Cholesky factor."""
    factor = tf.linalg.cholesky(matrix)

    def grad(upstream):
        inverse = tf.linalg.cholesky_solve(factor, tf.eye(tf.shape(matrix)[0], dtype=matrix.dtype))
        return upstream * inverse

    return 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor))), grad


@tf.custom_gradient
def matmul(a, b):
    def grad(upstream):
        return tf.matmul(upstream, b, transpose_b=True), tf.matmul(a, upstream, transpose_a=True)

    return tf.matmul(a, b), grad


@tf.custom_gradient
def matmul_transposed(a, b):
    """The gradient of a is transposed; for square matrices no shape complains."""

    def grad(upstream):
        return tf.transpose(tf.matmul(upstream, b, transpose_b=True)), tf.matmul(a, upstream, transpose_a=True)

    return tf.matmul(a, b), grad


@tf.custom_gradient
def square_root(x):
    """Defined above zero only."""
    y = tf.sqrt(x)

    def grad(upstream):
        return upstream * 0.5 / y

    return y, grad

import tensorflow as tf


def present(x):
    return x * x

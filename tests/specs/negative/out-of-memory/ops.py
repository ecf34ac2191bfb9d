import tensorflow as tf


def small(x):
    return x * x


def refuses(x):
    raise MemoryError("no room for the table")

import tensorflow as tf


CACHE = {}


class Keeper:
    """Keeps the input of the last call in an attribute."""

    def __init__(self):
        self.x = None

    @tf.custom_gradient
    def square(self, x):
        self.x = x
        return x * x, lambda upstream: upstream * 2.0 * self.x


class Closure:
    @tf.custom_gradient
    def square(self, x):
        return x * x, lambda upstream: upstream * 2.0 * x


@tf.custom_gradient
def cached(x):
    """The slope is computed at the first call and kept."""
    if "slope" not in CACHE and tf.executing_eagerly():
        CACHE["slope"] = 2.0 * x
    slope = CACHE.get("slope", 2.0 * x)
    return x * x, lambda upstream: upstream * slope

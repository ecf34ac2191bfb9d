import tensorflow as tf


class Tracked(tf.keras.layers.Layer):
    def build(self, shape):
        self.v = self.add_weight(shape=(), initializer="ones", name="v")

    def call(self, x):
        return x * self.v


class Untracked(tf.keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.v = tf.Variable(1.5)

    def call(self, x):
        return x * self.v

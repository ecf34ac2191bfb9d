# SPDX-License-Identifier: Apache-2.0
"""What a gradient is turned into by an edit.

e is its text, f that as a factor, n the name of a tensor, a an axis, u the upstream or another tensor of its dtype.
"""

from __future__ import annotations

# What a gradient is multiplied with or divided by, beside a name as it is: masks and derivatives of known functions.
MASKS = ("tf.cast({n} > 0, {n}.dtype)", "tf.sign({n})")
SLOPES = ("(1.0 - {n})", "(1.0 - {n} * {n})", "{n} * (1.0 - {n})", "2.0 * {n}", "tf.cos({n})", "tf.sigmoid({n})")
DIVISORS = ("tf.cast(tf.size({n}), {u}.dtype)", "tf.cast(tf.shape({n})[0], {u}.dtype)",
            "tf.cast(tf.shape({n})[1], {u}.dtype)", "tf.cast(tf.shape({n})[-1], {u}.dtype)",
            "tf.square({n})", "(1.0 + {n} * {n})")  # fmt: skip
# A count that has a name, as a divisor or as a factor.
COUNT = "tf.cast({n}, {u}.dtype)"
RARE_SLOPES = ("tf.exp({n})", "tf.square({n})")
# The slope of a * s, s the sigmoid of a, over s: n is s, m is a.
SLOPE_OF_SILU = "(1.0 + {m} * (1.0 - {n}))"
# What a softmax, its logarithm, a division by the norm and a shift by the mean subtract, in this order.
TERMS = ("{e} - {n} * tf.reduce_sum({e}, axis={a}, keepdims=True)",
          "{f} - {n} * tf.reduce_sum({e} * {n}, axis={a}, keepdims=True)",
          "{e} - tf.exp({n}) * tf.reduce_sum({e}, axis={a}, keepdims=True)",
          "{e} - {n} * tf.reduce_sum({e} * {n}, axis={a}, keepdims=True) / tf.reduce_sum({n} * {n}, axis={a}, keepdims=True)")  # noqa: E501 # fmt: skip
OWN_TERMS = ("{f} - tf.reduce_mean({e}, axis={a}, keepdims=True)",)
# What reaches an input past a function: whole, or the other share of a gate; and the slope of x in x * log(x).
PAST_TERMS = ("{e} + {u}", "{e} + {u} * {n}", "{e} + {u} * (1.0 - {n})")
ONES = ("{e} + 1.0", "{e} - 1.0")
# The target of a cross entropy between pairs.
DIAGONALS = ("{f} - tf.eye(tf.shape({e})[-1], dtype={u}.dtype)",)
SUMS = ("tf.reduce_sum({e}, axis={a})", "tf.reduce_sum({e}, axis={a}, keepdims=True)",
         "tf.cumsum({e}, axis={a}, reverse=True)", "tf.reverse({e}, axis=[{a}])")  # fmt: skip
WRAPS = ("tf.transpose({e})", "tf.reduce_sum({e})", "tf.math.conj({e})", "tf.linalg.band_part({e}, -1, 0)",
          "tf.linalg.band_part({e}, 0, -1)", "0.5 * ({e} + tf.linalg.matrix_transpose({e}))",
          "({e} + tf.linalg.matrix_transpose({e}))",
          "tf.linalg.set_diag({e}, 0.5 * tf.linalg.diag_part({e}))")  # fmt: skip
# What a tensor that a function takes may lack: e is a name.
ARGUMENTS = ("tf.math.conj({e})", "tf.linalg.matrix_transpose({e})",
             "0.5 * ({e} + tf.linalg.matrix_transpose({e}))", "-{e}", "tf.reverse({e}, axis=[0, 1])",
             "tf.reverse({e}, axis=[0])", "tf.reverse({e}, axis=[-1])")  # fmt: skip
# A factor of a matrix product that is left out.
MATRICES = ("{f} @ {n}", "{f} @ tf.transpose({n})", "tf.transpose({n}) @ {f}")
# How many rows each segment has, at each of these rows: c is the function that sums over segments.
COUNT_OF_SEGMENT = "tf.gather({c}(tf.ones_like({x}), {i}{more}), {i})"
# A tensor as it is, and with an axis more: one number for each row.
OF_ROWS = ("{n}", "({n})[:, None]")
# Numbers that a value is multiplied with: a half that was forgotten, one that is too much, an exponent.
CONSTANT_FACTORS = ("0.5", "2.0", "3.0")

# SPDX-License-Identifier: Apache-2.0
"""What a gradient is turned into by an edit.

e is its text, f that as a factor, n the name of a tensor, a an axis, u the upstream or another tensor of its dtype.
"""

from __future__ import annotations

# What a gradient is multiplied with or divided by, beside a name as it is: masks and derivatives of known functions.
MASKS = ("tf.cast({n} > 0, {n}.dtype)",)
SLOPES = ("(1.0 - {n})", "(1.0 - {n} * {n})", "{n} * (1.0 - {n})", "2.0 * {n}", "tf.cos({n})", "tf.sigmoid({n})")
DIVISORS = ("tf.cast(tf.size({n}), {u}.dtype)", "tf.cast(tf.shape({n})[0], {u}.dtype)",
            "tf.cast(tf.shape({n})[-1], {u}.dtype)", "tf.square({n})", "(1.0 + {n} * {n})")  # fmt: skip
# A count that has a name, as a divisor or as a factor.
COUNT = "tf.cast({n}, {u}.dtype)"
RARE_SLOPES = ("tf.exp({n})", "tf.square({n})", "tf.sign({n})")
TERMS = ("{e} - {n} * tf.reduce_sum({e}, axis={a}, keepdims=True)",
          "{f} - {n} * tf.reduce_sum({e} * {n}, axis={a}, keepdims=True)")  # fmt: skip
MEANS = ("{f} - tf.reduce_mean({e}, axis={a}, keepdims=True)", "tf.reduce_sum({e}, axis={a})",
          "tf.reduce_sum({e}, axis={a}, keepdims=True)", "tf.cumsum({e}, axis={a}, reverse=True)",
          "tf.reverse({e}, axis=[{a}])")  # fmt: skip
WRAPS = ("tf.transpose({e})", "tf.reduce_sum({e})", "tf.math.conj({e})", "tf.linalg.band_part({e}, -1, 0)",
          "tf.linalg.band_part({e}, 0, -1)", "0.5 * ({e} + tf.linalg.matrix_transpose({e}))")  # fmt: skip
# Numbers that a value is multiplied with: a half that was forgotten, or one that is too much.
CONSTANT_FACTORS = ("0.5", "2.0")

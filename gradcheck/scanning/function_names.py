# SPDX-License-Identifier: Apache-2.0
"""Functions of TensorFlow that people take for one another, and their switches that people forget."""

from __future__ import annotations

# Functions of TensorFlow that people take for one another.
FAMILIES = (
    ("sin", "cos"), ("sinh", "cosh"), ("exp", "expm1"), ("log", "log1p"), ("maximum", "minimum"), ("tanh", "sigmoid"),
    ("greater", "less"), ("greater_equal", "less_equal"), ("logical_and", "logical_or"), ("sqrt", "square"),
    ("zeros_like", "ones_like"), ("softplus", "sigmoid"), ("abs", "sign"), ("cumsum", "cumprod"), ("relu", "relu6"),
    ("reduce_sum", "reduce_mean"), ("reduce_sum", "reduce_max"), ("add", "subtract"), ("multiply", "divide"),
    ("sqrt", "rsqrt"), ("reduce_max", "reduce_min"), ("argmax", "argmin"), ("segment_sum", "segment_mean"),
    ("unsorted_segment_sum", "unsorted_segment_mean"), ("tensor_scatter_nd_add", "tensor_scatter_nd_update"),
    ("erf", "erfc"), ("tril", "triu"), ("softmax", "log_softmax"), ("digamma", "lgamma"), ("fft", "ifft"),
    ("triangular_solve", "cholesky_solve"), ("reduce_sum", "reduce_logsumexp"),
)  # fmt: skip
# Switches that are forgotten or set by mistake, by the function that has them.
SWITCHES = {
    "matmul": ("transpose_a", "transpose_b"),
    "matvec": ("transpose_a",),
    "cumsum": ("reverse", "exclusive"),
    "cumprod": ("reverse", "exclusive"),
    "triangular_solve": ("adjoint", "lower"),
    "solve": ("adjoint",),
    "reduce_sum": ("keepdims",),
    "reduce_mean": ("keepdims",),
    "reduce_max": ("keepdims",),
}
# Functions of which two switches are forgotten together: the gradient of an exclusive sum runs back, exclusive too.
BOTH_SWITCHES = {
    "matmul": ", transpose_a=True, transpose_b=True",
    "cumsum": ", reverse=True, exclusive=True",
    "cumprod": ", reverse=True, exclusive=True",
}

# Words in the names of functions that add up what they take: a factor is forgotten inside of them.
ACCUMULATING = ("reduce_sum", "reduce_mean", "segment_sum", "cumsum", "scatter_nd")


def others_of(name: str) -> list[str]:
    """Return the functions that one of this name is taken for."""
    return [other for family in FAMILIES if name in family for other in family if other != name]

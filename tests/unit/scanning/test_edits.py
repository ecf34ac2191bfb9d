"""Edits of a grad_fn are lines that can be read, and among them is the one that undoes a known mistake."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.scanning.edits import Known, edits
from gradcheck.scanning.syntax import Edit, Syntax


def edited(source, names=("u", "x", "y"), ratio=None):
    """Return the function `grad` after every edit."""
    lines = textwrap.dedent(source).strip("\n").splitlines()
    tree = ast.parse("\n".join(lines))
    function = next(node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda)))
    found = edits(Syntax(function, names, lines), Known(ratio))
    return ["\n".join(e.applied(line) if n == e.line else line for n, line in enumerate(lines, 1)) for e in found]


def returned(expression, **options):
    """Return what a grad_fn returns after every edit of the expression that it returns."""
    start = "    return "
    return [text.splitlines()[1][len(start) :] for text in edited(f"def grad(u):\n{start}{expression}", **options)]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("u * 3.0 * x", "u * 2.0 * x"),
        ("-u * x", "u * x"),
        ("u * x", "-u * x"),
        ("u * x + y", "u * x - y"),
        ("u / x", "u * x"),
        ("x - y", "y - x"),
        ("u * x + f(y) * 2.0", "u * y + f(x) * 2.0"),
        ("tf.matmul(x, v) + tf.matmul(y, w)", "tf.matmul(y, v) + tf.matmul(x, w)"),
        ("u * tf.sin(x)", "u * tf.cos(x)"),
        ("tf.matmul(u, y)", "tf.matmul(u, y, transpose_b=True)"),
        ("tf.matmul(u, y, transpose_b=True)", "tf.matmul(u, y, transpose_b=False)"),
        ("tf.cumsum(u, -1)", "tf.cumsum(u, -1, reverse=True)"),
        ("tf.reduce_mean(u, 0)", "tf.reduce_sum(u, 0)"),
        ("tf.reduce_sum(u, 0)", "tf.reduce_sum(u, 1)"),
        ("u * tf.cast(x < 0.0, u.dtype)", "u * tf.cast(x > 0.0, u.dtype)"),
        ("u * y", "u * x"),
        ("u * 0.1", "u * x"),
        ("u * x if t > 1 else u", "u * x if t > 0 else u"),
        ("u * z[None]", "u * x"),
        ("u * x", "u * (1.0 - x)"),
        ("u * (1.0 - x)", "u * (x)"),
        ("u", "u * tf.cast(x > 0, x.dtype)"),
        ("u * y", "u * y * (1.0 - y)"),
        ("u * y", "u * y - y * tf.reduce_sum(u * y, axis=-1, keepdims=True)"),
        ("tf.stop_gradient(u)", "u"),
        ("(u * x, u * y)", "(u * y, u * x)"),
        ("u * x", "u * x / 1.5"),
        ("x if right else y", "y"),
        ("u * x", "u * x / tf.cast(tf.size(x), u.dtype)"),
        ("tf.math.segment_mean(u, i)", "tf.math.segment_sum(u, i)"),
        ("tf.tensor_scatter_nd_update(z, i, u)", "tf.tensor_scatter_nd_add(z, i, u)"),
        ("tf.cumsum(u, 1)", "tf.cumsum(u, 1, reverse=True, exclusive=True)"),
        ("tf.transpose(u, [1, 2, 0])", "tf.transpose(u, [2, 0, 1])"),
        ("u * x", "tf.linalg.band_part(u * x, -1, 0)"),
        ("turned(u, x)", "turned(u, -x)"),
        ("tf.gather(u, i)", "tf.gather(u, tf.argsort(i, -1))"),
        ("u / tf.cast(tf.size(u), u.dtype)", "u / x"),
        ("u - tf.reduce_mean(u, 1) - x * tf.reduce_mean(u, 1)", "u - tf.reduce_mean(u, 0) - x * tf.reduce_mean(u, 0)"),
        ("tf.transpose(u, perm=[0, 2, 1, 3])", "tf.transpose(u, perm=[0, 2, 3, 1])"),
        ("tf.einsum('ij,jk->ik', u, x)", "tf.einsum('ij,kj->ik', u, x)"),
        ("tf.einsum('bij->bji', u)", "tf.einsum('bij->bij', u)"),
        ("x * (u + x * y)", "y * (u + y * y)"),
        ("tf.reduce_sum(u, 0)", "tf.reduce_sum(u * x, 0)"),
        ("tf.math.segment_sum(u, i)", "tf.math.segment_sum(u * x, i)"),
        ("f(x, u)", "f(x, 0.5 * u)"),
        ("tf.pad(u, [[0, 0], [x, y]])", "tf.pad(u, [[0, 0], [y, x]])"),
        ("tf.pad(u, [[1, 0], [x, y]])", "tf.pad(u, [[0, 1], [y, x]])"),
        ("tf.add_n([x[j] * u[:, j] for j in range(3)])", "tf.add_n([x[2 - j] * u[:, j] for j in range(3)])"),
        ("tf.add_n([u[j : j + 3] for j in range(n)])", "tf.add_n([u[n - 1 - j : (n - 1 - j) + 3] for j in range(n)])"),
        ("tf.add_n([u[t] for t in range(3)])", "tf.add_n([u[t + 1] for t in range(3)])"),
        ("tf.add_n([x[i, j] for i in r for j in r])", "tf.add_n([x[j, i] for i in r for j in r])"),
        ("u * tf.exp(x)", "u * tf.exp(x - y)"),
        ("x[0] * u[1] + x[1] * u[0]", "x[1] * u[0] + x[0] * u[1]"),
        ("tf.add_n([u * v for v in x[-1:]])", "tf.add_n([u * v for v in x])"),
        ("tf.add_n([u * v for v in reversed(x)])", "tf.add_n([u * v for v in x])"),
        ("tf.add_n([u * x[t] - u for t in r])", "tf.add_n([u * x[t] - u * x[t] for t in r])"),
        ("tf.concat([u * x - y, x * y + u], 0)", "tf.concat([-u * x - y, -x * y + u], 0)"),
        ("u * x - v * y + v * x", "-u * x - v * y - v * x"),
        ("tf.matmul(y, tf.matmul(u, y))", "tf.matmul(y, tf.matmul(u, y, transpose_b=True), transpose_a=True)"),
        ("y @ u @ y", "tf.transpose(y) @ u @ tf.transpose(y)"),
        ("f(u) + tf.signal.irfft(x)", "f(u) + tf.signal.irfft(tf.math.conj(x))"),
        ("tf.matmul(u, x)", "tf.matmul(u, 0.5 * (x + tf.linalg.matrix_transpose(x)))"),
        ("u", "u - tf.reduce_mean(u, axis=0, keepdims=True)"),
        ("u", "u - tf.exp(x) * tf.reduce_sum(u, axis=-1, keepdims=True)"),
        (
            "u",
            "u - x * tf.reduce_sum(u * x, axis=-1, keepdims=True) / tf.reduce_sum(x * x, axis=-1, keepdims=True)",
        ),
        ("tf.exp(x) * u", "(tf.exp(x) - tf.eye(tf.shape(tf.exp(x))[-1], dtype=u.dtype)) * u"),
        ("u * x", "tf.linalg.set_diag(u * x, 0.5 * tf.linalg.diag_part(u * x))"),
        ("u", "(u + tf.linalg.matrix_transpose(u))"),
        ("2 * tf.reduce_sum(u, 1)", "2 * tf.reduce_sum(u, 1) - 2 * tf.reduce_sum(u, 0)"),
        ("tf.matmul(u, x)", "tf.matmul(u, x) + tf.matmul(u, x, transpose_b=True)"),
        ("u[:, ::2]", "u[:, ::2] + u[:, 1::2]"),
        ("tf.pad(u, [[0, 0], [1, 0]])", "tf.pad(u, [[0, 0], [1, 0]]) - tf.pad(u, [[0, 0], [0, 1]])"),
        ("u + 0.1 * x", "u + 3.0 * 0.1 * x"),
        ("u * y", "u * tf.cos(x)"),
        ("tf.einsum('bij,bni->bni', u, x)", "tf.einsum('bij,bni->bnj', u, x)"),
        ("tf.nn.conv2d(u, x, 1, 'SAME')", "tf.nn.conv2d(u, tf.reverse(x, axis=[0, 1]), 1, 'SAME')"),
        ("u * x", "(u * x) @ tf.transpose(y)"),
        ("u * x / (x + y)", "u * x / (x + y) ** 2"),
        ("tf.reduce_mean(u * x, -1, keepdims=True)", "tf.reduce_sum(u * x, -1, keepdims=True) / y"),
        ("u - x", "u - 2.0 * x"),
        ("u * x", "u * x * tf.sign(x)"),
        ("f(u * x, i) + f(u * (1 - x), i + 1)", "f(u * (1.0 - x), i) + f(u * (x), i + 1)"),
        ("u - tf.reduce_mean(u, -1)", "u * x - tf.reduce_mean(u * x, -1)"),
        ("u * x", "u * x + u"),
        ("u * x", "u * x + u * (1.0 - x)"),
        ("u * (tf.exp(x) - y)", "u * ((tf.exp(x) - y + 1.0))"),
        ("u * x", "u * x * (y)[:, None]"),
        ("tf.sigmoid(x)", "tf.sigmoid(x * y)"),
        ("tf.where(x > 0, u, tf.exp(x))", "tf.where(x > 0, u, tf.exp(x) * y)"),
        ("f(x + u, y + v - f(u))", "f(x + (u - f(x)), y + v - f(u))"),
        ("tf.add_n([tf.exp(x[t]) for t in r])", "tf.add_n([tf.exp(x[t] - x[t]) for t in r])"),
    ],
)
def test_a_known_mistake_is_undone(wrong, right):
    assert right in returned(wrong, ratio=1.5)


OF_THE_FORWARD = [
    ("y = [x[2 * j] for j in r]", "[u[j] for j in r]", "[u[2 * j] for j in r]"),
    ("y = x[::2]", "[u[j] for j in r]", "[u[2 * j] for j in r]"),
    ("y = tf.math.segment_sum(x, i)", "tf.reduce_sum(u)", "tf.gather(tf.math.segment_sum(u, i), i)"),
    (
        "y = tf.math.unsorted_segment_mean(x, i, n)",
        "tf.reduce_sum(u)",
        "tf.gather(tf.math.unsorted_segment_sum(u, i, n), i)",
    ),
    ("y = tf.maximum(x, 0.1 * x)", "u * 0.7", "u * 0.1"),
    (
        "y = tf.math.segment_mean(x, i)",
        "tf.gather(u, i)",
        "tf.gather(u, i) / tf.gather(tf.math.segment_sum(tf.ones_like(x), i), i)",
    ),
    ("s = tf.sigmoid(x); y = x * s", "u * s", "u * s * (1.0 + x * (1.0 - s))"),
    ("y = x / tf.reduce_sum(s, 1)", "u / 4.0", "u / tf.reduce_sum(s, 1)"),
    ("y = x / tf.reduce_sum(s, 1)", "u", "u / (tf.reduce_sum(s, 1))[:, None]"),
    ("y = f(x + 1) - f(x)", "f(u, x)", "f(u, x + 1)"),
    ("y = (x - s) ** 2", "u * x", "u * (x - s)"),
    ("y = x[:, None] * z[None, :]", "u * x[:, None]", "u * z[None, :]"),
    ("y = x[::2]", "[tf.pad(u, [[j, 4 - j]]) for j in r]", "[tf.pad(u, [[2 * j, 4 - 2 * j]]) for j in r]"),
    ("y = [x[j : j + 3] for j in r]", "[x[:3] * u for j in r]", "[x[j:j + 3] * u for j in r]"),
    (
        "y = [x[a, b] - z[a, b] for a in r for b in r]",
        "[u - z[b, a] for a, b in r]",
        "[u - (z[b, a] + x[b, a]) for a, b in r]",
    ),
    ("y = tf.where(x > 0.5, x, 0.0)", "u", "u * tf.cast(x > 0.5, x.dtype)"),
    ("y = tf.where(x > 0.5, 0.0, x)", "u", "u * tf.cast(x <= 0.5, x.dtype)"),
]


@pytest.mark.parametrize(("forward", "wrong", "right"), OF_THE_FORWARD)
def test_what_the_forward_does_is_tried_in_the_gradient(forward, wrong, right):
    source = f"def op(x):\n    {forward}\n    def grad(u):\n        return {wrong}\n    return y, grad"
    function = ast.parse(source).body[0].body[-2]
    lines = source.splitlines()
    texts = {
        edit.applied(lines[edit.line - 1]).strip() for edit in edits(Syntax(function, ("u", "x", "s", "z"), lines))
    }
    assert f"return {right}" in texts


def test_a_factor_that_was_left_out_is_tried_before_a_derivative():
    tree = ast.parse("def grad(u):\n    return u")
    syntax = Syntax(tree.body[0], ("u", "x"), ("def grad(u):", "    return u"))
    texts = [edit.applied(syntax.lines[1]).strip() for edit in edits(syntax, Known(None, "bypassed"))]
    assert texts.index("return u * x") < texts.index("return u * (1.0 - x)")
    assert texts.index("return 2.0 * u") < texts.index("return tf.transpose(u)")


@pytest.mark.parametrize("size", ["tf.shape(x)[0]", "tf.size(x)", "x.shape[1]", "len(x)"])
def test_a_count_that_has_a_name_is_tried_as_divisor_and_factor(size):
    found = edited(f"def grad(u):\n    n = {size}\n    return u", names=("u", "n", "x"))
    assert any(text.endswith("return u / tf.cast(n, u.dtype)") for text in found)
    assert any(text.endswith("return u * tf.cast(n, u.dtype)") for text in found)


def test_a_count_that_has_a_name_is_tried_less_one():
    found = edited("def grad(u):\n    n = len(x)\n    return u / n", names=("u", "n", "x"))
    assert any(text.endswith("return u / (n - 1)") for text in found)


def test_what_is_made_and_never_read_is_a_term_that_was_forgotten():
    found = edited("def grad(u, v):\n    a = u * x\n    b = u * y\n    return a")
    assert {"    return a + b", "    return a - b", "    return a + v"} <= {text.splitlines()[-1] for text in found}
    assert not any(text.endswith("return a - u") for text in found)


def test_a_term_of_another_line_is_tried_with_another_name():
    found = edited(
        "def grad(u):\n    a = u * x + u * z\n    b = u * y\n    return a, b", names=("u", "x", "y", "z", "w")
    )
    assert "    b = u * y + u * w" in {line for text in found for line in text.splitlines()}


def test_the_length_of_a_fourier_transform_stays_a_length():
    # TensorFlow ends the process at a length of zero.
    found = returned("tf.signal.irfft(u, [8])")
    assert "tf.signal.irfft(u, [7])" in found
    assert not {f"tf.signal.irfft(u, [{n}])" for n in (0, -1, -2)} & set(found)


def test_a_tensor_is_no_count():
    found = edited("def grad(u):\n    n = tf.reshape(u, tf.shape(x))\n    return u", names=("u", "n", "x"))
    assert not any("tf.cast(n, u.dtype)" in text for text in found)


def test_a_number_that_nobody_writes_is_not_put_there():
    assert not any("0.19634" in text or "5.0929" in text for text in returned("u * x", ratio=0.196349541))


def test_what_undoes_the_known_cause_is_tried_first():
    tree = ast.parse("def grad(u):\n    return u * x")
    syntax = Syntax(tree.body[0], ("u", "x", "y"), ("def grad(u):", "    return u * x"))
    first = {cause: next(edits(syntax, Known(None, cause))).cause for cause in ("sign-flip", "operand")}
    assert first == {"sign-flip": "sign-flip", "operand": "operand"}


def test_what_changes_a_word_is_tried_before_what_adds_a_term():
    tree = ast.parse("def grad(u):\n    return tf.reduce_mean(u, 0)")
    syntax = Syntax(tree.body[0], ("u", "x"), ("def grad(u):", "    return tf.reduce_mean(u, 0)"))
    texts = [edit.applied(syntax.lines[1]).strip() for edit in edits(syntax, Known(None, "missing-term"))]
    added = next(i for i, text in enumerate(texts) if " - x * tf.reduce_sum(" in text)
    assert texts.index("return tf.reduce_sum(u, 0)") < added


def test_the_axes_of_the_forward_are_tried_in_the_gradient():
    source = """
def op(x):
    def grad(u):
        return u - tf.reduce_mean(u, [3])
    return x - tf.reduce_mean(x, [1, 3]), grad
"""
    tree = ast.parse(source)
    function = tree.body[0].body[0]
    lines = source.splitlines()
    texts = {edit.applied(lines[edit.line - 1]).strip() for edit in edits(Syntax(function, ("u", "x"), lines))}
    assert "return u - tf.reduce_mean(u, [1, 3])" in texts


def test_functions_that_the_gradient_alone_calls_are_edited_too():
    source = """
def op(x):
    def slope(v):
        return tf.sin(v)
    both = lambda v: tf.cos(v)
    def grad(u):
        return u * slope(x) + both(x)
    return both(x), grad
"""
    function = ast.parse(source).body[0].body[2]
    lines = source.splitlines()
    syntax = Syntax(function, ("u", "x"), lines)
    texts = {edit.applied(lines[edit.line - 1]).strip() for edit in edits(syntax)}
    assert "return tf.cos(v)" in texts
    assert not any(text.startswith("both =") for text in texts)
    assert "tf.sin(v)" not in {ast.unparse(node) for node in syntax.outside}


def test_what_binds_otherwise_gets_brackets():
    found = returned("u * (x + y)")
    assert "-u * (x + y)" in found
    assert "u * (x - y)" in found
    assert not any(text.startswith("u * x + y") for text in found)


@pytest.mark.parametrize(
    "loop",
    [
        "while u > 0.5:\n        u = u * x",
        "goes_on = lambda v: v > 0.5\n    u = tf.while_loop(goes_on, lambda v: [v * x], [u])",
        "u = tf.while_loop(lambda v: v > 0.5, lambda v: [v * x], [u])",
        "u = tf.while_loop(cond=lambda v: v > 0.5, body=lambda v: [v * x], loop_vars=[u])",
    ],
)
def test_what_a_loop_does_is_edited_and_not_how_long_it_goes_on(loop):
    source = f"def grad(u):\n    {loop}\n    return u"
    assert Syntax(ast.parse(source).body[0], ("u", "x"), source.splitlines()).may_loop_on
    found = edited(source, names=("u", "x"))
    assert any("v / x" in text or "u / x" in text for text in found)
    assert all(" > 0.5" in text for text in found)


def test_a_loop_over_numbers_ends():
    source = "def grad(u):\n    for i in range(3):\n        u = u * x\n    return u"
    assert not Syntax(ast.parse(source).body[0], ("u", "x"), source.splitlines()).may_loop_on


def test_letters_beyond_ascii_are_not_cut():
    assert Edit(1, 5, 8, "2.0").applied("μ * 3.0") == "μ * 2.0"
    assert "μ * 2.0" in returned("μ * 3.0", ratio=1.5)


EXPRESSIONS = st.recursive(
    st.sampled_from(["u", "x", "y", "2.0", "3"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        st.tuples(st.sampled_from(["tf.sin", "tf.reduce_sum", "-"]), inner).map(
            lambda parts: f"{parts[0]}({parts[1]})"
        ),
    ),
    max_leaves=5,
)


@given(EXPRESSIONS)
def test_every_edit_is_python_and_changes_something(expression):
    before = ast.dump(ast.parse(expression))
    found = returned(expression)
    assert found
    parsed = [ast.dump(ast.parse(text)) for text in found]
    assert sum(text == before for text in parsed) <= len(parsed) // 4

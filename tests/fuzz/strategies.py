"""Specs that are nearly right, and ops put together at random."""

from __future__ import annotations

import json

import yaml
from hypothesis import strategies as st

from gradcheck.spec.schema import DTYPES, SCHEMA, SOURCES

CASE_KEYS = tuple(SCHEMA["definitions"]["case"]["properties"])
INPUT_KEYS = tuple(SCHEMA["definitions"]["drawn"]["properties"])

_words = st.sampled_from(
    [*DTYPES, *SOURCES, "eager", "xla", "all", "none", "spd", "op", "x.npy", "", "é", "a b", "1e5"]
)
_numbers = st.one_of(
    st.integers(-3, 5), st.sampled_from([2**31, 2**63, -(2**70), 10**12]), st.floats(), st.booleans(), st.none()
)
_scalars = st.one_of(_words, _numbers, st.text(max_size=8))
_anything = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(INPUT_KEYS + CASE_KEYS), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=12,
)
_shapes = st.lists(st.integers(0, 4), max_size=3)
_inputs = st.one_of(
    _shapes.map(lambda shape: {"shape": shape}),
    st.dictionaries(st.sampled_from(INPUT_KEYS), st.one_of(_shapes, _anything), max_size=5),
    _anything,
)
_cases = st.one_of(
    st.fixed_dictionaries(
        {"inputs": st.dictionaries(st.sampled_from(["x", "y", "1x", "a b"]), _inputs, max_size=3)},
        optional={key: _anything for key in CASE_KEYS if key != "inputs"},
    ),
    _anything,
)
spec_data = st.one_of(
    st.fixed_dictionaries(
        {"module": st.one_of(st.just("ops.py"), _scalars), "cases": st.dictionaries(_words, _cases, max_size=3)},
        optional={"defaults": _anything, "other": _anything},
    ),
    _anything,
)
# Data as YAML writes it, then with a few characters changed, which makes tabs, tags, anchors and odd bytes.
_edits = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(list("\t[]{}:,&*!|>%@`'\"#-?\n\x00\x1bé~<"))), max_size=3
)


@st.composite
def spec_bytes(draw) -> bytes:
    """Return the bytes of a file that looks like a spec."""
    text = yaml.dump(draw(spec_data), allow_unicode=True, default_flow_style=draw(st.sampled_from([None, True, False])))
    for place, character in draw(_edits):
        place = min(place, len(text))
        text = text[:place] + character + text[place:]
    return text.encode("utf-8", "surrogatepass")


UNARY = ("tf.sin({})", "tf.tanh({})", "tf.abs({})", "tf.nn.relu({})", "tf.exp(-{0} * {0})", "tf.round({})",
         "tf.reduce_sum({}, -1, keepdims=True)", "tf.nn.softmax({})", "tf.cumsum({}, -1)", "tf.reverse({}, [-1])",
         "tf.sqrt(tf.abs({}) + 1e-3)", "tf.math.log1p(tf.abs({}))", "tf.stop_gradient({})", "{} * 2.0")  # fmt: skip
BINARY = ("{} + {}", "{} * {}", "tf.maximum({}, {})", "tf.where({} > 0.0, {}, x)", "{} / (1.0 + {} * {})")
GRADIENTS = ("u * g", "u * g * 1.01", "-u * g", "u", "None", "tf.reduce_sum(u * g)", "u * u * g",
             "tf.cast(u * g, tf.float64)", "[u * g, u]", "u * g / 0.0", "tf.abs(u) * g", "u.numpy() * g",
             "{1: u}")  # fmt: skip


@st.composite
def modules(draw) -> str:
    """Return the source of an op put together at random, with a gradient that may be anything."""
    expression = "x"
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            expression = draw(st.sampled_from(UNARY)).format(expression)
        else:
            pattern = draw(st.sampled_from(BINARY))
            expression = "(" + pattern.format(*[expression] * pattern.count("{")) + ")"
    lines = ["import tensorflow as tf", f"def forward(x):\n    return {expression}"]
    if draw(st.booleans()):
        lines += ["op = forward"]
    else:
        lines += [
            "@tf.custom_gradient\ndef op(x):\n    with tf.GradientTape() as tape:",
            "        tape.watch(x)\n        y = forward(x)",
            f"    g = tape.gradient(y, x)\n    return y, lambda u: {draw(st.sampled_from(GRADIENTS))}",
        ]
    return "\n".join(lines) + "\n"


shapes = st.sampled_from([[], [0], [1], [3], [2, 3], [4, 1], [0, 3], [2, 2, 2], [40]])
dtypes = st.sampled_from(["float16", "bfloat16", "float32", "float64", "complex64", "int32"])


_DESCRIPTIONS = st.sampled_from(
    [
        "<f4",
        "<f8",
        ">f8",
        "|b1",
        "<i4",
        "|u1",
        "<c8",
        "<c16",
        "<f2",
        "<f3",
        "O",
        "<U4",
        "<M8[s]",
        "V8",
        "",
        "<f4\n",
        "[('a', '<f4')]",
        "=f4",
        "|i8",
        ">i2",
    ]
)
_SIZES = st.one_of(st.integers(0, 4), st.sampled_from([-1, 2**31, 2**62, 2**64, 10**400]))
_SHAPES = st.one_of(
    st.lists(_SIZES, max_size=4).map(lambda sizes: f"({''.join(f'{size}, ' for size in sizes)})"),
    st.sampled_from(
        ["(1e999,)", "[2]", "2", "(True,)", "((2,),)", "(2,) * 10**9", "None", "(" + "1," * 70 + ")", "-1"]
    ),
)


@st.composite
def npy_bytes(draw) -> bytes:
    """Return the bytes of a file that looks like one of np.save's: header and data may be anything."""
    order = draw(st.sampled_from(["True", "False", "1", "None"]))
    header = f"{{'descr': {draw(_DESCRIPTIONS)!r}, 'fortran_order': {order}, 'shape': {draw(_SHAPES)}, }}"
    for place, character in draw(_edits):
        place = min(place, len(header))
        header = header[:place] + character + header[place:]
    text = header.encode("utf-8", "replace")
    version = draw(st.sampled_from([1, 1, 1, 2, 3, 0, 9]))
    length = draw(st.one_of(st.just(len(text)), st.integers(0, 2**16 - 1)))
    start = b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(2 if version == 1 else 4, "little")
    return start + text + draw(st.one_of(st.binary(max_size=64), st.integers(0, 1024).map(bytes)))


_RECORDS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def cache_bytes(draw) -> bytes:
    """Return the bytes of a file that looks like the history of earlier runs."""
    good = {"ops.yaml::op": {"status": "failed", "duration_s": 0.5}}
    cases = draw(st.one_of(st.dictionaries(st.text(max_size=8), _RECORDS, max_size=4), _RECORDS))
    data = draw(st.sampled_from([{"cases": cases}, {"cases": {**good, "other": cases}}, cases, {"cases": [cases]}]))
    text = json.dumps(data)
    for place, character in draw(_edits):
        place = min(place, len(text))
        text = text[:place] + character + text[place:]
    deep = draw(st.sampled_from(["", "", "[" * 100_000, '{"cases": ' * 5_000]))
    return (deep + text).encode("utf-8", "surrogatepass")

# SPDX-License-Identifier: Apache-2.0
"""Every key of a spec in words: what may stand there, what holds without it, what it means, an example.

The JSON Schema (hover texts of editors), `gradcheck explain KEY`, the reference pages and the README take
their words from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """Describe a key; `example` is YAML as it stands in a case or in an input, `since` the first version with it."""

    kind: str
    default: str
    meaning: str
    example: str
    since: str = "0.1.0"


FILE_KEYS: Mapping[str, Key] = {
    "module": Key(
        "a path or a dotted name",
        "required, here or in every case",
        "The Python file of the ops, from the folder of the spec (`ops.py`, `../src/ops.py`), or a dotted name"
        " (`mypackage.ops`).",
        "module: ops.py",
    ),
    "defaults": Key(
        "a mapping of case keys", "nothing",
        "Keys that hold for every case of the file, all but `op` and `inputs`; a case's own win.",
        "defaults: {modes: [eager, function], rtol: 1.0e-4}",
    ),
    "cases": Key(
        "a mapping", "required", "A name for each case, and its keys. `FILE::NAME` is its id.",
        "cases: {square: {inputs: {x: {shape: [4, 3]}}}}",
    ),
}  # fmt: skip

CASE_KEYS: Mapping[str, Key] = {
    "op": Key(
        "a name", "the name of the case",
        "The function, class or layer of the module that is checked, dotted where it is nested. `Class.method` checks a"
        " method of an instance, made with `build`.",
        "op: square",
    ),
    "inputs": Key(
        "a mapping", "required, but for `factory`",
        "The tensors that the op is called with, by the names of its parameters: numbers as they are, or how to draw"
        " them.",
        "inputs: {x: {shape: [4, 3]}, y: [1.0, 2.0, 3.0]}",
    ),
    "arguments": Key(
        "a mapping", "nothing",
        "Arguments of the call that are no tensors: numbers, strings, flags. A default that is not given here is not"
        " passed, and TensorFlow asks for no gradient of it.",
        "arguments: {axis: -1}",
    ),
    "build": Key(
        "a mapping", "nothing",
        "Keyword arguments with which `op` is called once; what it returns is checked. For layers and for functions"
        " that make ops. `build: {}` calls it without arguments.",
        "build: {units: 3}",
    ),
    "factory": Key(
        "a name", "nothing",
        "A function of the module that is called without arguments and returns the op, or `(op, inputs)` with tensors"
        " and Python objects.",
        "factory: make_op",
    ),
    "module": Key(
        "a path or a dotted name", "the file's", "Another module than the file's, for this case.", "module: other.py"
    ),
    "reference": Key(
        "a name", "the op without its custom gradients",
        "A plain function of the module that computes the same; its autodiff is the reference. Or `exact`: compare in"
        " exact arithmetic too, to 80 digits (needs python-flint: `pip install python-flint`);"
        " `auto`: where that can be done.",
        "reference: plain_square",
    ),
    "surrogate": Key(
        "a name", "nothing",
        "The function whose gradient is meant, where the gradient is not that of the forward on purpose: a"
        " straight-through step, a reversal. Also a method of a built op (`Quantizer.smooth`).",
        "surrogate: identity",
    ),
    "expected_vjp": Key(
        "a name", "nothing",
        "A function `(*inputs, upstream)` that returns the gradients that are meant, for what is no derivative of any"
        " function: clipping, noise.",
        "expected_vjp: clipped_gradient",
    ),
    "intended": Key(
        "a list of names", "nothing",
        "Functions under tf.custom_gradient inside the op whose rules are meant as they are: they are not bypassed for"
        " the reference.",
        "intended: [ste_round]",
    ),
    "expect": Key(
        "a list of findings", "nothing",
        "The errors that this case has today, as `code` or `code/cause`. It passes if exactly these are found.",
        "expect: [gradient-mismatch/straight-through]",
    ),
    "reason": Key(
        "a text", "nothing", "Why the case expects an error, or declares a gradient that is not the derivative.",
        "reason: known, see issue 12",
    ),
    "modes": Key(
        "a list, or `all`", "[eager, function, xla]",
        "Where the gradient is run: `eager`, `function` (tf.function), `xla`; and `forward`, `vectorized`, `saved`, the"
        " other ways in which TensorFlow uses a gradient.",
        "modes: [eager, function]",
    ),
    "tapes": Key(
        "a list", "[inside, outside]",
        "Where the GradientTape stands: inside of the traced function, or outside around its call.", "tapes: [inside]",
    ),
    "devices": Key(
        "a list", "[cpu:0], and a GPU if there is one", "The devices on which the op is run.", "devices: [all]"
    ),
    "dtypes": Key(
        "a list", "as the inputs say", "Run the case once for each of these dtypes.", "dtypes: [float32, float64]"
    ),
    "strategy": Key(
        "`mirrored`", "nothing",
        "Run the op also in the replicas of a tf.distribute.MirroredStrategy, on two logical CPUs if there is no GPU.",
        "strategy: mirrored",
    ),
    "expectation": Key(
        "a mapping", "nothing",
        "The gradient is a random estimate: the mean over `samples` draws (1000) from `seed` (that of the run) is"
        " compared with the reference, by its standard error. Where the value itself is random name the function of"
        " its mean with `reference`.",
        "expectation: {samples: 1000, seed: 0}",
    ),
    "cost": Key(
        "a mapping", "nothing, or `--cost`",
        "Measure time and peak memory beside autodiff of the plain forward, also with these numbers of rows.",
        "cost: {sizes: [100, 1000]}",
    ),
    "order": Key(
        "1 or 2", "1", "With 2, the gradient of the gradient is checked too, where it is defined.", "order: 2"
    ),
    "samples": Key("a whole number", "1", "How many draws of the inputs are checked.", "samples: 3"),
    "coverage": Key(
        "`full`, `directional` or `auto`", "auto",
        "Whether every element of the gradient is differenced, or random directions; `auto` takes directions for large"
        " inputs.",
        "coverage: full",
    ),
    "variables": Key(
        "`all`, `none` or a list of names", "all",
        "Which variables are checked beside the inputs: all trainable ones, none, or those that are named.",
        "variables: none",
    ),
    "dynamic_shapes": Key(
        "true or false", "tried, without failing the case",
        "Trace the op with unknown dimensions, and try other sizes. With `true` an op that refuses unknown ones fails,"
        " with `false` none are tried: the op is made for its sizes.",
        "dynamic_shapes: true",
    ),
    "rtol": Key(
        "a number", "derived from the precision of the op",
        "The relative error that is allowed, in place of the derived one.", "rtol: 1.0e-3",
    ),
    "atol": Key(
        "a number", "0 with `rtol`", "The absolute error that is allowed besides.", "atol: 1.0e-6"
    ),
    "seed": Key("a whole number", "0", "The seed of all random draws.", "seed: 7"),
    "timeout": Key("seconds", "120", "How long the case may run.", "timeout: 300"),
    "skip": Key("a text", "nothing", "Leave the case out, and say why.", "skip: needs a GPU"),
    "tags": Key("a list of words", "nothing", "Words by which `--tag` selects cases.", "tags: [slow]"),
    "upstream": Key(
        "a list of .npy files", "drawn",
        "The upstream gradients, one file for each floating output.", "upstream: [upstream.npy]",
    ),
}  # fmt: skip

INPUT_KEYS: Mapping[str, Key] = {
    "shape": Key(
        "a list of sizes", "required, where numbers are drawn", "The shape; `[]` is a scalar.", "{shape: [4, 3]}"
    ),
    "dtype": Key(
        "a dtype", "float32; int32 for whole numbers",
        "The dtype of the tensor.", "{shape: [4], dtype: float16}",
    ),
    "normal": Key(
        "{mean, stddev}", "mean 0, stddev 1", "Draw from a normal distribution.",
        "{shape: [4], normal: {mean: 1, stddev: 0.5}}",
    ),
    "uniform": Key("{low, high}", "-", "Draw evenly between two numbers.", "{shape: [4], uniform: {low: 0, high: 1}}"),
    "log_uniform": Key(
        "{low, high}", "-", "Draw so that every power of ten is as likely: for scales and rates.",
        "{shape: [4], log_uniform: {low: 0.001, high: 10}}",
    ),
    "integers": Key(
        "{low, high}", "0 to 10", "Draw whole numbers, `high` left out: ids, labels, lengths.",
        "{shape: [4], integers: {low: 0, high: 5}}",
    ),
    "linspace": Key(
        "{start, stop}", "-", "Numbers at equal distances.", "{shape: [5], linspace: {start: -1, stop: 1}}"
    ),
    "constant": Key("a number", "-", "The same number everywhere.", "{shape: [4], constant: 2.5}"),
    "values": Key("a nested list", "-", "The numbers themselves.", "{values: [[0, 0, 3.72]], dtype: float32}"),
    "file": Key("a .npy file", "-", "Numbers from a file, from the folder of the spec.", "{file: x.npy}"),
    "avoid": Key(
        "a list of numbers", "nothing",
        "Numbers that drawn values keep away from: kinks of the op.", "{shape: [4], avoid: [0.0]}",
    ),
    "margin": Key("a number", "0.05", "How far from them.", "{shape: [4], avoid: [0.0], margin: 0.1}"),
    "differentiate": Key(
        "true, false or `none`", "true",
        "`false`: the gradient of this input is not compared. `none`: it must be None or zero. With a `domain` it takes"
        " other numbers too.",
        "{shape: [4], differentiate: false}",
    ),
    "domain": Key(
        "[low, high]", "everywhere",
        "Where the op is defined: nothing that is tried leaves it; its ends belong to it and are tried. `.inf` for no"
        " end.",
        "{shape: [4], uniform: {low: 0.1, high: 2}, domain: [0, .inf]}",
    ),
    "structure": Key(
        "`symmetric`, `spd` or `lower-triangular`", "nothing",
        "The matrix is drawn so and moved only so; gradients are compared on such matrices.",
        "{shape: [3, 3], structure: spd}",
    ),
    "sparse": Key(
        "true or false", "false",
        "Hand it over as tf.SparseTensor. XLA has few kernels for sparse tensors: add `modes: [eager, function]`.",
        "{shape: [4, 3], sparse: true}",
    ),
    "ragged": Key("a list of row lengths", "nothing", "Hand it over as tf.RaggedTensor.", "{ragged: [2, 0, 3]}"),
    "items": Key(
        "a mapping or a list of inputs", "nothing", "A dictionary or list of tensors; a list also fills `*args`.",
        "{items: {a: {shape: [4]}, b: {shape: [4]}}}",
    ),
}  # fmt: skip

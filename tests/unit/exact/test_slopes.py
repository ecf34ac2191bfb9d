"""Every kind of op has the slope of its value: balls are exact enough for a difference with a step of 2^-100."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb

from gradcheck.exact import matrices, networks, reductions
from gradcheck.exact.balls import Dual, Unknown, dual, lift, set_precision
from gradcheck.exact.elementwise import ONES, TWOS
from gradcheck.exact.kinds import KINDS
from gradcheck.exact.orders import ORDER_ONES, ORDER_TWOS

STEP, ALIKE = arb(2) ** -100, 1e-25
# Where a function of one number is defined, if not on the whole line.
DOMAINS = {
    "Log": (0.2, 3), "Log1p": (-0.5, 3), "Sqrt": (0.2, 3), "Rsqrt": (0.2, 3), "Asin": (-0.9, 0.9), "Acos": (-0.9, 0.9),
    "Acosh": (1.2, 3), "Atanh": (-0.9, 0.9), "Erfinv": (-0.9, 0.9), "Ndtri": (0.1, 0.9), "Digamma": (0.2, 3),
    "Expint": (0.2, 3), "Spence": (0.2, 1.8), "BesselY0": (0.2, 3), "BesselY1": (0.2, 3), "BesselK0": (0.2, 3),
    "BesselK1": (0.2, 3), "BesselK0e": (0.2, 3), "BesselK1e": (0.2, 3), "Reciprocal": (0.2, 3), "Inv": (0.2, 3),
}  # fmt: skip
FIXED_FIRST = {"Polygamma", "Zeta", "Igamma", "Igammac"}


@pytest.fixture(autouse=True)
def precision():
    set_precision()


def moved(x: Dual, direction) -> tuple[Dual, Dual, Dual]:
    """Return x with a slope, and x moved a step to both sides."""
    step = lift(direction).value * STEP
    return Dual(x.value, (lift(direction).value,)), Dual(x.value + step), Dual(x.value - step)


def check(function, *operands, fixed=()):
    """Compare the slope of a function with its difference, each operand moving in a direction of its own."""
    rng = np.random.default_rng(3)
    triples = []
    for number, operand in enumerate(operands):
        still = number in fixed or not isinstance(operand, Dual)
        triples.append((operand,) * 3 if still else moved(operand, rng.integers(1, 9, operand.shape)))
    found, above, below = (function(*(triple[side] for triple in triples)) for side in range(3))
    slope = np.broadcast_to(found.slopes[0], found.shape)
    difference = (above.value - below.value) / (2 * STEP)
    gaps = [abs(float(gap)) for gap in np.ravel(slope - difference)]
    sizes = [1.0 + abs(float(size)) for size in np.ravel(difference)]
    assert all(gap <= ALIKE * size for gap, size in zip(gaps, sizes, strict=True))


def numbers(low=-3.0, high=3.0, shape=(7,), seed=0):
    return lift(np.random.default_rng(seed).uniform(low, high, shape))


@pytest.mark.parametrize("name", sorted({**ONES, **ORDER_ONES}))
def test_a_function_of_one_number_has_the_slope_of_its_value(name):
    function = {**ONES, **ORDER_ONES}[name]
    x = numbers(*DOMAINS.get(name, (-3.0, 3.0)))
    if not function(moved(x, np.ones(7))[0]).slopes:
        pytest.skip("a staircase has no slope")
    check(function, x)


@pytest.mark.parametrize("name", sorted({**TWOS, **ORDER_TWOS}))
def test_a_function_of_two_numbers_has_the_slope_of_its_value(name):
    function = {**TWOS, **ORDER_TWOS}[name]
    low = 2.0 if name == "Zeta" else 0.3
    x = lift([1.0, 2.0, 3.0]) if name == "Polygamma" else numbers(low, 3.0, (3,))
    y = numbers(0.3, 3.0, (3,), seed=1)
    found = function(x, moved(y, np.ones(3))[0])
    if not isinstance(found, Dual) or not found.slopes:
        pytest.skip("no number, or a staircase")
    check(function, x, y, fixed=(0,) if name in FIXED_FIRST else ())


@pytest.mark.parametrize("name", ["Zeta", "Igamma", "Igammac"])
def test_a_slope_without_a_formula_is_unknown(name):
    x = numbers(2.0, 3.0, (3,))
    with pytest.raises(Unknown):
        TWOS[name](moved(x, np.ones(3))[0], x)


def attributes(**given):
    return lambda name: given[name]


def kind(name, *rest, **given):
    """Return a kind as a function of its balls: what it returns first."""
    return lambda *operands: KINDS[name]([*operands, *rest], attributes(**given))[0]


SQUARE = lift(np.random.default_rng(5).normal(size=(2, 3, 3)) + 2 * np.eye(3))
POSITIVE = lift((lambda a: a @ np.swapaxes(a, -1, -2) + np.eye(3))(np.random.default_rng(6).normal(size=(2, 3, 3))))
ROWS = numbers(shape=(2, 3, 2), seed=8)
IMAGES, FILTERS = numbers(shape=(2, 5, 4, 3), seed=9), numbers(shape=(2, 3, 3, 2), seed=10)
LAYOUT = {"data_format": b"NHWC", "strides": [1, 2, 1, 1], "padding": b"SAME", "dilations": [1, 1, 1, 1]}
POOL = {**LAYOUT, "ksize": [1, 2, 2, 1]}
SHAPE, FILTER_SHAPE = np.array(IMAGES.shape), np.array(FILTERS.shape)
UPSTREAM, BY_CHANNEL = numbers(shape=(2, 3, 4, 2), seed=11), numbers(shape=(2, 3, 4, 6), seed=12)
OF_POOL = numbers(shape=(2, 3, 4, 3), seed=13)
KEPT, DROPPED = {"keep_dims": True}, {"keep_dims": False}
RUNNING = {"exclusive": True, "reverse": True}
OPERATIONS = {
    "MatMul": (kind("MatMul", transpose_a=False, transpose_b=True), numbers(shape=(2, 3)), numbers(shape=(4, 3))),
    "BatchMatMulV2": (kind("BatchMatMulV2", adj_x=True, adj_y=False), SQUARE, ROWS),
    "Einsum": (kind("Einsum", equation=b"bij,bjk->bik"), SQUARE, ROWS),
    "MatrixInverse": (kind("MatrixInverse", adjoint=False), SQUARE),
    "MatrixInverse, adjoint": (kind("MatrixInverse", adjoint=True), SQUARE),
    "MatrixSolve": (kind("MatrixSolve", adjoint=True), SQUARE, ROWS),
    "MatrixTriangularSolve": (kind("MatrixTriangularSolve", adjoint=False, lower=True), SQUARE, ROWS),
    "MatrixTriangularSolve, upper": (kind("MatrixTriangularSolve", adjoint=True, lower=False), SQUARE, ROWS),
    "Cholesky": (kind("Cholesky"), POSITIVE),
    "MatrixDeterminant": (kind("MatrixDeterminant"), SQUARE),
    "LogMatrixDeterminant": (lambda a: matrices.log_determinant([a], attributes())[1], SQUARE),
    "Sum": (kind("Sum", np.array([0, 2]), **KEPT), ROWS),
    "Mean": (kind("Mean", np.array(-1), **DROPPED), ROWS),
    "Prod": (kind("Prod", np.array([1]), **KEPT), ROWS),
    "Max": (kind("Max", np.array([0, 1]), **DROPPED), ROWS),
    "Min": (kind("Min", np.array([2]), **KEPT), ROWS),
    "EuclideanNorm": (kind("EuclideanNorm", np.array([2]), **DROPPED), ROWS),
    "Cumsum": (kind("Cumsum", np.array(1), **RUNNING), ROWS),
    "Cumprod": (kind("Cumprod", np.array(1), exclusive=False, reverse=False), ROWS),
    "L2Loss": (kind("L2Loss"), ROWS),
    "AddN": (lambda a, b: reductions.add_n([a, b], attributes())[0], ROWS, numbers(shape=(2, 3, 2), seed=4)),
    "BiasAdd": (kind("BiasAdd", data_format=b"NHWC"), ROWS, numbers(shape=(2,))),
    "BiasAddGrad": (kind("BiasAddGrad"), ROWS),
    "UnsortedSegmentSum": (kind("UnsortedSegmentSum", np.array([1, 0]), np.array(3)), ROWS),
    "UnsortedSegmentMax": (kind("UnsortedSegmentMax", np.array([[0, 1, 0], [1, 1, 0]]), np.array(2)), ROWS),
    "SegmentMean": (kind("SegmentMean", np.array([0, 0, 1])), numbers(shape=(3, 2))),
    "ScatterNd": (lambda u: reductions.scatter_nd([np.array([[1], [1], [0]]), u, np.array([4, 2])], attributes())[0],
                  numbers(shape=(3, 2))),
    "TensorScatterAdd": (lambda t, u: KINDS["TensorScatterAdd"]([t, np.array([[1], [1]]), u], attributes())[0],
                         numbers(shape=(3, 2)), numbers(shape=(2, 2), seed=2)),
    "TensorScatterUpdate": (lambda t, u: KINDS["TensorScatterUpdate"]([t, np.array([[1], [2]]), u], attributes())[0],
                            numbers(shape=(3, 2)), numbers(shape=(2, 2), seed=2)),
    "Softmax": (kind("Softmax"), ROWS),
    "LogSoftmax": (kind("LogSoftmax"), ROWS),
    "SoftmaxCrossEntropyWithLogits": (kind("SoftmaxCrossEntropyWithLogits"), numbers(shape=(3, 4)),
                                      numbers(0.1, 1.0, (3, 4), seed=2)),
    "SparseSoftmaxCrossEntropyWithLogits": (kind("SparseSoftmaxCrossEntropyWithLogits", np.array([1, 0, 3])),
                                            numbers(shape=(3, 4))),
    "Conv2D": (kind("Conv2D", **LAYOUT), IMAGES, FILTERS),
    "Conv2DBackpropInput": (lambda w, dy: networks.convolution_input([SHAPE, w, dy], attributes(**LAYOUT))[0],
                            FILTERS, UPSTREAM),
    "Conv2DBackpropFilter": (lambda x, dy: networks.convolution_filter([x, FILTER_SHAPE, dy], attributes(**LAYOUT))[0],
                             IMAGES, UPSTREAM),
    "DepthwiseConv2dNative": (kind("DepthwiseConv2dNative", **LAYOUT), IMAGES, FILTERS),
    "DepthwiseConv2dNativeBackpropInput": (
        lambda w, dy: networks.depthwise_input([SHAPE, w, dy], attributes(**LAYOUT))[0], FILTERS, BY_CHANNEL),
    "DepthwiseConv2dNativeBackpropFilter": (
        lambda x, dy: networks.depthwise_filter([x, FILTER_SHAPE, dy], attributes(**LAYOUT))[0], IMAGES, BY_CHANNEL),
    "AvgPool": (kind("AvgPool", **POOL), IMAGES),
    "AvgPoolGrad": (lambda dy: networks.average_pool_grad([SHAPE, dy], attributes(**POOL))[0], OF_POOL),
    "MaxPool": (kind("MaxPool", **POOL), IMAGES),
    "MaxPoolGrad": (lambda dy: networks.max_pool_grad([IMAGES, dual(OF_POOL), dy], attributes(**POOL))[0], OF_POOL),
    "TopKV2": (kind("TopKV2", np.array(2)), ROWS),
    "LeakyRelu": (kind("LeakyRelu", alpha=0.2), ROWS),
    "Select": (lambda a, b: KINDS["SelectV2"]([np.array([True, False]), a, b], attributes())[0], ROWS,
               numbers(shape=(2, 3, 2), seed=4)),
    "ClipByValue": (kind("ClipByValue", lift(-1.0), lift(1.0)), ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_the_slope_of_its_value(name):
    function, *operands = OPERATIONS[name]
    check(function, *operands)

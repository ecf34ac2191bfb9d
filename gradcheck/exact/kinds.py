# SPDX-License-Identifier: Apache-2.0
"""Every kind of op of TensorFlow that is known exactly, by its name: what it makes of balls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradcheck.exact import matrices, networks, orders, reductions
from gradcheck.exact.balls import ONE, ZERO, Dual, Operand, add, dual, multiply
from gradcheck.exact.elementwise import ONES, TWOS
from gradcheck.exact.orders import ORDER_ONES, ORDER_TWOS
from gradcheck.exact.reductions import Kind


def _of_one(function: Callable[[Dual], Operand]) -> Kind:
    return lambda inputs, attribute: [function(dual(inputs[0]))]


def _of_two(function: Callable[[Dual, Dual], Operand]) -> Kind:
    return lambda inputs, attribute: [function(dual(inputs[0]), dual(inputs[1]))]


KINDS: Mapping[str, Kind] = {
    **{name: _of_one(function) for name, function in {**ONES, **ORDER_ONES}.items()},
    **{name: _of_two(function) for name, function in {**TWOS, **ORDER_TWOS}.items()},
    **dict.fromkeys(
        ("Select", "SelectV2"),
        lambda inputs, attribute: [orders.select(inputs[0], dual(inputs[1]), dual(inputs[2]))],
    ),
    "ClipByValue": lambda inputs, attribute: [orders.clip(dual(inputs[0]), dual(inputs[1]), dual(inputs[2]))],
    "LeakyRelu": orders.leaky_relu,
    "LeakyReluGrad": orders.leaky_relu_grad,
    "ArgMax": orders.arg_max,
    "ArgMin": orders.arg_min,
    "TopKV2": orders.top_k,
    "TopK": orders.top_k,
    "IsFinite": orders.is_number(lambda x: x.is_finite()),
    "IsNan": orders.is_number(lambda x: x.is_nan()),
    "IsInf": orders.is_number(lambda x: not x.is_finite() and not x.is_nan()),
    "Cast": orders.cast,
    "Sum": reductions.sums,
    "Mean": reductions.means,
    "Prod": reductions.products,
    "Max": reductions.extremes(1),
    "Min": reductions.extremes(-1),
    "Cumsum": reductions.cumulative(add, ZERO),
    "Cumprod": reductions.cumulative(multiply, ONE),
    "EuclideanNorm": reductions.norms,
    "L2Loss": reductions.half_squares,
    "AddN": reductions.add_n,
    "AccumulateNV2": reductions.add_n,
    "ZerosLike": reductions.zeros_like,
    "OnesLike": reductions.ones_like,
    "Fill": reductions.filled,
    "BiasAdd": reductions.bias_add,
    "BiasAddGrad": reductions.bias_add_grad,
    "ScatterNd": reductions.scatter_nd,
    "TensorScatterUpdate": reductions.tensor_scatter(replace=True),
    "TensorScatterAdd": reductions.tensor_scatter(replace=False),
    "TensorScatterSub": reductions.tensor_scatter(replace=False, sign=-1),
    "UnsortedSegmentSum": reductions.segment_sums(),
    "SegmentSum": reductions.segment_sums(),
    **dict.fromkeys(("UnsortedSegmentMax", "SegmentMax"), reductions.segment_extremes(1)),
    **dict.fromkeys(("UnsortedSegmentMin", "SegmentMin"), reductions.segment_extremes(-1)),
    **dict.fromkeys(("UnsortedSegmentProd", "SegmentProd"), reductions.segment_products),
    "CumulativeLogsumexp": reductions.running_log_sums,
    "Range": reductions.numbers_from,
    "SegmentMean": reductions.segment_sums(mean=True),
    "MatMul": matrices.mat_mul,
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), matrices.batch_mat_mul),
    "SparseTensorDenseMatMul": matrices.sparse_mat_mul,
    "Einsum": matrices.einsum,
    "MatrixInverse": matrices.inverse,
    "MatrixSolve": matrices.solve,
    "MatrixTriangularSolve": matrices.triangular_solve,
    "Cholesky": matrices.cholesky,
    "MatrixDeterminant": matrices.determinant,
    "LogMatrixDeterminant": matrices.log_determinant,
    "Softmax": networks.softmax,
    "LogSoftmax": networks.log_softmax,
    "SoftmaxCrossEntropyWithLogits": networks.cross_entropy,
    "SparseSoftmaxCrossEntropyWithLogits": networks.sparse_cross_entropy,
    "Conv2D": networks.convolution,
    "Conv2DBackpropInput": networks.convolution_input,
    "Conv2DBackpropFilter": networks.convolution_filter,
    "DepthwiseConv2dNative": networks.depthwise,
    "DepthwiseConv2dNativeBackpropInput": networks.depthwise_input,
    "DepthwiseConv2dNativeBackpropFilter": networks.depthwise_filter,
    "AvgPool": networks.average_pool,
    "AvgPoolGrad": networks.average_pool_grad,
    "MaxPool": networks.max_pool,
    "MaxPoolGrad": networks.max_pool_grad,
}

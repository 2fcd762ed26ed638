# SPDX-License-Identifier: Apache-2.0
"""The operators; one file each, under the stem that its C kernel and its test share."""

from __future__ import annotations

from typing import Final

from tinyq.ops.add import Add
from tinyq.ops.average_pool2d import AveragePool2D
from tinyq.ops.base import (
    ACTIVATIONS,
    AccumulatorBounds,
    LinearOp,
    Op,
    apply_activation,
    output_limits,
)
from tinyq.ops.batch_norm import BatchNorm
from tinyq.ops.concat import Concat
from tinyq.ops.conv2d import Conv2D
from tinyq.ops.dense import Dense
from tinyq.ops.depthwise_conv2d import DepthwiseConv2D
from tinyq.ops.global_mean import GlobalMean
from tinyq.ops.max_pool2d import MaxPool2D
from tinyq.ops.pad2d import Pad2D
from tinyq.ops.relu import Relu
from tinyq.ops.reshape import Reshape
from tinyq.ops.sigmoid import Sigmoid
from tinyq.ops.softmax import Softmax

#: every operator by the name that a saved graph uses
OPS: Final[dict[str, type[Op]]] = {
    op.__name__: op
    for op in (
        Add,
        AveragePool2D,
        BatchNorm,
        Concat,
        Conv2D,
        Dense,
        DepthwiseConv2D,
        GlobalMean,
        MaxPool2D,
        Pad2D,
        Relu,
        Reshape,
        Sigmoid,
        Softmax,
    )
}

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "AccumulatorBounds",
    "Add",
    "AveragePool2D",
    "BatchNorm",
    "Concat",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "GlobalMean",
    "LinearOp",
    "MaxPool2D",
    "Op",
    "Pad2D",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "apply_activation",
    "output_limits",
]

"""Arithmetic and bytes of a step, from the operator, its attributes and the shapes it ran with.

A multiply-add counts as two operations. Products and convolutions count as the standard defines
them, whatever way the kernel takes (a Winograd convolution does fewer). Pointwise programs count
one operation per instruction and element; other operators that compute count one per element that
they read; operators that only move elements count none. What is attached to a step as a prologue or
an epilogue is not counted. Bytes: each input is read once and each output written once; of a tensor
that is gathered or sliced only what is taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Shape = Sequence[int]
Operands = Sequence[tuple[str, Shape]]  # element type and shape
Rule = Callable[[Operands, Operands, Mapping[str, Any]], int]

_BITS = {
    "float": 32,
    "double": 64,
    "float16": 16,
    "bfloat16": 16,
    "bool": 8,
    "complex64": 64,
    "complex128": 128,
    "string": 0,
}

MOVES = frozenset(
    """
    Block CenterCropPad Concat DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND
    Identity OneHot Pad Range Reshape ReverseSequence ScatterElements ScatterND Shape Size Slice
    SpaceToDepth Split Squeeze Tile Transpose Trilu Unblock Unsqueeze Where
    """.split()
)


SELECTS = frozenset(("Gather", "GatherElements", "GatherND", "Slice"))


def bits(element: str) -> int:
    """Bits of one element, by ONNX' name of the type."""
    if element in _BITS:
        return _BITS[element]
    digits = re.search(r"\d+", element)
    return int(digits.group()) if digits else 8


def bytes_moved(op: str, kernel: str, inputs: Operands, outputs: Operands) -> int:
    """What one run of a step must at least read and write."""
    if kernel in ("alias", "body"):
        return 0
    if op in SELECTS:
        return 2 * _bytes(outputs) + _bytes(inputs[1:])
    return _bytes(inputs) + _bytes(outputs)


def _bytes(operands: Operands) -> int:
    return sum((math.prod(shape) * bits(element) + 7) // 8 for element, shape in operands)


def _permuted(shape: Shape, axes: Sequence[int] | None) -> Shape:
    return [shape[axis] for axis in axes] if axes else shape


def _matmul(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
    a = _permuted(inputs[0][1], attributes.get("perm_a"))
    return 2 * math.prod(outputs[0][1]) * a[-1]


def _gemm(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
    depth = inputs[0][1][0 if attributes.get("transA") else 1]
    return 2 * math.prod(outputs[0][1]) * depth


def _conv(weights: int) -> Rule:
    """Each output is a sum over the weights of its channel: W is [M, C / group, …]."""

    def count(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
        w, y = inputs[weights][1], outputs[0][1]
        # [N, M / c, Y, X, c] of the blocked layout has as many elements as lanes; M of them count.
        channels = attributes["block"] * y[1] if "block" in attributes else y[1]
        return 2 * math.prod(y) * w[0] // channels * math.prod(w[1:])

    return count


def _conv_transpose(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
    """Each input goes into all outputs of its window: W is [C, M / group, …]."""
    return 2 * math.prod(inputs[0][1]) * math.prod(inputs[1][1][1:])


def _attention(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
    """Q K' and the weighted sum of V; a causal mask halves the square part."""
    q, k, y = inputs[0][1], inputs[1][1], outputs[0][1]
    length, total = q[-2], k[-2]
    if len(outputs) > 1 and len(outputs[1][1]) == 4:  # present_key holds the past too
        total = outputs[1][1][-2]
    pairs = length * total
    if attributes.get("is_causal") and total == length:
        pairs = length * (length + 1) // 2
    per_pair = math.prod(q) // length + math.prod(y) // length  # batch × heads × (size of Q and V)
    return 2 * pairs * per_pair


def _recurrent(inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]) -> int:
    """The products with W and R for each element of a batch of sequences [time, batch, size]."""
    x, w, r = (inputs[i][1] for i in range(3))
    return 2 * x[0] * x[1] * (math.prod(w) + math.prod(r))


PRODUCTS: dict[str, Rule] = {
    "MatMul": _matmul,
    "PermutedMatMul": _matmul,
    "WeightMatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv(1),
    "ConvBlocked": _conv(1),
    "ConvInteger": _conv(1),
    "DeformConv": _conv(1),
    "CausalConvWithState": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "Attention": _attention,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
}


def operations(
    op: str, kernel: str, inputs: Operands, outputs: Operands, attributes: Mapping[str, Any]
) -> int:
    """What one run of a step computes."""
    if op in PRODUCTS:
        return PRODUCTS[op](inputs, outputs, attributes)
    program = re.fullmatch(r"pointwise program of (\d+)", kernel)
    if program and outputs:
        return int(program.group(1)) * math.prod(outputs[0][1])
    if op in MOVES or kernel in ("alias", "body"):
        return 0
    return sum(math.prod(shape) for _, shape in inputs[:1])

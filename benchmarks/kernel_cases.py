"""Ten matrix products and ten convolutions as models of one node, for benchmarks/kernels.py."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import flops
import numpy as np
from onnx import TensorProto, helper, numpy_helper


@dataclass
class KernelCase:
    """X by W (a constant, or a second input), with the attributes of the node."""

    name: str
    op: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    constant: bool = True

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal(self.x, np.float32)
        scale = np.float32(1 / math.sqrt(math.prod(self.w[1:]) or 1))
        return x, rng.standard_normal(self.w, np.float32) * scale

    def output(self) -> tuple[int, ...]:
        """The shape of Y."""
        if self.op == "MatMul":
            return (*self.x[:-1], self.w[-1])
        pads, strides = self.attributes["pads"], self.attributes["strides"]
        rank = len(self.x) - 2
        slid = (
            (self.x[2 + i] + pads[i] + pads[rank + i] - self.w[2 + i]) // strides[i] + 1
            for i in range(rank)
        )
        return (self.x[0], self.w[0], *slid)

    def model(self) -> bytes:
        x, w = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.ports())
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, self.output())
        weights = [numpy_helper.from_array(self.arrays()[1], "w")] if self.constant else []
        node = helper.make_node(self.op, ["x", "w"], ["y"], name="node", **self.attributes)
        inputs = [x] if self.constant else [x, w]
        graph = helper.make_graph([node], "graph", inputs, [y], weights)
        opsets = [helper.make_opsetid("", 17)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return bytes(made.SerializeToString())

    def ports(self) -> list[tuple[str, tuple[int, ...]]]:
        return [("x", self.x), ("w", self.w)]

    def feeds(self) -> dict[str, np.ndarray[Any, Any]]:
        x, w = self.arrays()
        return {"x": x} if self.constant else {"x": x, "w": w}

    def operations(self) -> int:
        """A multiply-add is two."""
        inputs = [("float", self.x), ("float", self.w)]
        return flops.operations(self.op, "", inputs, [("float", self.output())], self.attributes)


def product(m: int, k: int, n: int) -> KernelCase:
    """Rows of activations by a constant matrix."""
    return KernelCase(f"MatMul {m}×{k} · {k}×{n}", "MatMul", (m, k), (k, n))


def batched(heads: int, m: int, k: int, n: int) -> KernelCase:
    """Products of two activations, as in attention."""
    name = f"MatMul {heads} × ({m}×{k} · {k}×{n})"
    return KernelCase(name, "MatMul", (1, heads, m, k), (1, heads, k, n), constant=False)


def conv(
    channels: int, outputs: int, size: int, window: int, stride: int = 1, group: int = 1
) -> KernelCase:
    """A convolution over a square image, padded so that stride 1 keeps its size."""
    kind = "depthwise " if group > 1 else ""
    name = f"Conv {kind}{window}×{window}, {channels} → {outputs}, {size}×{size}"
    attributes = {"strides": [stride] * 2, "pads": [window // 2] * 4, "group": group}
    return KernelCase(
        name + (f", stride {stride}" if stride > 1 else ""),
        "Conv",
        (1, channels, size, size),
        (outputs, channels // group, window, window),
        attributes,
    )


def line_conv(channels: int, outputs: int, length: int, window: int) -> KernelCase:
    """A convolution along a line."""
    attributes = {"strides": [1], "pads": [window // 2] * 2, "group": 1}
    name = f"Conv {window}, {channels} → {outputs}, {length}"
    return KernelCase(name, "Conv", (1, channels, length), (outputs, channels, window), attributes)


CASES = (
    product(1, 768, 3072),
    product(4, 768, 3072),
    product(16, 768, 3072),
    product(128, 768, 768),
    product(128, 768, 3072),
    product(197, 768, 2304),
    product(512, 512, 512),
    product(1024, 1024, 1024),
    batched(12, 128, 64, 128),
    batched(12, 197, 197, 64),
    conv(3, 64, 224, 7, stride=2),
    conv(64, 256, 56, 1),
    conv(1024, 256, 14, 1),
    conv(64, 64, 56, 3),
    conv(256, 256, 14, 3),
    conv(512, 512, 7, 3),
    conv(128, 128, 56, 3, stride=2),
    conv(144, 144, 56, 3, group=144),
    conv(240, 240, 28, 5, group=240),
    line_conv(128, 128, 1024, 3),
)

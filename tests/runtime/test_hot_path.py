"""The hot path: a warm run allocates nothing and locks nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

RNG = np.random.default_rng(1)


def tensor(name: str, shape: list[int]) -> object:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weights(**shapes: list[int]) -> list[object]:
    return [
        numpy_helper.from_array(RNG.standard_normal(shape, np.float32), name)
        for name, shape in shapes.items()
    ]


def proto(nodes: list[object], x: object, y: object, given: list[object]) -> ModelProto:
    graph = helper.make_graph(nodes, "graph", [x], [y], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def convolutions() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "d"], ["c"], pads=[1, 1, 1, 1], group=16),
        helper.make_node("Conv", ["c", "p"], ["e"]),
        helper.make_node("Add", ["e", "b"], ["f"]),
        helper.make_node("MaxPool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["i"]),
        helper.make_node("Gemm", ["i", "m"], ["j"]),
        helper.make_node("Softmax", ["j"], ["y"]),
    ]
    given = weights(w=[16, 3, 3, 3], d=[16, 1, 3, 3], p=[16, 16, 1, 1], m=[16, 10])
    return proto(nodes, tensor("x", [1, 3, 32, 32]), tensor("y", [1, 10]), given)


def transformer() -> ModelProto:
    def split(to: str, perm: list[int]) -> list[object]:
        return [
            helper.make_node("MatMul", ["n", f"w{to}"], [f"{to}1"]),
            helper.make_node("Reshape", [f"{to}1", "heads"], [f"{to}2"]),
            helper.make_node("Transpose", [f"{to}2"], [to], perm=perm),
        ]

    nodes = [helper.make_node("LayerNormalization", ["x", "scale"], ["n"])]
    nodes += split("q", [0, 2, 1, 3]) + split("k", [0, 2, 3, 1]) + split("v", [0, 2, 1, 3])
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["o"]),
        helper.make_node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["o1", "whole"], ["o2"]),
        helper.make_node("Gelu", ["o2"], ["g"]),
        helper.make_node("Add", ["g", "x"], ["y"]),
    ]
    given = weights(wq=[32, 32], wk=[32, 32], wv=[32, 32], scale=[32])
    given.append(numpy_helper.from_array(np.array([1, 16, 4, 8]), "heads"))
    given.append(numpy_helper.from_array(np.array([1, 16, 32]), "whole"))
    return proto(nodes, tensor("x", [1, 16, 32]), tensor("y", [1, 16, 32]), given)


def quantised() -> ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    weight = RNG.integers(-100, 100, (32, 48)).astype(np.int8)
    given = [numpy_helper.from_array(weight, "w")]
    return proto(nodes, tensor("x", [8, 32]), tensor("y", [8, 48]), given)


@pytest.mark.parametrize("make", [convolutions, transformer, quantised])
def test_a_warm_run(make: object, driver: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make().SerializeToString())  # type: ignore[operator]
    command = [driver, "count-calls", path, "1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["0", "0"], "allocations and locks"


def test_threads_need_no_memory(driver: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(convolutions().SerializeToString())
    command = [driver, "count-calls", path, "2"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split()[0] == "0", "allocations"

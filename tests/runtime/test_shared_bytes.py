"""Values that are parts of others: nothing is copied in vain, and results are right."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

import tiercel

Array = NDArray[np.float32]
PLANE = (4, 4)  # of floats: a line of cache


class Net:
    """A graph over [1, channels, 4, 4], and what its values are."""

    def __init__(self, channels: int) -> None:
        rng = np.random.default_rng(channels)
        self.values: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.values["x"] = rng.uniform(-1, 1, (1, channels, *PLANE)).astype(np.float32)

    def add(
        self, op: str, inputs: list[str], results: list[Array], **attributes: object
    ) -> list[str]:
        names = [f"v{len(self.values) + i}" for i in range(len(results))]
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attributes))
        self.values.update(zip(names, results, strict=True))
        return names

    def pool(self, name: str) -> str:
        """A maximum over neighbours: a step of its own, which nothing is fused with."""
        x = np.pad(self.values[name], ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
        shifts = [x[:, :, i : i + 4, j : j + 4] for i in range(3) for j in range(3)]
        y = np.maximum.reduce(shifts)
        return self.add("MaxPool", [name], [y], kernel_shape=[3, 3], pads=[1, 1, 1, 1])[0]

    def negate(self, name: str) -> str:
        return self.add("Neg", [name], [-self.values[name]])[0]

    def concat(self, names: list[str]) -> str:
        joined = np.concatenate([self.values[n] for n in names], axis=1)
        return self.add("Concat", names, [joined], axis=1)[0]

    def split(self, name: str, at: int) -> list[str]:
        x = self.values[name]
        sizes = np.array([at, x.shape[1] - at], np.int64)
        given = f"sizes{len(self.nodes)}"
        constant = onnx.numpy_helper.from_array(sizes, given)
        self.nodes.append(helper.make_node("Constant", [], [given], value=constant))
        return self.add("Split", [name, given], [x[:, :at], x[:, at:]], axis=1)

    def model(self, outputs: list[str]) -> bytes:
        def info(name: str) -> onnx.ValueInfoProto:
            shape = self.values[name].shape
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(self.nodes, "g", [info("x")], [info(n) for n in outputs])
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()

    def check(self, outputs: list[str], driver: Path, folder: Path) -> Counter[str]:
        """Results and places are right; gives the operators of the steps."""
        model = self.model(outputs)
        (folder / "m.onnx").write_bytes(model)
        said = subprocess.run(
            [driver, "places"], input=f"{folder / 'm.onnx'}\n", capture_output=True, text=True
        )
        assert said.stdout.strip() == "ok", said
        options = tiercel.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        session = tiercel.InferenceSession(model, options)
        for _ in range(2):
            results = session.run(None, {"x": self.values["x"]})
            for name, got in zip(outputs, results, strict=True):
                np.testing.assert_array_equal(got, self.values[name])
        events = json.loads(Path(session.end_profiling()).read_text())
        steps = {e["name"]: e["args"]["op_name"] for e in events if e.get("cat") == "Node"}
        return Counter(steps.values())


def test_dense_block(driver, tmp_path):
    """Every layer reads all before it: one run of bytes holds them."""
    net = Net(2)
    features = [net.pool("x")]
    for _ in range(4):
        features.append(net.pool(net.pool(net.concat(features))))
    last = net.pool(net.concat(features))
    assert net.check([last], driver, tmp_path)["Concat"] == 0


def test_cut_and_joined_again(driver, tmp_path):
    net = Net(6)
    a, b = net.split(net.pool("x"), 2)
    c = net.pool(b)
    steps = net.check([net.pool(net.concat([a, b, c]))], driver, tmp_path)
    assert steps["Concat"] == 0 and steps["Split"] == 0


def test_cut_input(driver, tmp_path):
    net = Net(6)
    a, b = net.split("x", 2)
    steps = net.check([net.pool(a), net.pool(b)], driver, tmp_path)
    assert steps["Split"] == 0


@pytest.mark.parametrize("case", ["twice", "input", "other order", "output", "part is output"])
def test_copied(case, driver, tmp_path):
    """Where a value cannot be at two places, or has memory that is not the plan's."""
    net = Net(3)
    a, b = net.pool("x"), net.negate(net.pool("x"))
    outputs = []
    if case == "twice":
        joined = [net.concat([a, a])]
    elif case == "input":
        joined = [net.concat([a, "x"])]
    elif case == "other order":
        joined = [net.concat([a, b]), net.concat([b, a])]
    elif case == "output":
        joined = [net.concat([a, b])]
        outputs = [joined[0]]
    else:
        joined = [net.concat([a, b])]
        outputs = [b]
    outputs += [net.pool(j) for j in joined]
    steps = net.check(outputs, driver, tmp_path)
    assert steps["Concat"] == 1, steps


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_random(driver, tmp_path_factory, data):
    net = Net(data.draw(st.integers(1, 4)))
    names = ["x"]
    for _ in range(data.draw(st.integers(2, 12))):
        kind = data.draw(st.sampled_from(["pool", "negate", "concat", "split"]))
        name = data.draw(st.sampled_from(names))
        if kind == "pool":
            names.append(net.pool(name))
        elif kind == "negate":
            names.append(net.negate(name))
        elif kind == "split" and net.values[name].shape[1] > 1:
            names += net.split(name, data.draw(st.integers(1, net.values[name].shape[1] - 1)))
        else:
            picked = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
            if sum(net.values[n].shape[1] for n in picked) <= 40:
                names.append(net.concat(picked))
    if len(names) == 1:
        names.append(net.pool("x"))
    outputs = data.draw(st.lists(st.sampled_from(names[1:]), min_size=1, max_size=3, unique=True))
    if names[-1] not in outputs:
        outputs.append(names[-1])
    net.check(outputs, driver, tmp_path_factory.mktemp("net"))


def test_checker_objects(driver):
    said = subprocess.run([driver, "wrong-places"], capture_output=True, text=True, check=True)
    first, second = said.stdout.split("\n")[:2]
    assert first == 'value "Neg of x" does not hold what was computed when it is read'
    assert second == ""

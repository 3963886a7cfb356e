"""Bytes that are cut off or changed anywhere give an error or another model, and never a crash."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def rich_model() -> bytes:
    """Initialisers in several forms, a subgraph, a local function, attributes of most kinds."""
    rng = np.random.default_rng(0)
    raw = numpy_helper.from_array(rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "w")
    fields = helper.make_tensor("b", TensorProto.FLOAT, [4], [0.5, 1, 2, 3])
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"])
    then = helper.make_graph(
        [helper.make_node("Relu", ["c"], ["t"])],
        "then",
        [],
        [helper.make_empty_tensor_value_info("t")],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["c"], ["e"])],
        "else",
        [],
        [helper.make_empty_tensor_value_info("e")],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("If", ["flag"], ["i"], then_branch=then, else_branch=other),
        helper.make_node("Twice", ["i"], ["d"], domain="local", by=2.0),
        helper.make_node("Constant", [], ["s"], value_ints=[1, -1]),
        helper.make_node("Reshape", ["d", "s"], ["y"]),
        helper.make_node("Identity", ["words"], ["z"]),
    ]
    constant = helper.make_node("Constant", [], ["k"])
    reference = constant.attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "by"
    reference.type = onnx.AttributeProto.FLOAT
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["r"],
        [constant, helper.make_node("Mul", ["a", "k"], ["r"])],
        [helper.make_opsetid("", 20)],
        ["by"],
    )
    graph = helper.make_graph(
        nodes,
        "rich",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None]),
            helper.make_tensor_value_info("z", TensorProto.STRING, [2]),
        ],
        [raw, fields, words],
    )
    model = helper.make_model(
        graph,
        functions=[function],
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("local", 1)],
        ir_version=9,
    )
    return model.SerializeToString()


TRY = """
import random, sys
import tiercel

data = open(sys.argv[1], "rb").read()
kind, tries = sys.argv[2], int(sys.argv[3])
rng = random.Random(kind)
for i in range(tries):
    bad = bytearray(data)
    if kind == "cut":
        bad = bad[: i % len(data)]
    elif kind == "flip":
        bad[i % len(data)] ^= 1 << rng.randrange(8)
    else:
        for _ in range(rng.randrange(1, 20)):
            bad[rng.randrange(len(data))] = rng.randrange(256)
    try:
        tiercel.InferenceSession(bytes(bad))
    except Exception:
        pass
print("survived")
"""


@pytest.mark.parametrize(("kind", "tries"), [("cut", 3000), ("flip", 4000), ("noise", 4000)])
def test_no_damage_crashes(kind: str, tries: int, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(rich_model())
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRY), str(path), kind, str(tries)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "survived", done.stderr[-2000:]

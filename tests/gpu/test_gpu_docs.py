"""The examples of docs/gpu.md and docs/custom_ops.md run, on stand-ins for GPU and CuPy."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import softcuda
import tiercel
from cupy_double import Double
from gpu_models import gpu_session, model, normal

DOCS = Path(__file__).parents[2] / "docs"
W, X = normal(6, 4, seed=1), normal(3, 6, seed=2)
MADE = model("g (float[n,6] x) => (float[n,4] y) { p = MatMul(x, w)  y = Relu(p) }", w=W)


def examples(page: str, section: str = "") -> list[str]:
    """The Python blocks of a page, or of one of its sections."""
    text = (DOCS / page).read_text()
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_examples_of_the_gpu(
    cuda_driver: softcuda.Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(MADE, "model.onnx")
    monkeypatch.setitem(sys.modules, "cupy", Double(cuda_driver))  # type: ignore[arg-type]
    names: dict[str, object] = {"ort": tiercel, "array": X}
    ran = [block for block in examples("gpu.md") if "torch" not in block]
    assert len(ran) >= 5
    for block in ran:
        exec(block.replace("x * 2", "x"), names)  # the stand-in cannot multiply
    [y] = (names["y"],)
    np.testing.assert_allclose(y.get(), np.maximum(X @ W, 0), rtol=1e-5, atol=1e-6)


def test_the_example_of_a_kernel(cuda_driver: softcuda.Device) -> None:
    names: dict[str, object] = {"ort": tiercel, "np": np, "NDArray": NDArray}
    [block] = examples("custom_ops.md", "On GPUs")
    exec(block, names)
    node = onnx.helper.make_node("Scale", ["x"], ["y"], domain="my.domain", by=3.0)
    ports = [onnx.helper.make_tensor_value_info(name, 1, [3, 6]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("my.domain", 1)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    [y] = gpu_session(made, strict=True).run(None, {"x": X})
    np.testing.assert_array_equal(y, X * np.float32(3))

"""Random nodes of every operator that GPUs run give there what they give on the CPU.

TIERCEL_FUZZ_SEED says where the cases begin (0); `survey.py --gpu` goes on for as long as it is
told to. A test has a fixed number of cases, so that it always runs the same ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import onnx
import pytest

from findings import save
from providers import provider_verdict, software_device
from single import draw_single

FIRST = int(os.environ.get("TIERCEL_FUZZ_SEED", "0"))
CASES = 10  # of an operator
# Operators whose launches are written by hand, which share the modules of few files.
OPERATORS = (
    *("Transpose", "Expand", "Tile", "Slice", "Concat", "Split", "DepthToSpace", "SpaceToDepth"),
    *("Pad", "CenterCropPad", "ConstantOfShape", "Gather", "GatherElements", "GatherND"),
    *("ScatterElements", "ScatterND", "MaxPool", "AveragePool", "LpPool", "Resize"),
    *("LSTM", "GRU", "RNN", "MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "ConvInteger"),
    *("QLinearConv", "Conv", "ConvTranspose", "DynamicQuantizeLinear", "TopK", "CumSum", "ArgMax"),
    *("ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "ReduceLogSumExp", "Softmax"),
    *("LayerNormalization", "GroupNormalization", "BatchNormalization", "Attention"),
    "RotaryEmbedding",
)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made = software_device()
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", str(made.path))
    monkeypatch.setenv("TIERCEL_CUDA_CACHE", "")
    yield
    made.synchronize()
    made.reset()


@pytest.mark.parametrize("operator", OPERATORS)
def test_nodes_agree_on_both_providers(operator: str) -> None:
    for seed in range(FIRST, FIRST + CASES):
        case = draw_single(random.Random(seed).randint, ("", operator))
        text = provider_verdict(case)
        again = f"python tests/differential/replay.py {save(case, text)}" if text else ""
        assert not text, f"{text}\n{onnx.printer.to_text(case.model)}\n{again}"

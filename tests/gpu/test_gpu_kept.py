"""What launches keep on the GPU (tables of convolutions, weights in another order) while runs are
recorded as CUDA graphs.
"""

from __future__ import annotations

import numpy as np
import pytest

import softcuda
from gpu_models import cpu_session, gpu_session, model, normal
from tiercel import _core

BYTES = np.random.default_rng(1).integers(-128, 128, 3 * 20 * 3).astype(np.int8)
CONVS = model(
    """g (float[n, 20, t] x) => (float[n, 3, t] y, float[n, 3, t] f, float[n, 20, t] g)
<float s = {0.02}, uint8 z = {120}, int8 o = {0}> {
    q = QuantizeLinear(x, s, z)
    p = QLinearConv<pads = [1, 1]>(q, s, z, w, s, o, s, z)
    y = DequantizeLinear(p, s, z)
    f = Conv<pads = [1, 1]>(x, v)
    g = ConvTranspose<pads = [1, 1]>(f, v)
}""",
    w=BYTES.reshape(3, 20, 3),
    v=normal(3, 20, 3, seed=2),
)
PRODUCTS = model(
    """g (float[n, 20] x) => (float[n, 9] y)
<int8 o = {3}> {
    q, s, z = DynamicQuantizeLinear(x)
    p = MatMulInteger(q, w, z, o)
    f = Cast<to = 1>(p)
    y = Mul(f, s)
}""",
    w=BYTES.reshape(20, 9),
)
LARGE = np.random.default_rng(2).integers(-9, 9, (256, 256, 3)).astype(np.int8)
WEIGHTS = {
    "patches": (
        model(
            """g (float[1, 256, t] x) => (float[1, 256, t] y) {
    h = Cast<to = 10>(x)
    c = Conv<pads = [1, 1]>(h, w)
    y = Cast<to = 1>(c)
}""",
            w=(LARGE / 128).astype(np.float16),
        ),
        (1, 256),
    ),
    "rows": (
        model(
            """g (float[1, 256, t] x) => (float[1, 256, t] y) {
    y = ConvTranspose<pads = [1, 1]>(x, w)
}""",
            w=(LARGE / 128).astype(np.float32),
        ),
        (1, 256),
    ),
    "bytes": (
        model(
            """g (float[1, 256, t] x) => (float[1, 256, t] y) {
    q, s, z = DynamicQuantizeLinear(x)
    c = ConvInteger<pads = [1, 1]>(q, w, z)
    f = Cast<to = 1>(c)
    y = Mul(f, s)
}""",
            w=LARGE,
        ),
        (1, 256),
    ),
    "matrices": (
        model(
            """g (float[t, 256] x) => (float[t, 768] y) {
    q, s, z = DynamicQuantizeLinear(x)
    p = MatMulInteger(q, w, z)
    f = Cast<to = 1>(p)
    y = Mul(f, s)
}""",
            w=LARGE.reshape(256, 768),
        ),
        (256,),
    ),
}


@pytest.mark.parametrize("kind", ["convolutions", "products"])
def test_recorded_runs_keep_what_they_use(cuda_driver: softcuda.Device, kind: str) -> None:
    """More shapes than tables are kept of come between two runs of one graph."""
    made = CONVS if kind == "convolutions" else PRODUCTS
    session, host = gpu_session(made, enable_cuda_graph=1), cpu_session(made)
    for seed, length in enumerate([5, 5, 5, *range(6, 26), 5, 7, 7, 7, 5]):
        x = normal(*((1, 20, length) if kind == "convolutions" else (length, 20)), seed=seed)
        for got, want in zip(session.run(None, {"x": x}), host.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["patches", "rows", "bytes", "matrices"])
def test_plans_share_weights_in_other_orders(cuda_driver: softcuda.Device, kind: str) -> None:
    """A run with new extents makes a plan, and no copy of the weights of its own."""
    made, shape = WEIGHTS[kind]
    session, host = gpu_session(made), cpu_session(made)
    used = []
    for length in (8, 6, 7):
        x = normal(*shape, length, seed=length)
        x = x if kind != "matrices" else np.ascontiguousarray(x.T)
        [got], [want] = session.run(None, {"x": x}), host.run(None, {"x": x})
        np.testing.assert_allclose(got, want, rtol=1e-2, atol=1e-2)
        session.release_memory()
        used.append(_core.device_use("cuda", 0)[1])
    weights = 256 * 256 * 3
    assert used[2] - used[1] < weights <= used[0], used

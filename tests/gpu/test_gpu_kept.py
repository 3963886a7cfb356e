"""What launches keep on the GPU (tables of convolutions, weights in another order) while runs are
recorded as CUDA graphs.
"""

from __future__ import annotations

import numpy as np
import pytest

import softcuda
from gpu_models import cpu_session, gpu_session, model, normal

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


@pytest.mark.parametrize("kind", ["convolutions", "products"])
def test_recorded_runs_keep_what_they_use(cuda_driver: softcuda.Device, kind: str) -> None:
    """More shapes than tables are kept of come between two runs of one graph."""
    made = CONVS if kind == "convolutions" else PRODUCTS
    session, host = gpu_session(made, enable_cuda_graph=1), cpu_session(made)
    for seed, length in enumerate([5, 5, 5, *range(6, 26), 5, 7, 7, 7, 5]):
        x = normal(*((1, 20, length) if kind == "convolutions" else (length, 20)), seed=seed)
        for got, want in zip(session.run(None, {"x": x}), host.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)

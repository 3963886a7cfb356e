"""Control flow around nodes of the GPU: the host runs the bodies, values cross as they must."""

from __future__ import annotations

import numpy as np
import pytest

import softcuda
from gpu_models import CPU, CUDA, both, gpu_session, model, normal, steps

IF = """g (bool c, float[2,3] x) => (float[2,3] y) {
    p = MatMul(x, w)
    q = If (c) <
        then_branch = t () => (float[2,3] a) { a = Relu(p) },
        else_branch = e () => (float[2,3] b) { r = MatMul(p, w)  b = Neg(r) }
    >
    y = Add(q, x) }"""
LOOP = """g (int64 n, float[2,3] x) => (float[2,3] y, float[k,2,3] all) {
    p = MatMul(x, w)
    keep = Constant <value = bool {1}> ()
    y, all = Loop (n, keep, x) <
        body = b (int64 i, bool c, float[2,3] s) => (bool d, float[2,3] u, float[2,3] v) {
            d = Identity(c)  m = MatMul(s, w)  v = Add(m, p)  u = Tanh(v) }
    > }"""
SCAN = """g (float[2,3] x, float[4,2,3] xs) => (float[2,3] y, float[4,2,3] ys) {
    y, ys = Scan <num_scan_inputs = 1,
        body = b (float[2,3] s, float[2,3] e) => (float[2,3] u, float[2,3] v) {
            m = MatMul(s, w)  u = Add(m, e)  v = Relu(u) }
    > (x, xs) }"""
WEIGHT = normal(3, 3, seed=1)


@pytest.mark.parametrize("chosen", [True, False])
def test_if(cuda_driver: softcuda.Device, chosen: bool) -> None:
    session = both(model(IF, w=WEIGHT), {"c": np.array(chosen), "x": normal(2, 3)}, strict=False)
    assert ("MatMul", CUDA) in steps(session)
    assert ("If", CPU) in steps(session)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_loop(cuda_driver: softcuda.Device, count: int) -> None:
    both(model(LOOP, w=WEIGHT), {"n": np.array(count), "x": normal(2, 3)}, strict=False)


def test_scan(cuda_driver: softcuda.Device) -> None:
    launches = cuda_driver.statistic("launches")
    both(model(SCAN, w=WEIGHT), {"x": normal(2, 3), "xs": normal(4, 2, 3)}, strict=False)
    assert cuda_driver.statistic("launches") - launches >= 2 * 4 * 2


def test_an_error_in_a_body_names_its_node(cuda_driver: softcuda.Device) -> None:
    text = """g (bool c, float[3,4] x, int64[2] i) => (float[2,4] y) {
        y = If (c) <
            then_branch = t () => (float[2,4] a) { p = Exp(x)  a = Gather(p, i) },
            else_branch = e () => (float[2,4] b) { q = Gather(x, i)  b = Neg(q) }
        > }"""
    made = model(text)
    made.graph.node[0].attribute[0].g.node[1].name = "inner"
    session = gpu_session(made)
    feeds = {"c": np.array(True), "x": normal(3, 4)}
    with pytest.raises(Exception, match=r'node "inner" \(Gather\): an index is out of range'):
        session.run(None, {**feeds, "i": np.array([0, 3])})
    assert session.run(None, {**feeds, "i": np.array([0, 2])})[0].shape == (2, 4)

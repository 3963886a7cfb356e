"""Control flow around nodes of the GPU: the host runs the bodies, values cross as they must."""

from __future__ import annotations

import re

import numpy as np
import pytest

import softcuda
from gpu_models import CPU, CUDA, both, cpu_session, gpu_session, model, normal, steps
from tiercel import OrtValue

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
# States swap and stay, a slice is of 64 bytes and one of 12, the trips are found at run.
STATES = """g (int64 n, float[4,4] x, float[3] z) => (float[4,4] y, float[4,4] r, float[3] q,
        float[k,4,4] all, float[k,4,3] parts, float[4,4] more) {
    keep = Constant <value = bool {1}> ()
    p = MatMul(x, w)
    a, b, same, all, parts = Loop (n, keep, x, p, z) <
        body = b (int64 i, bool c, float[4,4] s, float[4,4] t, float[3] u)
                => (bool d, float[4,4] tt, float[4,4] ss, float[3] uu, float[4,4] v, float[3] m) {
            d = Identity(c)  e = MatMul(s, w)  f = Add(e, p)  ss = Tanh(f)  tt = Identity(t)
            v = Mul(ss, x)  uu = Identity(u)  g = MatMul(t, narrow)  m = Add(g, u)
        }
    >
    y = MatMul(a, b)  r = Neg(a)  q = Neg(same)  more = ReduceSum <keepdims = 0> (all, axes0) }"""
WEIGHT = normal(3, 3, seed=1)


def copies(driver: softcuda.Device) -> list[int]:
    """To the device and from it, so far."""
    return [driver.statistic(name) for name in ("copies_in", "copies_out")]


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


def test_states_and_slices_stay_on_the_gpu(cuda_driver: softcuda.Device) -> None:
    narrow = normal(4, 1, seed=2)
    made = model(STATES, w=normal(4, 4, seed=1), narrow=narrow, axes0=np.array([0]))
    feeds = {"x": normal(4, 4), "z": normal(3)}
    both(made, {"n": np.array(3), **feeds}, strict=False)
    session, taken = gpu_session(made), []
    for count in (2, 2, 40):
        before = copies(cuda_driver)
        session.run(None, {"n": np.array(count), **feeds})
        taken.append([after - old for after, old in zip(copies(cuda_driver), before, strict=True)])
    assert taken[1][0] == taken[2][0], session.explain()
    assert taken[2][1] - taken[1][1] == 2 * 38  # words of errors: behind a body, and its outputs


GRAPHS = {
    "a branch of a device's, one of constants": """g (bool c, float[4,4] x) => (float[4,4] y) {
        p = MatMul(x, w)
        q = If (c) <
            then_branch = t () => (float[4,4] a) { a = Relu(p) },
            else_branch = e () => (float[4,4] b) { b = Identity(w) }
        >
        y = MatMul(q, x) }""",
    "a branch whose values are its captures": """g (bool c, float[4,4] x) => (float[4,4] y) {
        p = MatMul(x, w)
        q = If (c) <
            then_branch = t () => (float[4,4] a) { a = Identity(p) },
            else_branch = e () => (float[4,4] b) { b = Identity(x) }
        >
        y = Exp(q) }""",
    "a branch of the host's": """g (bool c, float[4,4] x) => (float[4,4] y, float[m] z) {
        p = MatMul(x, w)
        q, r = If (c) <
            then_branch = t () => (float[4,4] a, float[m] aa) {
                a = Relu(p)  f = Reshape(p, flat)  aa = Unique(f) },
            else_branch = e () => (float[4,4] b, float[m] bb) {
                b = Neg(p)  h = Unique(x)  bb = Sqrt(h) }
        >
        y = MatMul(q, x)  z = Abs(r) }""",
    "a loop in a branch, a branch in a loop": """g (bool c, float[4,4] x) => (float[4,4] y) {
        p = MatMul(x, w)
        q = If (c) <
            then_branch = t () => (float[4,4] a) {
                a, scans = Loop (three, c, p) <
                    body = b (int64 i, bool k, float[4,4] s)
                            => (bool l, float[4,4] u, float[4,4] v) {
                        l = Identity(k)  odd = Mod(i, two)  is_odd = Equal(odd, one)
                        u = If (is_odd) <
                            then_branch = tt () => (float[4,4] aa) { aa = MatMul(s, p) },
                            else_branch = ee () => (float[4,4] bb) { bb = Add(s, x) }
                        >
                        v = Neg(u)
                    }
                > },
            else_branch = e () => (float[4,4] b) { b = Neg(p) }
        >
        y = Tanh(q) }""",
    "a state that grows": """g (float[1,4] x) => (float[n,4] y, float[k] all) {
        keep = Constant <value = bool {1}> ()
        y, all = Loop (, keep, x) <
            body = b (int64 i, bool c, float[m,4] s) => (bool d, float[mm,4] u, float v) {
                t = MatMul(x, w)  r = Tanh(t)  u = Concat <axis = 0> (s, r)
                v = ReduceSum <keepdims = 0> (u)  f = Cast <to = 1> (i)  d = Less(f, twenty)
            }
        > }""",
    "a state of the host's": """g (float[4,4] x) => (float[m] y, int64[2] z) {
        keep = Constant <value = bool {1}> ()
        flat4 = Reshape(x, flat)
        y, z = Loop (three, keep, flat4, z0) <
            body = b (int64 i, bool c, float[n] s, int64[2] t) => (bool d, float[m] u, int64[2] v) {
                d = Identity(c)  h = Mul(s, s)  u = Unique(h)  v = Add(t, t)
            }
        > }""",
    "slices of other axes": """g (float[4,3,4] xs, float[4,4] x)
            => (float[4,4] y, float[4,4,3] ys, float[3,4,4] zs) {
        y, ys, zs = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
                          scan_output_axes = [2, 0], scan_output_directions = [0, 1],
            body = b (float[4,4] s, float[4,4] e) => (float[4,4] u, float[4,4] v, float[4,4] o) {
                m = MatMul(s, w)  u = Add(m, e)  v = Relu(u)  o = Neg(u) }
        > (x, xs) }""",
    "backward slices": """g (float[3,4,4] xs, float[4,4] x) => (float[4,4] y, float[3,4,4] ys) {
        y, ys = Scan <num_scan_inputs = 1, scan_input_directions = [1],
            body = b (float[4,4] s, float[4,4] e) => (float[4,4] u, float[4,4] v) {
                m = MatMul(s, w)  u = Add(m, e)  v = MatMul(u, e) }
        > (x, xs) }""",
    "no turn": """g (float[4,4] x) => (float[4,4] y, float[1,4] z) {
        keep = Constant <value = bool {1}> ()
        p = MatMul(x, w)
        a, all = Loop (none, keep, p) <
            body = b (int64 i, bool c, float[4,4] s) => (bool d, float[4,4] u, float[4,4] v) {
                d = Identity(c)  u = MatMul(s, w)  v = Neg(u) }
        >
        y = Relu(a)  flat_all = Reshape(all, rows)  first = Concat <axis = 0> (x1, flat_all)
        x1 = Slice(x, zero, ones)  z = Neg(first) }""",
    "a sequence": """g (float[4,4] x) => (seq(float[4,4]) y) {
        p = MatMul(x, w)
        s = SequenceConstruct(p, x)
        y = SequenceMap (s, p) <
            body = b (float[4,4] e, float[4,4] q) => (float[4,4] u) { u = MatMul(e, q) }
        > }""",
}
CONSTANTS = {
    "flat": np.array([16]),
    "two": np.array(2),
    "one": np.array(1),
    "three": np.array(3),
    "none": np.array(0),
    "twenty": np.array(20, np.float32),
    "z0": np.array([1, 2]),
    "rows": np.array([-1, 4]),
    "zero": np.array([0]),
    "ones": np.array([1]),
}


@pytest.mark.parametrize("graphs", [0, 1])
@pytest.mark.parametrize("name", GRAPHS)
def test_values_cross_as_they_must(cuda_driver: softcuda.Device, name: str, graphs: int) -> None:
    used = {k: v for k, v in CONSTANTS.items() if re.search(rf"\b{k}\b", GRAPHS[name])}
    made = model(GRAPHS[name], w=normal(4, 4, seed=1), **used)
    cpu, gpu = cpu_session(made), gpu_session(made, enable_cuda_graph=graphs)
    shapes = {i.name: i.shape for i in cpu.get_inputs()}
    for chosen in (True, False, True):
        feeds = {k: normal(*shape, seed=len(k)) for k, shape in shapes.items()}
        feeds |= {"c": np.array(chosen)} if "c" in feeds else {}
        for _ in range(3):
            for got, want in zip(gpu.run(None, feeds), cpu.run(None, feeds), strict=True):
                alone = not isinstance(want, list)
                for pair in zip([got] if alone else got, [want] if alone else want, strict=True):
                    np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-5)


def test_bound_values_reach_bodies_without_a_copy(cuda_driver: softcuda.Device) -> None:
    made = model(GRAPHS["a branch whose values are its captures"], w=normal(4, 4, seed=1))
    session, x = gpu_session(made), normal(4, 4)
    value = OrtValue.ortvalue_from_numpy(x, "cuda")
    before = None
    for chosen in (False, True, False):
        binding = session.io_binding()
        binding.bind_cpu_input("c", np.array(chosen))
        binding.bind_ortvalue_input("x", value)
        binding.bind_output("y", "cuda")
        before = copies(cuda_driver)
        session.run_with_iobinding(binding)
        assert copies(cuda_driver)[0] == before[0]
        want = cpu_session(made).run(None, {"c": np.array(chosen), "x": x})[0]
        np.testing.assert_allclose(binding.get_outputs()[0].numpy(), want, rtol=1e-5)

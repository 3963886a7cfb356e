"""The CUDA provider as users meet it: what it needs, its options, placement, copies, threads."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_models import CPU, CUDA, both, cpu_session, gpu_session, model, normal, steps

PRODUCT = "g (float[n,6] x) => (float[n,4] y) { p = MatMul(x, w)  y = Relu(p) }"
WEIGHT = normal(6, 4, seed=1)

DRIVER_WITHOUT = """
extern "C" int cuInit(unsigned) { return 0; }
"""
STARTING = {
    "no device": ("100", "13000", "1", "cuInit gives CUDA_ERROR_NO_DEVICE"),
    "no GPU": ("0", "13000", "0", "the NVIDIA driver finds no GPU"),
    "too old": ("0", "11040", "1", "the NVIDIA driver is for CUDA 11.4; needed: 11.5 or later"),
}


def library(folder: Path, source: str) -> Path:
    """A shared library of a C++ text."""
    text, built = folder / "driver.cpp", folder / "libdriver.so"
    text.write_text(source)
    subprocess.run(["c++", "-shared", "-fPIC", str(text), "-o", str(built)], check=True)
    return built


def driver_that(start: str, version: str, devices: str) -> str:
    """A driver that has every function and answers so; what is asked of it later fails."""
    header = Path(__file__).parents[2] / "csrc/providers/cuda/driver.h"
    symbols = set(re.findall(r'"(cu\w+)"', header.read_text()))
    answers = {
        "cuInit": f"(unsigned) {{ return {start}; }}",
        "cuDriverGetVersion": f"(int* v) {{ *v = {version}; return 0; }}",
        "cuDeviceGetCount": f"(int* n) {{ *n = {devices}; return 0; }}",
        "cuGetErrorName": '(int, const char** n) { *n = "CUDA_ERROR_NO_DEVICE"; return 0; }',
    }
    lines = [f"int {name}{answers.get(name, '() { return 999; }')}" for name in sorted(symbols)]
    return 'extern "C" {\n' + "\n".join(lines) + "\n}\n"


def failure() -> str:
    """What a session on the GPU says."""
    with pytest.raises(tiercel.EPFail) as raised:
        gpu_session(model(PRODUCT, w=WEIGHT))
    return str(raised.value)


def test_it_is_listed_where_a_driver_answers(
    cuda_driver: softcuda.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiercel.get_available_providers() == [CUDA, CPU]
    assert tiercel.get_device() == "GPU"
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", "/nonexistent")
    assert tiercel.get_available_providers() == [CPU]
    assert tiercel.get_device() == "CPU"


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", "/nonexistent")
    text = failure()
    assert "the NVIDIA driver is missing: /nonexistent" in text
    assert CPU in text


def test_a_missing_function_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built = library(tmp_path, DRIVER_WITHOUT)
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", str(built))
    assert f"{built} has no function cuDriverGetVersion" in failure()


@pytest.mark.parametrize("case", STARTING)
def test_a_driver_that_does_not_start(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    *answers, said = STARTING[case]
    monkeypatch.setenv("TIERCEL_CUDA_DRIVER", str(library(tmp_path, driver_that(*answers))))
    assert said in failure()


@pytest.mark.parametrize(
    "option, value, said",
    [
        ("trt_fp16_enable", "x", 'unknown option "trt_fp16_enable"; known: device_id'),
        ("device_id", "3", "device_id is 3; the driver has GPUs 0 to 0"),
        ("device_id", "one", 'option device_id is "one"; expected a whole number'),
        ("gpu_mem_limit", "-1", 'option gpu_mem_limit is "-1"; expected a whole number'),
    ],
)
def test_wrong_options(cuda_driver: softcuda.Device, option: str, value: str, said: str) -> None:
    with pytest.raises(Exception) as raised:
        gpu_session(model(PRODUCT, w=WEIGHT), **{option: value})
    assert CUDA in str(raised.value)
    assert said in str(raised.value)


def test_options_of_onnx_runtime_that_mean_nothing_here(cuda_driver: softcuda.Device) -> None:
    options = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    gpu_session(model(PRODUCT, w=WEIGHT), **options)


def test_memory_over_its_limit(software_device: softcuda.Device) -> None:
    made = model("g (float[n,1024] x) => (float[n,1024] y) { y = Relu(x) }")
    session = gpu_session(made, gpu_mem_limit=software_device.statistic("live_bytes") + (64 << 20))
    small = {"x": normal(3, 1024)}
    assert session.run(None, small)[0].shape == (3, 1024)
    large = {"x": np.zeros((40_000, 1024), np.float32)}
    with pytest.raises(Exception, match="pass gpu_mem_limit"):
        session.run(None, large)
    assert session.run(None, small)[0].shape == (3, 1024)
    del session  # and its limit
    with pytest.raises(tiercel.EPFail, match="in use pass gpu_mem_limit, 1"):
        gpu_session(made, gpu_mem_limit=1).run(None, small)
    assert gpu_session(made).run(None, {"x": large["x"][:20_000]})[0].shape == (20_000, 1024)


def test_explain_shows_providers_and_copies(cuda_driver: softcuda.Device) -> None:
    text = "g (float[2,6] x) => (float[2,4] y, string[2] s) { y = MatMul(x, w)  s = Identity(t) }"
    session = gpu_session(model(text, w=WEIGHT, t=np.array(["a", "b"])))
    shown = session.explain()
    assert "arena in cuda" in shown
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in (
        f'once Copy "w in cuda" {CUDA}, 96 bytes, from cpu to cuda -> tensor(float)[6, 4]',
        f'0 Copy "x in cuda" {CUDA}, copy to the GPU, 48 bytes, from cpu to cuda -> '
        "tensor(float)[2, 6]",
        f'2 Copy "y in cpu" {CUDA}, copy to the host, 32 bytes, from cuda to cpu -> '
        "tensor(float)[2, 4]",
    ):
        assert line in lines, shown
    assert ("MatMul", CUDA) in steps(session)
    assert session.get_providers() == [CUDA, CPU]


def test_forbidden_fall_backs_are_listed(cuda_driver: softcuda.Device) -> None:
    made = model(
        "g (float[4] x) => (int64[1,n] y) { p = Relu(x)  y = NonZero(p) }",
    )
    made.graph.node[1].name = "where"
    assert ("NonZero", CPU) in steps(gpu_session(made))
    with pytest.raises(Exception) as raised:
        gpu_session(made, strict=True)
    text = str(raised.value)
    assert "fallback to CPU EP has been explicitly disabled" in text
    assert 'node "where" (NonZero)' in text
    assert f"{CUDA}: its output's shape depends on data" in text
    assert "Relu" not in text


def test_shape_arithmetic_stays_on_the_host(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,2,6] x, float[m,1] like) => (float[m,k] y) {
        s = Shape(like)  n = Gather(s, zero)  r = Concat<axis = 0>(n, rest)
        p = Relu(x)  f = Reshape(p, r)  y = MatMul(f, w) }"""
    constants = {"zero": np.array([0]), "rest": np.array([-1]), "w": normal(12, 3)}
    made = model(text, **constants)
    feeds = {"x": normal(4, 2, 6), "like": normal(4, 1)}
    session = gpu_session(made, strict=True)
    where = dict(steps(session))  # of the graph: no plan was made yet
    assert where["Shape"] == where["Gather"] == where["Concat"] == CPU
    assert where["Relu"] == where["MatMul"] == CUDA
    both(made, feeds)
    session.run(None, feeds)
    copies = cuda_driver.statistic("copies_out")
    session.run(None, feeds)
    assert cuda_driver.statistic("copies_out") - copies == 2  # the output, and the status


def test_batches_of_changing_size(cuda_driver: softcuda.Device) -> None:
    made = model(PRODUCT, w=WEIGHT)
    session, reference = gpu_session(made, strict=True), cpu_session(made)
    for n in (1, 3, 70, 2, 0, 3):
        feeds = {"x": normal(n, 6, seed=n)}
        got = session.run(None, feeds)[0]
        np.testing.assert_allclose(got, reference.run(None, feeds)[0], rtol=1e-5, atol=1e-6)


def test_weights_are_sent_once(cuda_driver: softcuda.Device) -> None:
    weight = normal(600, 400)
    made = model("g (float[3,600] x) => (float[3,400] y) { y = MatMul(x, w) }", w=weight)
    session = gpu_session(made, strict=True)
    counts = []
    for _ in range(3):
        before = cuda_driver.statistic("copies_in")
        session.run(None, {"x": normal(3, 600)})
        counts.append(cuda_driver.statistic("copies_in") - before)
    assert counts[1:] == [1, 1]  # x alone


def test_what_sessions_hold_is_given_back(cuda_driver: softcuda.Device) -> None:
    made = model("g (float[n,64] x) => (float[n,64] y) { y = MatMul(x, w) }", w=normal(64, 64))
    sizes = []
    for _ in range(4):
        gpu_session(made).run(None, {"x": normal(9, 64)})
        sizes.append(cuda_driver.statistic("live_bytes"))
    assert sizes[1:] == sizes[:1] * 3


GATHER = "g (float[3,4] x, int64[n] i) => (float[n,4] y) { p = Relu(x)  y = Gather(p, i) }"


def test_an_index_out_of_range_names_its_node(cuda_driver: softcuda.Device) -> None:
    made = model(GATHER)
    made.graph.node[1].name = "lookup"
    session = gpu_session(made, strict=True)
    x = normal(3, 4)
    for index in (7, -4):
        with pytest.raises(Exception) as raised:
            session.run(None, {"x": x, "i": np.array([1, index, 0])})
        assert 'node "lookup" (Gather)' in str(raised.value)
        got = session.run(None, {"x": x, "i": np.array([2, -3])})[0]
        np.testing.assert_array_equal(got, np.maximum(x[[2, 0]], 0))


def test_an_error_of_a_run_that_failed_elsewhere_is_forgotten(cuda_driver: softcuda.Device) -> None:
    text = """g (float[3,4] x, int64[1] i, int64[1] j) => (float[1,4] y, string[1] s) {
        p = Relu(x)  y = Gather(p, i)  s = Gather(t, j) }"""
    made = model(text, t=np.array(["a", "b"]))
    made.graph.node[2].name = "words"
    session = gpu_session(made)
    with pytest.raises(tiercel.InvalidArgument, match='node "words"'):
        session.run(None, {"x": normal(3, 4), "i": np.array([9]), "j": np.array([9])})
    got = session.run(None, {"x": normal(3, 4), "i": np.array([1]), "j": np.array([1])})
    np.testing.assert_array_equal(got[0], np.maximum(normal(3, 4)[1:2], 0))
    assert list(got[1]) == ["b"]


def test_many_threads_on_two_sessions(cuda_driver: softcuda.Device) -> None:
    products = [model(PRODUCT, w=normal(6, 4, seed=seed)) for seed in range(2)]
    sessions = [gpu_session(made, strict=True) for made in products]
    wrong: list[str] = []

    def work(number: int) -> None:
        session, reference = sessions[number % 2], cpu_session(products[number % 2])
        for round in range(6):
            feeds = {"x": normal(2 + (number + round) % 3, 6, seed=number)}
            got, want = session.run(None, feeds)[0], reference.run(None, feeds)[0]
            if not np.allclose(got, want, 1e-5, 1e-6):
                wrong.append(f"thread {number}, round {round}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_outputs_that_are_inputs_and_constants(cuda_driver: softcuda.Device) -> None:
    text = """g (float[2,3] x) => (float[2,3] a, float[3,2] b, float[2,3] c, float[2] d) {
        a = Identity(x)  p = Relu(x)  b = Reshape(p, shape)  c = Identity(p)  d = Identity(k) }"""
    both(model(text, shape=np.array([3, 2]), k=normal(2)), {"x": normal(2, 3)}, strict=False)


def test_tensors_without_elements(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,6] x) => (float[n,4] y, float[n,10] z, float[6] r) {
        p = MatMul(x, w)  y = Softmax(p)  z = Concat<axis = 1>(x, p)
        r = ReduceSum<keepdims = 0>(x, axes) }"""
    both(model(text, w=WEIGHT, axes=np.array([0])), {"x": normal(0, 6)}, strict=False)


def test_a_small_network(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,3,12,12] x) => (float[n,10] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)  r = Relu(a)
        c = Conv<pads = [1, 1, 1, 1]>(r, w2, b2)  s = Add(c, r)  t = Relu(s)
        m = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(t)  g = GlobalAveragePool(m)
        f = Flatten(g)  z = Gemm<transB = 1>(f, w3, b3)  y = Softmax(z) }"""
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (10, 8)}
    made = model(text, b3=normal(10), **{name: normal(*s) * 0.2 for name, s in shapes.items()})
    session = both(made, {"x": normal(2, 3, 12, 12)}, strict=False, rtol=1e-4)
    where = dict(steps(session))
    assert where["Conv"] == where["MaxPool"] == where["Gemm"] == CUDA


def test_some_outputs_and_bindings(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,6] x) => (float[n,4] y, float[n,4] z) {
        p = MatMul(x, w)  y = Relu(p)  z = Neg(y) }"""
    made = model(text, w=WEIGHT)
    session, feeds = gpu_session(made), {"x": normal(3, 6)}
    y, z = cpu_session(made).run(None, feeds)
    for names, want in ((["z"], [z]), (["z", "y"], [z, y]), (["y", "y"], [y, y])):
        for got, expected in zip(session.run(names, feeds), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    binding = session.io_binding()
    binding.bind_cpu_input("x", feeds["x"])
    binding.bind_output("y")
    session.run_with_iobinding(binding)
    np.testing.assert_allclose(binding.copy_outputs_to_cpu()[0], y, rtol=1e-5, atol=1e-6)

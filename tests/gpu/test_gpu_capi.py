"""The GPU through the C API: a C program without Python, options, explanations and errors."""

from __future__ import annotations

import ctypes as c
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import softcuda
import tiercel
from gpu_models import CUDA, model, normal

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests" / "capi"), str(ROOT / "tests" / "api")]

from capi import Api, Failure, array, load  # noqa: E402

PACKAGE = Path(tiercel.__file__).parent
NETWORK = """g (float[n,6] x) => (float[n,7] scores) {
    h = MatMul(x, w)  b = Add(h, bias)  r = Tanh(b)  scores = Softmax<axis = -1>(r) }"""


def network() -> bytes:
    """Scores of 6 features and 7 classes."""
    made = model(NETWORK, w=normal(6, 7, seed=1), bias=normal(7, seed=2))
    return bytes(made.SerializeToString())


@pytest.fixture(scope="module")
def api() -> Api:
    """libtiercel, the same one that the extension uses."""
    return Api(PACKAGE / "libtiercel.so")


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, linked with this library."""
    target = tmp_path_factory.mktemp("native") / "classify"
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", str(ROOT / "examples/classify.c")]
    command += [f"-I{ROOT / 'csrc/include'}", f"-L{PACKAGE}", "-ltiercel"]
    subprocess.run([*command, f"-Wl,-rpath,{PACKAGE}", "-o", str(target)], check=True)
    return target


def run_program(program: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program in a folder with the model and an input."""
    (folder / "model.onnx").write_bytes(network())
    (folder / "x.raw").write_bytes(normal(1, 6, seed=3).tobytes())
    return subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_program(classify: Path, cuda_driver: softcuda.Device, tmp_path: Path) -> None:
    done = run_program(classify, tmp_path, "--provider", CUDA, "model.onnx", "x.raw")
    assert done.returncode == 0, done.stderr
    session = tiercel.InferenceSession(network(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": normal(1, 6, seed=3)})
    found = re.findall(r"\d+\. class (\d+) score ([\d.]+)\n", done.stdout)
    best = np.argsort(-scores[0])[:5]
    assert [int(index) for index, _ in found] == best.tolist()
    np.testing.assert_allclose([float(s) for _, s in found], scores[0][best], atol=1e-4)


def test_program_without_a_driver(
    classify: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(os.environ, "TIERCEL_CUDA_DRIVER", "/nonexistent/libcuda.so")
    done = run_program(classify, tmp_path, "--provider", CUDA, "model.onnx", "x.raw")
    assert done.returncode == 1
    assert "/nonexistent/libcuda.so" in done.stderr


def options(api: Api, keys: dict[str, str], configuration: dict[str, str]) -> c.c_void_p:
    """Session options for the GPU."""
    made = api.handle("session_options_create")
    names = array(c.c_char_p, [key.encode() for key in keys])
    values = array(c.c_char_p, [value.encode() for value in keys.values()])
    api.session_options_add_provider(made, CUDA.encode(), names, values, len(keys))
    for key, value in configuration.items():
        api.session_options_set_config(made, key.encode(), value.encode())
    return made


def run(api: Api, session: c.c_void_p, x: np.ndarray, count: int) -> np.ndarray:
    """`scores` of one run."""
    dims = array(c.c_int64, x.shape)
    value = api.handle("value_wrap", 1, dims, x.ndim, x.ctypes.data, x.nbytes, None, None)
    out = c.c_void_p()
    names, results = array(c.c_char_p, [b"x"]), array(c.c_char_p, [b"scores"])
    given = array(c.c_void_p, [value.value])
    api.session_run(session, None, names, given, 1, results, c.byref(out), 1)
    data = c.string_at(api.get("value_data", c.c_void_p, out), count * 4)
    api.value_release(out)
    api.value_release(value)
    return np.frombuffer(data, np.float32)


def test_session(api: Api, cuda_driver: softcuda.Device) -> None:
    made = options(api, {"device_id": "0"}, {"session.disable_cpu_ep_fallback": "1"})
    session = load(api, network(), made)
    api.session_options_release(made)
    count = api.get("session_provider_count", c.c_size_t, session)
    providers = [api.get("session_provider", c.c_char_p, session, i) for i in range(count)]
    assert providers[0] == CUDA.encode()
    before = cuda_driver.statistic("launches")
    on_host = tiercel.InferenceSession(network(), providers=["CPUExecutionProvider"])
    for rows in (1, 5, 1):
        x = normal(rows, 6, seed=rows)
        (want,) = on_host.run(None, {"x": x})
        got = run(api, session, x, rows * 7).reshape(rows, 7)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert cuda_driver.statistic("launches") > before
    assert "CUDAExecutionProvider, copy to the GPU" in api.owned_text("session_explain", session)
    api.session_release(session)


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"device_id": "4"}, "device_id is 4"), ({"arena": "1"}, "arena")],
)
def test_wrong_options(
    api: Api, cuda_driver: softcuda.Device, keys: dict[str, str], message: str
) -> None:
    made = options(api, keys, {})
    with pytest.raises(Failure, match=message):
        load(api, network(), made)
    api.session_options_release(made)


def test_no_node_may_fall_back(api: Api, cuda_driver: softcuda.Device) -> None:
    made = options(api, {}, {"session.disable_cpu_ep_fallback": "1"})
    text = "g (float[n] x) => (float[k] y) { y = Unique(x) }"
    with pytest.raises(Failure, match="Unique"):
        load(api, model(text).SerializeToString(), made)
    api.session_options_release(made)

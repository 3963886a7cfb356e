"""Machine code is kept on disk: by the hash of its PTX, for its GPU and driver, in a folder of the
user's."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

import softcuda
import tiercel

RUN = """import sys, numpy, onnx.parser, tiercel
head = '<ir_version: 10, opset_import: ["" : 21]>'
model = onnx.parser.parse_model(head + "g (float[n] x) => (float[n] y) { " + sys.argv[1] + " }")
session = tiercel.InferenceSession(model.SerializeToString(), providers=["CUDAExecutionProvider"])
(y,) = session.run(None, {"x": numpy.float32([-1, 2])})
print(y.tolist())
"""
RELU = "y = Relu(x)"
COPY = """
extern "C" __global__ void copy(const float* x, float* y, int n) {
  if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x];
}"""
HEAD = b"machine code of the software device\n"  # then the PTX and a zero


def environment(driver: Path, **more: str) -> dict[str, str]:
    """Of a process that runs a model."""
    given = {
        "TIERCEL_CUDA_DRIVER": str(driver),
        "PYTHONPATH": str(Path(tiercel.__file__).parents[1]),
    }
    kept = {name: text for name, text in os.environ.items() if name != "TIERCEL_CUDA_CACHE"}
    return {**kept, **given, **more}


def run(driver: Path, nodes: str = RELU, **more: str) -> str:
    """The result of one run in a process of its own."""
    command, variables = [sys.executable, "-c", RUN, nodes], environment(driver, **more)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def hammered(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x


@pytest.fixture(scope="module")
def driver() -> Path:
    return softcuda.build_driver()


def test_machine_code_is_kept_by_its_content(driver: Path, tmp_path: Path) -> None:
    folder = tmp_path / "missing" / "cuda"
    assert run(driver, TIERCEL_CUDA_CACHE=str(folder)) == "[0.0, 2.0]"
    assert folder.stat().st_mode & 0o777 == 0o700
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    total, code = kept.read_bytes()[:64], kept.read_bytes()[64:]
    assert total.decode() == hashlib.sha256(code).hexdigest()
    ptx = code.removeprefix(HEAD).removesuffix(b"\0")
    assert b".entry pointwise(" in ptx
    version = ctypes.c_int()
    softcuda.Device().call("cuDriverGetVersion", ctypes.byref(version))
    target = f"sm_80 driver {version.value}\n".encode()
    assert kept.name == hashlib.sha256(target + ptx).hexdigest()


def test_what_is_kept_is_used_and_what_is_damaged_made_again(driver: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cuda"
    run(driver, TIERCEL_CUDA_CACHE=str(folder))
    (kept,) = folder.iterdir()
    good = kept.read_bytes()
    changed = good[64:].replace(b".entry pointwise(", b".entry pointwise (")
    kept.write_bytes(hashlib.sha256(changed).hexdigest().encode() + changed)
    before = kept.read_bytes()
    assert run(driver, TIERCEL_CUDA_CACHE=str(folder)) == "[0.0, 2.0]"
    assert kept.read_bytes() == before  # nobody has compiled
    refused = HEAD + b"no PTX\0"
    sums = [hashlib.sha256(refused).hexdigest().encode() + refused]
    for damaged in (b"", good[:50], good[:-9], good[:-9] + b"\1" * 9, *sums):
        kept.write_bytes(damaged)
        assert run(driver, TIERCEL_CUDA_CACHE=str(folder)) == "[0.0, 2.0]"
        assert kept.read_bytes() == good
    assert [path.name for path in folder.iterdir()] == [kept.name]


def test_folders_that_are_not_the_users_own_are_not_used(driver: Path, tmp_path: Path) -> None:
    folder, link, file = tmp_path / "cuda", tmp_path / "link", tmp_path / "file"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    file.write_text("mine")
    for other in (link, file, "", "/proc/nowhere"):
        assert run(driver, TIERCEL_CUDA_CACHE=str(other)) == "[0.0, 2.0]"
    folder.chmod(0o770)
    assert run(driver, TIERCEL_CUDA_CACHE=str(folder)) == "[0.0, 2.0]"
    assert not list(folder.iterdir())
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "folder"), [("XDG_CACHE_HOME", "tiercel/cuda"), ("HOME", ".cache/tiercel/cuda")]
)
def test_the_folder_among_the_users_caches(
    driver: Path, tmp_path: Path, name: str, folder: str
) -> None:
    run(driver, **{"XDG_CACHE_HOME": "", name: str(tmp_path / "new")})
    assert len(list((tmp_path / "new" / folder).iterdir())) == 1


def test_processes_at_once(driver: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, "a = Exp(x) y = Neg(a)"]
    variables = environment(driver, TIERCEL_CUDA_CACHE=str(tmp_path / "cuda"))
    started = [subprocess.Popen(command, env=variables) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4
    assert len(list((tmp_path / "cuda").iterdir())) == 1


def test_errors_are_the_compilers(cuda_driver: softcuda.Device) -> None:
    ptx = softcuda.compile_cuda(COPY, "copy.cu").replace("st.global", "hammer")
    made = tiercel.custom_op("gpu.test", "Hammered", compile=False, cuda=ptx)(hammered)
    made.shape(lambda x: x)
    node = helper.make_node("Hammered", ["x"], ["y"], domain="gpu.test")
    ports = [helper.make_tensor_value_info(name, 1, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("gpu.test", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = tiercel.InferenceSession(
        model.SerializeToString(), providers=["CUDAExecutionProvider"]
    )
    with pytest.raises(tiercel.EPFail, match=r"cuLinkAddData \((?s:.)*hammer(?s:.)*INVALID_PTX"):
        session.run(None, {"x": np.ones(3, np.float32)})

"""A C11 program without Python: built by pkg-config and by CMake, and run on a model."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import onnx_models
from capi import ROOT, program

EXAMPLE = ROOT / "examples" / "classify.c"
FLAGS = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"]

LISTS = """cmake_minimum_required(VERSION 3.20)
project(example C)
find_package(tiercel 0.1 REQUIRED CONFIG)
add_executable(classify classify.c)
target_compile_options(classify PRIVATE -std=c11 -Wall -Wextra -Werror)
target_link_libraries(classify PRIVATE tiercel::tiercel)
"""


def by_pkg_config(installed: Path, folder: Path) -> Path:
    """The example, built as its first lines say."""
    environment = {**os.environ, "PKG_CONFIG_PATH": str(installed / "pkgconfig")}
    command = [program("pkg-config"), "--cflags", "--libs", "tiercel"]
    flags = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    target = folder / "classify"
    build = [program("cc"), *FLAGS, str(EXAMPLE), *flags.stdout.split(), "-o", str(target)]
    subprocess.run(build, check=True)
    return target


def by_cmake(installed: Path, folder: Path) -> Path:
    """The example as a CMake project of its own."""
    (folder / "CMakeLists.txt").write_text(LISTS)
    (folder / "classify.c").write_text(EXAMPLE.read_text())
    cmake = program("cmake")
    configure = [cmake, "-S", str(folder), "-B", str(folder / "build")]
    configure += [f"-Dtiercel_DIR={installed / 'cmake'}"]
    subprocess.run(configure, check=True, capture_output=True)
    subprocess.run([cmake, "--build", str(folder / "build")], check=True, capture_output=True)
    return folder / "build" / "classify"


@pytest.fixture(scope="module", params=[by_pkg_config, by_cmake])
def classify(request, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(installed, tmp_path_factory.mktemp("native"))


def write_model(path: Path) -> np.ndarray:
    """scores = Softmax(x W) of 6 features and 7 classes; the weights are given back."""
    weights = np.random.default_rng(3).standard_normal((6, 7)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    ports = [onnx_models.tensor("x", ["n", 6]), onnx_models.tensor("scores", ["n", 7])]
    model = onnx_models.model(nodes, ports[:1], ports[1:], {"w": weights})
    path.write_bytes(model.SerializeToString())
    return weights


def test_classifies(classify: Path, tmp_path: Path) -> None:
    weights = write_model(tmp_path / "model.onnx")
    x = np.random.default_rng(4).standard_normal((1, 6)).astype(np.float32)
    (tmp_path / "x.raw").write_bytes(x.tobytes())
    (tmp_path / "labels.txt").write_text("".join(f"kind-{i}\n" for i in range(7)))
    done = subprocess.run(
        [classify, "model.onnx", "x.raw", "labels.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    logits = (x @ weights)[0].astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum()
    found = re.findall(r"(\d+)\. class (\d+) score ([\d.]+) kind-(\d+)\n", done.stdout)
    assert [int(place) for place, *_ in found] == [1, 2, 3, 4, 5]
    best = np.argsort(-scores)[:5]
    assert [int(index) for _, index, *_ in found] == best.tolist()
    assert [int(label) for *_, label in found] == best.tolist()
    np.testing.assert_allclose([float(s) for _, _, s, _ in found], scores[best], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.onnx"], "load: NO_SUCHFILE: Load model from nowhere.onnx"),
        (["bad.onnx"], "load: INVALID_PROTOBUF:"),
        (["model.onnx", "short.raw"], "short.raw: expected a file of 24 bytes"),
        ([], "usage:"),
    ],
)
def test_says_what_is_wrong(
    classify: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_model(tmp_path / "model.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    (tmp_path / "short.raw").write_bytes(bytes(23))
    done = subprocess.run(
        [classify, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr


def test_loads_no_python(classify: Path) -> None:
    listing = subprocess.run(["ldd", classify], capture_output=True, text=True, check=True).stdout
    assert "libtiercel.so" in listing
    assert "python" not in listing.replace("/python", "")  # a folder's name is no library
    assert not re.search(r"libpython", listing)

"""The compiled driver of the runtime tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import tiercel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of driver.cpp, compiled against the library under test."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    library = Path(tiercel.__file__).parent
    program = tmp_path_factory.mktemp("driver") / "driver"
    command = [compiler, "-std=c++20", "-O1", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    sources = [Path(__file__).with_name(name) for name in ("driver.cpp", "count_calls.cpp")]
    command += [*map(str, sources), "-o", str(program), "-ldl"]
    command += [f"-L{library}", "-ltiercel", f"-Wl,-rpath,{library}"]
    subprocess.run(command, check=True)
    return program

"""An installed tiercel for native programs, and the C API through ctypes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tiercel
from capi import ROOT, Api, program

PACKAGE = Path(tiercel.__file__).parent
sys.path.insert(0, str(ROOT / "tests" / "api"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with library, headers, cmake/ and pkgconfig/."""
    if (PACKAGE / "pkgconfig" / "tiercel.pc").is_file():
        return PACKAGE
    build = ROOT / "build"
    if not (build / "cmake_install.cmake").is_file():
        pytest.skip("tiercel is neither installed nor built in build/")
    prefix = tmp_path_factory.mktemp("installed")
    command = [program("cmake"), "--install", str(build), "--prefix", str(prefix)]
    subprocess.run(command, check=True, capture_output=True)
    return prefix / "tiercel"


@pytest.fixture(scope="session")
def api() -> Api:
    """libtiercel, the same one that the extension uses."""
    return Api(PACKAGE / "libtiercel.so")

"""What the wheel holds for native programs, and how files of the library find each other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import tiercel

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(tiercel.__file__).parent


@pytest.mark.skipif(PACKAGE.is_relative_to(ROOT / "python"), reason="runs from the source tree")
@pytest.mark.parametrize(
    "name",
    [
        "libtiercel.so",
        "include/tiercel/tiercel.h",
        "include/tiercel/kernel.h",
        "cmake/tiercel-config.cmake",
        "cmake/tiercel-config-version.cmake",
        "pkgconfig/tiercel.pc",
        "py.typed",
        "_core.pyi",
    ],
)
def test_wheel_holds(name: str) -> None:
    assert (PACKAGE / name).is_file()


def test_extension_finds_the_library_beside_it() -> None:
    extension = next(PACKAGE.glob("_core*.so"))
    dynamic = subprocess.run(
        ["readelf", "-d", extension], capture_output=True, text=True, check=True
    ).stdout
    assert "libtiercel.so" in dynamic and "$ORIGIN" in dynamic


def test_public_headers_are_plain_c(tmp_path: Path) -> None:
    source = tmp_path / "probe.c"
    source.write_text('#include "tiercel/tiercel.h"\nint main(void) { return 0; }\n')
    include = ROOT / "csrc" / "include"
    command = ["cc", "-std=c11", "-pedantic", "-Wall", "-Werror", f"-I{include}"]
    subprocess.run([*command, "-fsyntax-only", str(source)], check=True)

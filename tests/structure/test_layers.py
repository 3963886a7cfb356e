"""The layers of the core: a file includes only what stands to the left of its own layer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import tiercel

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["base", "ir", "ops", "passes", "runtime", "providers", "session", "capi", "bindings"]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def sources(folder: str) -> list[Path]:
    return [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".h", ".cpp")]


@pytest.mark.parametrize("layer", LAYERS)
def test_includes_point_to_the_left(layer: str) -> None:
    wrong = []
    for path in sources(f"csrc/{layer}"):
        for name in INCLUDE.findall(path.read_text()):
            target = name.split("/")[0]
            allowed = LAYERS[: LAYERS.index(layer) + 1]
            if layer == "bindings":
                allowed = [other for other in LAYERS if other != "capi"]
            if target in LAYERS and target not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong


def test_one_provider_knows_no_other() -> None:
    folders = [path.name for path in (ROOT / "csrc/providers").iterdir() if path.is_dir()]
    wrong = []
    for folder in folders:
        for path in sources(f"csrc/providers/{folder}"):
            for name in INCLUDE.findall(path.read_text()):
                parts = name.split("/")
                if parts[0] == "providers" and parts[1] in folders and parts[1] != folder:
                    wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong


def test_python_headers_only_in_bindings() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in sources("csrc")
        if "bindings" not in path.parts and re.search(r"<(Python|pybind11)", path.read_text())
    ]
    assert not found


def test_library_has_no_python_symbol() -> None:
    library = Path(tiercel.__file__).parent / "libtiercel.so"
    listing = subprocess.run(
        ["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert names
    assert not [name for name in names if re.match(r"_?Py[A-Z_]|numba|NRT_", name)]

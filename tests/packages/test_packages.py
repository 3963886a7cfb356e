"""Real packages written for ONNX Runtime run unmodified: magika and rapidocr-onnxruntime."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import tiercel

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "packages"

PACKAGES = {
    "magika": (["magika==1.0.3"], ["click>=8.1.7", "numpy>=1.26"]),
    "rapidocr": (
        ["rapidocr-onnxruntime==1.4.4"],
        ["pyclipper>=1.2", "opencv-python-headless>=4.5.1.48", "six>=1.15", "Shapely>=2.0.5"]
        + ["PyYAML", "Pillow", "tqdm", "numpy>=1.26"],
    ),
}

MAGIKA = """
from pathlib import Path
from magika import Magika
import onnxruntime
magika = Magika()
assert type(magika._onnx_session).__module__.startswith("tiercel")
for name, content in {
    "python": Path(__file__).read_bytes() * 3,
    "json": b'{"name": "tiercel", "kind": ["falcon", "male"], "size": 0.66, "wild": true}' * 4,
    "png": bytes([137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82]) + bytes(200),
}.items():
    result = magika.identify_bytes(content)
    print(name, result.output.label, round(result.score, 3))
    assert result.output.label == name, (name, result.output.label)
print("done")
"""

RAPIDOCR = """
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapidocr_onnxruntime import RapidOCR
image = Image.new("RGB", (640, 200), "white")
font = ImageFont.load_default(64)
ImageDraw.Draw(image).text((40, 50), "Falcon 2026", fill="black", font=font)
engine = RapidOCR()
assert type(engine.text_det.infer.session).__module__.startswith("tiercel")
found, _ = engine(np.asarray(image))
text = " ".join(entry[1] for entry in found)
print(text)
assert "falcon" in text.lower().replace(" ", "") and "2026" in text, text
print("done")
"""


def environment(name: str) -> Path:
    """The interpreter of a virtual environment with the package but without ONNX Runtime."""
    folder = FOLDER / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        package, needed = PACKAGES[name]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", *package], check=True)
        subprocess.run([*pip, *needed], check=True)
        ready.touch()
    return python


@pytest.mark.slow
@pytest.mark.parametrize(("name", "script"), [("magika", MAGIKA), ("rapidocr", RAPIDOCR)])
def test_package(name: str, script: str, tmp_path: Path) -> None:
    python = environment(name)
    path = tmp_path / "script.py"
    path.write_text(script)
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "tiercel").symlink_to(Path(tiercel.__file__).parent)
    done = subprocess.run(
        [python, "-m", "tiercel.as_onnxruntime", path],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")

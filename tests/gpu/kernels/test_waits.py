"""No kernel waits in vain: each barrier and wait for cp.async is missed when it is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from launch import KERNELS

FOLDER = Path(__file__).parent
SOURCES = sorted(path.stem for path in KERNELS.glob("*.cu") if path.stem != "libm")  # no kernels


def without_waits(source: str, report: Path) -> dict[str, str]:
    """The verdict of each instruction of a source that waits: see ``without_waits.py``."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "without_waits"]
    command += ["-p", "no:cacheprovider", "--waits-of", source, "--waits-report", str(report)]
    folders = [str(FOLDER), str(FOLDER.parents[1] / "softcuda"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    ran = subprocess.run(
        [*command, str(FOLDER)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (0, 5), ran.stdout[-4000:] + ran.stderr[-4000:]  # 5: no test is left
    verdicts: dict[str, str] = json.loads(report.read_text())["verdicts"]
    return verdicts


@pytest.mark.parametrize("source", SOURCES)
def test_each_wait_is_needed(source: str, tmp_path: Path) -> None:
    verdicts = without_waits(source, tmp_path / "report.json")
    print(source, dict(Counter(verdicts.values())))
    assert not {wait: v for wait, v in verdicts.items() if v != "checks"}

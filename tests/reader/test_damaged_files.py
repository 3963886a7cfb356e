"""Models that are cut off, changed anywhere or wrong in their facts never end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from damage import KINDS
from seed_models import seed_models

# Tries of each kind on each of the models: more than 10,000 in all.
TRIES = {"cut": 450, "flip": 600, "noise": 350, "facts": 400}
NAMES = ["rich", "storage", "control", "convolution", "attention", "external"]
WORKER = Path(__file__).with_name("damage_worker.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("seeds")
    for name, data in seed_models(made).items():
        (made / f"{name}.onnx").write_bytes(data)
    return made


def test_there_are_enough_tries() -> None:
    assert set(TRIES) == set(KINDS)
    assert sum(TRIES.values()) * len(NAMES) >= 10_000


@pytest.mark.parametrize("kind", TRIES)
@pytest.mark.parametrize("name", NAMES)
def test_no_damage_crashes(name: str, kind: str, folder: Path) -> None:
    """The worker prints each number before it tries it: the last one is the one that crashed."""
    command = [sys.executable, str(WORKER), str(folder), name, kind, "0", str(TRIES[kind])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    last = done.stdout.strip().splitlines()[-1:]
    again = " ".join(command[:-2] + last)
    assert last and last[0].startswith("survived"), f"{again}\n{done.stderr[-2000:]}"


def test_the_seeds_load_and_run(folder: Path) -> None:
    """Undamaged, every model runs: what the tries start from reaches every stage."""
    sys.path.insert(0, str(WORKER.parent))
    from damage_worker import attempt

    for name in NAMES:
        data = (folder / f"{name}.onnx").read_bytes()
        assert attempt(data, folder) == (True, True), name

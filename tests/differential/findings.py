"""Keeps cases on disk: the one that runs, in case it is the last, and those that failed."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import onnx

from oracle import Case

FOLDER = Path(__file__).resolve().parents[2] / "build" / "differential"


def keep_last(case: Case, name: str = "last") -> None:
    """Writes the case to build/differential/last, where a crash leaves it."""
    _write(case, FOLDER / name)


def save(case: Case, text: str) -> Path:
    """Writes a case that failed to a folder named by its model; the folder."""
    digest = hashlib.sha256(case.model.SerializeToString()).hexdigest()[:10]
    name = case.label.replace("::", "-").replace(" ", "-")[:40]
    folder = FOLDER / f"{name}-{digest}"
    _write(case, folder)
    (folder / "model.txt").write_text(onnx.printer.to_text(case.model))
    (folder / "verdict.txt").write_text(text + "\n")
    return folder


def _write(case: Case, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    (folder / "case.pickle").write_bytes(pickle.dumps(_plain_values(case)))


def _plain_values(case: Case) -> dict[str, object]:
    values = dict(vars(case))
    for key in ("model", "plain"):
        values[key] = values[key].SerializeToString() if values[key] is not None else None
    return values


def load(folder: Path) -> Case:
    """A case that `save` or `keep_last` wrote."""
    values = pickle.loads((folder / "case.pickle").read_bytes())
    for key in ("model", "plain"):
        if values[key] is not None:
            values[key] = onnx.ModelProto.FromString(values[key])
    return Case(**values)

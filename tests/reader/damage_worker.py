"""Loads and runs damaged models in a process of its own, so that a crash is one failure.

python damage_worker.py FOLDER NAME KIND FIRST LAST: tries FIRST <= i < LAST of KIND on the model
NAME.onnx of FOLDER; prints each number before it is tried, and at the end how many loaded and ran.
"""

from __future__ import annotations

import random
import resource
import sys
from pathlib import Path

import numpy as np

import tiercel
from damage import KINDS

MEMORY = 6 << 30  # bytes of address space
ELEMENTS = 1 << 16  # of an input; larger ones are not run
SECONDS = 2.0  # of one run


def feed(port: tiercel.NodeArg) -> np.ndarray | list | None:
    """Small numbers in the port's type and shape; None when there are too many."""
    if not port.type.startswith("tensor("):
        return []
    shape = [d if isinstance(d, int) else 2 for d in port.shape]
    if int(np.prod([float(d) for d in shape])) > ELEMENTS:
        return None
    name = port.type[7:-1]
    if name == "string":
        return np.full(shape, "a", dtype=object)
    names = {"float": "float32", "double": "float64"}
    dtype = np.dtype(names.get(name, name))
    return (np.arange(int(np.prod(shape))) % 3).reshape(shape).astype(dtype)


def attempt(data: bytes, folder: Path) -> tuple[bool, bool]:
    """Whether the model loads, and whether it then runs."""
    options = tiercel.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        if b"weights.bin" in data:
            (folder / "damaged.onnx").write_bytes(data)
            session = tiercel.InferenceSession(str(folder / "damaged.onnx"), options)
        else:
            session = tiercel.InferenceSession(data, options)
    except Exception:
        return False, False
    try:
        session.explain()
        feeds = {port.name: feed(port) for port in session.get_inputs()}
        if any(value is None for value in feeds.values()):
            return True, False
        session.run(None, feeds, timeout=SECONDS)
    except Exception:
        return True, False
    return True, True


def main() -> None:
    folder, name, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    data = (folder / f"{name}.onnx").read_bytes()
    loaded = ran = 0
    for number in range(int(sys.argv[4]), int(sys.argv[5])):
        print(number, flush=True)
        rng = random.Random(f"{name} {kind} {number}")
        one, two = attempt(KINDS[kind](data, rng), folder)
        loaded, ran = loaded + one, ran + two
    print("survived", loaded, ran)


if __name__ == "__main__":
    main()

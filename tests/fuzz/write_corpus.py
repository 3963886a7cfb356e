"""Writes the seed models of the reader's tests, and facts gone wrong in them, into a folder."""

from __future__ import annotations

import random
import sys
from pathlib import Path

READER = Path(__file__).parents[1] / "reader"
sys.path.insert(0, str(READER))

from damage import KINDS  # noqa: E402
from seed_models import seed_models  # noqa: E402


def main() -> None:
    """write_corpus.py FOLDER [COUNT]: the models, and COUNT models with wrong facts of each."""
    folder = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seed_models(folder).items():
        (folder / f"{name}.onnx").write_bytes(data)
        for number in range(count):
            rng = random.Random(f"{name} facts {number}")
            (folder / f"{name}-{number}.onnx").write_bytes(KINDS["facts"](data, rng))


if __name__ == "__main__":
    main()

"""``python -m softcuda.jit INPUT.ptx OUTPUT.so CHECKED``: what the driver runs to load a module."""

from __future__ import annotations

import sys
from pathlib import Path

from .build import BuildError, build_module
from .ptx import PtxError


def main() -> int:
    """Builds one module; 1 with the reason on standard error when it cannot be built."""
    source, target, checked = sys.argv[1:4]
    try:
        build_module(Path(source).read_text(), Path(target), checked == "1")
    except (PtxError, BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

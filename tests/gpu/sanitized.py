"""Runs tests of the CUDA provider with a library that was built with sanitizers.

python tests/gpu/sanitized.py FOLDER [PYTEST ARGUMENT …]: FOLDER holds the package tiercel of a
build with -DTIERCEL_SANITIZE=ON. Kernels run on the software device; findings end the process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Placement, copies, threads, errors, bodies, programs, attached programs: the provider's own code.
FILES = ("test_provider.py", "test_gpu_bodies.py", "test_gpu_functions.py", "test_gpu_pointwise.py")


def runtime(name: str) -> str:
    """The path of a sanitizer's library, which must be loaded before Python's own."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """The exit status of pytest."""
    folder, *given = sys.argv[1:]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(folder).resolve()),
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libstdc++.so')}",
        # Python itself never frees some memory; the driver reserves addresses, not memory
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:protect_shadow_gap=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TIERCEL_SOFTCUDA_CHECKED": "0",
    }
    tests = given or [str(HERE / name) for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    return subprocess.run([*command, *tests], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

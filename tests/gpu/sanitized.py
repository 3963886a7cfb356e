"""Runs tests of the CUDA provider with a library that was built with sanitizers.

python tests/gpu/sanitized.py SANITIZER FOLDER [PYTEST ARGUMENT …]: FOLDER holds the package tiercel
of a build with -DTIERCEL_SANITIZE=SANITIZER. Kernels run on the software device; findings are the
exit status.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Placement, copies, threads, errors, bodies, programs, attached programs: the provider's own code.
ADDRESSES = ("provider", "gpu_bodies", "gpu_functions", "gpu_pointwise")
# Callers at once, on values and graphs that they share.
THREADS = ("provider", "gpu_lives", "gpu_values", "gpu_graphs", "gpu_recorded")


def runtime(name: str) -> str:
    """The path of a sanitizer's library, which must be loaded before Python's own."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """The exit status of pytest."""
    sanitizer, folder, *given = sys.argv[1:]
    threads = sanitizer == "thread"
    library = "libtsan.so" if threads else "libasan.so"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(folder).resolve()),
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": f"{runtime(library)} {runtime('libstdc++.so')}",
        # Python itself never frees some memory; the driver reserves addresses, not memory
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:protect_shadow_gap=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "exitcode=66",
        "OPENBLAS_NUM_THREADS": "1",
        "TIERCEL_SOFTCUDA_CHECKED": "0",
    }
    files = THREADS if threads else ADDRESSES
    tests = given or [str(HERE / f"test_{name}.py") for name in files]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    # The thread sanitizer wants programs where they lie without randomisation.
    fixed = ["setarch", "-R"] if threads else []
    return subprocess.run([*fixed, *command, *tests], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

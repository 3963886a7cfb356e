"""NVRTC as the build of the kernels uses it, with line numbers in what it makes."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiercel.cuda import nvrtc
    from tiercel.cuda.nvrtc import (
        CompileError,
        compile_machine_code,
        include_options,
        library,
        toolkit,
    )
else:  # where the package is not installed, too
    sys.path.append(str(Path(__file__).resolve().parents[3] / "python" / "tiercel" / "cuda"))
    import nvrtc
    from nvrtc import CompileError, compile_machine_code, include_options, library, toolkit

__all__ = [
    "CompileError",
    "compile_cuda",
    "compile_machine_code",
    "include_options",
    "library",
    "toolkit",
]


# With the lines of the source, which the device names in messages.
compile_cuda = functools.partial(nvrtc.compile_cuda, options=["-lineinfo"])

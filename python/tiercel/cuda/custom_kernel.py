"""A user's kernel for GPUs as PTX: from CUDA C++, PTX, or a cupy.RawKernel."""

from __future__ import annotations

import re
from typing import Any

from ..errors import invalid_argument, provider_failure
from . import nvrtc

_ENTRY = re.compile(r"\.entry\s+([\w$]+)")


def ptx_and_entry(kernel: Any, name: str) -> tuple[str, str]:
    """The PTX of a kernel and the name of its entry.

    Args:
        kernel: CUDA C++ or PTX with one kernel, or an object with ``code`` and ``name``, such as a
            ``cupy.RawKernel``, whose ``options`` are used too.
        name: What messages call it.

    Raises:
        InvalidArgument: The text does not compile (with the compiler's log), or has no kernel or
            several.
        EPFail: The text is CUDA C++ and NVRTC is not installed; says how to.
    """
    source = kernel if isinstance(kernel, str) else getattr(kernel, "code", None)
    if not isinstance(source, str):
        raise invalid_argument(
            f"custom operator {name}: cuda is {type(kernel).__name__}, expected CUDA C++ or PTX as "
            "a str, or a cupy.RawKernel"
        )
    ptx = source if source.lstrip().startswith((".version", "//")) and ".entry" in source else ""
    if not ptx:
        options = [str(option) for option in getattr(kernel, "options", ())]
        try:
            ptx = nvrtc.compile_cuda(source, f"{name}.cu", options=options)
        except nvrtc.CompileError as error:
            raise invalid_argument(f"custom operator {name}: {error}") from error
        except FileNotFoundError as error:
            raise provider_failure(f"custom operator {name}: {error}") from error
    entries = _ENTRY.findall(ptx)
    wanted = getattr(kernel, "name", entries[0] if len(entries) == 1 else "")
    if wanted not in entries:
        raise invalid_argument(
            f'custom operator {name}: expected one kernel (extern "C" __global__), the text has '
            f"{entries}"
        )
    return ptx, wanted

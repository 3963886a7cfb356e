"""The C API through ctypes, with argument types taken from the header itself."""

from __future__ import annotations

import ctypes as c
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HEADER = ROOT / "csrc" / "include" / "tiercel" / "tiercel.h"

NUMBERS = {
    "int32_t": c.c_int32,
    "int64_t": c.c_int64,
    "size_t": c.c_size_t,
    "double": c.c_double,
    "TclStatus": c.c_int32,
    "TclDType": c.c_int32,
    "TclKind": c.c_int32,
    "TclRole": c.c_int32,
    "TclOptimization": c.c_int32,
    "TclModelText": c.c_int32,
}
Release = c.CFUNCTYPE(None, c.c_void_p)


def program(name: str) -> str:
    """Path of a program beside this Python or on the path; the test is skipped without it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def constants() -> dict[str, int]:
    """Every constant of the header by name."""
    text = HEADER.read_text()
    found = re.findall(r"(TCL_[A-Z0-9_]+)(?: = | )(\d+)", text)
    return {name: int(value) for name, value in found}


def c_type(text: str) -> Any:
    """The ctypes type of one parameter or result, without its name."""
    text = text.replace("const", "").replace(" ", "")
    if text.endswith("*"):
        return c.c_char_p if text == "char*" else c.c_void_p
    return {"void": None, "TclReleaseFn": c.c_void_p, **NUMBERS}[text]


def functions() -> dict[str, tuple[str, list[str]]]:
    """Name to result type and parameter types of every function of the header."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = {}
    for result, name, parameters in re.findall(r"TCL_API ([^;(]*?)(tcl_\w+)\(([^)]*)\);", text):
        names = [] if parameters == "void" else [" ".join(p.split()) for p in parameters.split(",")]
        found[name] = (result.strip(), [re.sub(r"\w+$", "", n) for n in names])
    return found


class Failure(Exception):
    """A status other than TCL_SUCCESS, with the message of the library."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Functions without their prefix; a failing status raises Failure."""

    def __init__(self, path: Path) -> None:
        self.library = c.CDLL(str(path))
        self.kept: list[Any] = []  # arrays whose memory values borrow
        self.signatures = functions()
        for name, (result, parameters) in self.signatures.items():
            function = getattr(self.library, name)
            function.restype = c_type(result)
            function.argtypes = [c_type(p) for p in parameters]

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.library, f"tcl_{name}")
        if self.signatures[f"tcl_{name}"][0] != "TclStatus" or name == "error_status":
            return function

        def checked(*arguments: Any) -> None:
            status = function(*arguments)
            if status != 0:
                assert self.library.tcl_error_status() == status
                raise Failure(status, self.library.tcl_error_message().decode())

        return checked

    def get(self, name: str, kind: Any, *arguments: Any) -> Any:
        """The value of the last parameter, which the function writes."""
        slot = kind()
        getattr(self, name)(*arguments, c.byref(slot))
        return slot.value

    def handle(self, name: str, *arguments: Any) -> c.c_void_p:
        """A handle that the function makes."""
        return c.c_void_p(self.get(name, c.c_void_p, *arguments))

    def owned_text(self, name: str, *arguments: Any) -> str:
        """A text that the caller owns, released here."""
        slot = c.c_void_p()
        getattr(self, name)(*arguments, c.byref(slot))
        text = c.string_at(slot.value or 0).decode()
        self.library.tcl_text_release(c.cast(slot, c.c_char_p))
        return text


def array(kind: Any, values: Any) -> Any:
    """A C array of the values."""
    values = list(values)
    return (kind * max(1, len(values)))(*values)


def handles(values: Any) -> Any:
    """A C array of handles, None for NULL."""
    return array(c.c_void_p, [v.value if v is not None else None for v in values])


def load(api: Api, model: Any, options: c.c_void_p | None = None) -> c.c_void_p:
    """A session of a model in memory, which the library copies."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return api.handle("session_load_memory", data, len(data), None, None, None, options)

"""What libtiercel shows: the functions of its header, the core under a private version, no more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import tiercel
from capi import constants, functions

LIBRARY = Path(tiercel.__file__).parent / "libtiercel.so"
ROOT = Path(__file__).parents[2]


def exported() -> list[tuple[str, str]]:
    """Name and version of every symbol that the library defines for others."""
    command = ["nm", "-D", "--defined-only", str(LIBRARY)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.split()[-1] for line in lines]
    pairs = [tuple(name.replace("@@", "@").split("@")) for name in names if "@" in name]
    return [(name, version) for name, version in pairs if not name.startswith("TIERCEL_")]


def test_c_functions_are_the_header() -> None:
    shown = {name for name, version in exported() if version == "TIERCEL_1"}
    assert shown == {*functions(), "tcl_builtin_kernels"}


def test_everything_else_is_private_to_the_core() -> None:
    others = [(name, version) for name, version in exported() if version != "TIERCEL_1"]
    assert others
    assert {version for _, version in others} == {"TIERCEL_PRIVATE"}
    assert all("7tiercel" in name for name, _ in others)


def test_every_function_is_guarded() -> None:
    """Functions that cannot fail are the only ones without guard()."""
    plain = {"tcl_version", "tcl_api_version", "tcl_error_message", "tcl_error_status"}
    plain |= {"tcl_status_name", "tcl_text_release"}
    found = set()
    for path in sorted((ROOT / "csrc" / "capi").glob("*.cpp")):
        for name, body in re.findall(
            r"^\S[^\n]*?(tcl_\w+)\((.*?)^}", path.read_text(), re.M | re.S
        ):
            assert ("guard(" in body) != (name in plain), name
            found.add(name)
    assert found >= set(functions()) - plain


def test_status_numbers_are_error_kinds() -> None:
    text = (ROOT / "csrc" / "base" / "error.h").read_text()
    kinds = {int(n) for n in re.findall(r"^  \w+ = (\d+),", text, re.M)}
    statuses = {v for k, v in constants().items() if k.startswith("TCL_ERROR_")}
    assert statuses == kinds | {16}


def test_dtype_numbers_are_the_core_s() -> None:
    text = (ROOT / "csrc" / "base" / "dtype.h").read_text()
    core = {name.upper(): int(n) for name, n in re.findall(r"^  (\w+) = (\d+),", text, re.M)}
    shown = {k[10:]: v for k, v in constants().items() if k.startswith("TCL_DTYPE_")}
    assert shown == core

"""Input arrays for the command line: read from files, or random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metadata import NodeArg
from ..session import InferenceSession
from ..sparse import Array

_DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
}


def pairs(entries: Sequence[str], what: str) -> dict[str, str]:
    """NAME=VALUE arguments as a dict."""
    found = {}
    for entry in entries:
        name, equals, value = entry.rpartition("=")
        if not equals or not name:
            raise ValueError(f"{what}: expected NAME=VALUE, got {entry!r}")
        found[name] = value
    return found


def whole_number(text: str, what: str) -> int:
    """A number >= 1 from an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{what}: expected a number >= 1, got {text!r}")
    return int(text)


def sizes(entries: Sequence[str]) -> dict[str, int]:
    """--dim NAME=SIZE arguments as a dict."""
    found = pairs(entries, "--dim")
    return {name: whole_number(size, f"--dim {name}") for name, size in found.items()}


def _load(arg: NodeArg, path: str) -> Array:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"--input {arg.name}: there is no file {path!r}") from None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"--input {arg.name}: {path!r} is no array that numpy.save wrote ({error})"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"--input {arg.name}: {path!r} holds several arrays, expected one (.npy)")
    return array


def random_array(
    name: str,
    type_name: str,
    extents: Sequence[int | str | None],
    dims: Mapping[str, int],
    generator: np.random.Generator,
) -> Array:
    """Random values of an input's declared type; symbolic dims are those of `dims`, or 1."""
    shape = []
    for extent in extents:
        size = extent if isinstance(extent, int) else dims.get(str(extent), 1)
        shape.append(max(int(size), 1))
    element = type_name.removeprefix("tensor(").removesuffix(")")
    if element == "string":
        return np.full(shape, "text", dtype=object)
    if element not in _DTYPES:
        raise ValueError(f"input {name!r} is {type_name}: give it with --input {name}=FILE")
    dtype = np.dtype(_DTYPES[element])
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def make_feeds(session: InferenceSession, options: Any) -> dict[str, Array]:
    """One array per input: from --input, or random of the shape that --dim completes."""
    files = pairs(options.input, "--input")
    dims = sizes(options.dim)
    names = {arg.name for arg in session.get_inputs()}
    if unknown := sorted(set(files) - names):
        raise ValueError(f"--input: the model has no input {unknown[0]!r}, it has {sorted(names)}")
    generator = np.random.default_rng(options.seed)
    return {
        arg.name: _load(arg, files[arg.name])
        if arg.name in files
        else random_array(arg.name, arg.type, arg.shape, dims, generator)
        for arg in session.get_inputs()
        if arg.name in files or not arg.type.startswith("optional")
    }

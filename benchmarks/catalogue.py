"""The models to measure: entries of a JSON catalogue, or plain files with random inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from inputs import Array, make_input

import tiercel
from tiercel.cli.feeds import random_array


@dataclass
class Case:
    """One model at one batch size (0: the size that its inputs have anyway)."""

    name: str
    path: str
    batch: int
    feeds: dict[str, Array] = field(repr=False)


def _ports(path: str) -> list[Any]:
    """Inputs as the file declares them."""
    options = tiercel.SessionOptions()
    options.graph_optimization_level = tiercel.GraphOptimizationLevel.ORT_DISABLE_ALL
    return tiercel.InferenceSession(path, options).get_inputs()


def _with_batch(ports: Sequence[Any], batch: int) -> dict[str, list[int | str | None]]:
    """Declared shapes where the symbols that are some input's first dim are this number.

    Empty when every first dim is a number.
    """
    first = [port.shape[0] for port in ports if port.shape]
    symbols = {dim for dim in first if isinstance(dim, str) and dim}
    shapes = {}
    for port in ports:
        shape = [batch if dim in symbols else dim for dim in port.shape]
        if port.shape and not isinstance(port.shape[0], int):
            shape[0] = batch
        if shape != list(port.shape):
            shapes[port.name] = shape
    return shapes


def entries(file: str | Path) -> list[dict[str, Any]]:
    """What a catalogue lists; paths in it are relative to its folder."""
    read = json.loads(Path(file).read_text())
    listed: list[dict[str, Any]] = read["models"] if isinstance(read, dict) else read
    for entry in listed:
        for key in ("id", "path", "inputs"):
            if key not in entry:
                raise ValueError(f"{file}: an entry has no {key!r}: {str(entry)[:80]}")
        entry["path"] = str(Path(file).resolve().parent / entry["path"])
    return listed


def of_entry(entry: Mapping[str, Any], batch: int) -> Case:
    specs = entry["inputs"]
    if batch:
        free = _with_batch(_ports(entry["path"]), batch)
        if not free:
            raise ValueError("the batch size is fixed")
        specs = [spec | {"shape": _filled(spec["shape"], free.get(spec["name"]))} for spec in specs]
    key = entry.get("input_key") or entry["id"]
    feeds = {spec["name"]: make_input(spec, key) for spec in specs}
    return Case(entry["id"], entry["path"], batch, feeds)


def _filled(shape: Sequence[int], declared: Sequence[Any] | None) -> list[int]:
    """The catalogue's extents, but those that a declared shape has as numbers."""
    if declared is None:
        return list(shape)
    return [d if isinstance(d, int) else s for s, d in zip(shape, declared, strict=True)]


def _of_file(path: str, batch: int, dims: Mapping[str, int]) -> Case:
    ports = [port for port in _ports(path) if not port.type.startswith("optional")]
    free = _with_batch(ports, batch) if batch else {}
    if batch and not free:
        raise ValueError("the batch size is fixed")
    rng = np.random.default_rng(0)
    feeds = {
        port.name: random_array(port.name, port.type, free.get(port.name, port.shape), dims, rng)
        for port in ports
    }
    return Case(Path(path).stem, path, batch, feeds)


def cases(
    catalogues: Sequence[str],
    files: Sequence[str],
    only: Sequence[str] = (),
    batches: Sequence[int] = (0,),
    dims: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, int, Case | str]]:
    """Name and batch size of each case, and the case itself or why there is none."""
    listed = [entry for file in catalogues for entry in entries(file)]
    if unknown := sorted(set(only) - {entry["id"] for entry in listed}):
        raise ValueError(f"--only: the catalogue has no {', '.join(unknown)}")
    made = [
        (entry["id"], batch, partial(of_entry, entry, batch))
        for entry in listed
        if not only or entry["id"] in only
        for batch in batches
    ]
    made += [
        (Path(path).stem, batch, partial(_of_file, path, batch, dims or {}))
        for path in files
        for batch in batches
    ]
    for name, batch, make in made:
        try:
            yield name, batch, make()
        except Exception as error:  # a model that cannot be read is a line, not the end
            yield name, batch, f"{type(error).__name__}: {error}".splitlines()[0][:200]

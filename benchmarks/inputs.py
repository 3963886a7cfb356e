"""Arrays for the inputs of models: by the recipes of a catalogue, always the same for a seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Recipe = Callable[[tuple[int, ...], Mapping[str, Any], np.random.Generator], Array]


def _uniform(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    return rng.random(shape) * (how["high"] - how["low"]) + how["low"]


def _normal(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    return rng.standard_normal(shape) * how.get("std", 1.0) + how.get("mean", 0.0)


def _whole(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    return rng.integers(how["low"], how["high"] + 1, shape)


def _constant(shape: tuple[int, ...], how: Mapping[str, Any], _: np.random.Generator) -> Array:
    return np.full(shape, how["value"])


def _flags(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    return rng.random(shape) < how.get("p", 0.5)


def _counted(shape: tuple[int, ...], how: Mapping[str, Any], _: np.random.Generator) -> Array:
    return np.arange(int(np.prod(shape))).reshape(shape) + how.get("start", 0)


def _columns(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Each column of a table between bounds of its own."""
    low, high = np.asarray(how["low"], float), np.asarray(how["high"], float)
    return rng.random(shape) * (high - low) + low


def _edges(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Edges [2, E] of a random graph, each in both directions."""
    nodes, half = how["num_nodes"], shape[1] // 2
    start = rng.integers(0, nodes, size=half)
    end = (start + rng.integers(1, nodes, size=half)) % nodes
    return _both_ways(shape, start, end)


def _molecule_edges(
    shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator
) -> Array:
    """Edges of several equal molecules: a chain each, and random bonds inside it."""
    graphs, half = how["num_graphs"], shape[1] // 2
    size = how["num_nodes"] // graphs
    chain = np.concatenate([np.arange(size - 1) + i * size for i in range(graphs)])
    more = half - len(chain)
    first = rng.integers(0, graphs, size=more) * size
    one = rng.integers(0, size, size=more)
    other = (one + rng.integers(2, size, size=more)) % size
    start = np.concatenate([chain, first + one])
    return _both_ways(shape, start, np.concatenate([chain + 1, first + other]))


def _both_ways(shape: tuple[int, ...], start: Array, end: Array) -> Array:
    half = len(start)
    edges = np.zeros(shape, np.int64)
    edges[:, :half] = start, end
    edges[:, half : 2 * half] = end, start
    return edges


def _graph_of_node(shape: tuple[int, ...], how: Mapping[str, Any], _: np.random.Generator) -> Array:
    return np.arange(shape[0]) * how["num_graphs"] // shape[0]


def _distances(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """A symmetric matrix with zeros on its diagonal."""
    matrix = rng.integers(1, how["max"] + 1, size=(shape[-1], shape[-1]))
    matrix = np.minimum(matrix, matrix.T)
    np.fill_diagonal(matrix, 0)
    return np.broadcast_to(matrix, shape)


def _audio(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Five tones with noise."""
    time = np.arange(shape[-1]) / how.get("rate", 16000)
    pitch, phase = rng.uniform(90, 900, size=5), rng.uniform(0, 6.28, size=5)
    tones = [np.sin(6.283185307 * pitch[i] * time + phase[i]) / (i + 2) for i in range(5)]
    noise = rng.standard_normal(shape) * 0.02
    return np.broadcast_to((sum(tones) * 0.25 + noise) * how.get("scale", 1.0), shape)


def _image(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Smooth waves with noise, between two bounds."""
    last = how.get("layout") == "NHWC"
    full = (1, *shape) if len(shape) == 3 else shape
    height, width, channels = full[-3:] if last else (full[-2], full[-1], full[-3])
    y, x = np.mgrid[0:height, 0:width]
    out = np.zeros((full[0], channels, height, width))
    for plane in out.reshape(-1, height, width):
        q, p = rng.uniform(0.5, 6, size=4), rng.uniform(0, 6.28, size=2)
        along = np.sin(q[0] * 6.28 * y / height + q[1] * 3 * x / width + p[0])
        across = np.cos(q[2] * 6.28 * x / width - q[3] * 3 * y / height + p[1])
        plane[:] = 0.5 + 0.25 * along + 0.2 * across
    out += rng.standard_normal(out.shape) * 0.05
    out = np.clip(out, 0, 1) * (how["high"] - how["low"]) + how["low"]
    return (out.transpose(0, 2, 3, 1) if last else out).reshape(shape)


def _text(shape: tuple[int, ...], how: Mapping[str, Any], rng: np.random.Generator) -> Array:
    """Strings: one of the choices, or that many of them as words."""
    choices, out = how["choices"], np.empty(shape, object)
    for index in np.ndindex(*shape):
        count = how["n"] if how["kind"] == "words" else 1
        words = [str(choices[int(rng.integers(0, len(choices)))]) for _ in range(count)]
        out[index] = " ".join(words)
    return out


RECIPES: dict[str, Recipe] = {
    "uniform": _uniform,
    "normal": _normal,
    "randint": _whole,
    "const": _constant,
    "bool": _flags,
    "arange": _counted,
    "per_feature": _columns,
    "edge_index": _edges,
    "mol_edge_index": _molecule_edges,
    "batch_index": _graph_of_node,
    "distmat": _distances,
    "audio": _audio,
    "image": _image,
    "choice": _text,
    "words": _text,
}


def make_input(spec: Mapping[str, Any], key: str, seed: int = 0) -> Array:
    """The array of one input: `spec` has name, dtype (numpy's name or "str"), shape and gen.

    Models with the same key get the same arrays, so that forms of one model can be compared.
    """
    how = spec.get("gen") or {"kind": "uniform", "low": 0.0, "high": 1.0}
    if how["kind"] not in RECIPES:
        raise ValueError(
            f"input {spec['name']!r}: unknown gen kind {how['kind']!r}, expected {sorted(RECIPES)}"
        )
    parts = [seed, zlib.crc32(key.encode()), zlib.crc32(spec["name"].encode())]
    shape = tuple(spec["shape"])
    array = RECIPES[how["kind"]](shape, how, np.random.default_rng(parts))
    if spec["dtype"] == "str":
        return array
    dtype = np.dtype(spec["dtype"])
    if dtype.kind in "iu" and array.dtype.kind == "f":
        array = np.round(array)
    return np.ascontiguousarray(array.astype(dtype)).reshape(shape)

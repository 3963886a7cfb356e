"""A case of the self-test: a model of one node, and its inputs."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Dims = tuple[int, ...]

_OPSET = 23
TYPES = {
    "f32": 1,
    "f16": 10,
    "bf16": 16,
    "f64": 11,
    "i32": 6,
    "i64": 7,
    "i8": 3,
    "u8": 2,
    "bool": 9,
}
# Largest difference of results, relative to the largest number of the output.
BOUNDS = {"f32": 2e-5, "f16": 4e-3, "bf16": 3e-2, "f64": 1e-12}


@dataclass(frozen=True)
class Case:
    """One node; inputs are random of a type and shape, or constants that are given."""

    family: str
    op: str
    dtype: str
    shapes: tuple[Dims, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[Array, ...] = ()  # inputs behind the random ones
    outputs: int = 1
    integers: int = 0  # so many inputs, the last of the random ones, are int64 below `limit`
    limit: int = 1
    domain: str = ""

    @property
    def name(self) -> str:
        """Operator, type, shapes, attributes and constants."""
        shapes = " ".join("x".join(map(str, shape)) or "1" for shape in self.shapes)
        attributes = "".join(f" {key}={value}" for key, value in self.attributes.items())
        constants = "".join(f" {a.tolist() if a.size < 9 else a.shape}" for a in self.constants)
        return f"{self.op} {self.dtype} {shapes}{attributes}{constants}"

    def types(self) -> list[str]:
        """The type of each random input."""
        return [self.dtype] * (len(self.shapes) - self.integers) + ["i64"] * self.integers

    def model(self) -> bytes:
        """The serialised model."""
        from onnx import ValueInfoProto, helper, numpy_helper

        names = [f"x{i}" for i in range(len(self.shapes))]
        constants = [f"c{i}" for i in range(len(self.constants))]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(
            self.op, [*names, *constants], outputs, domain=self.domain, **self.attributes
        )
        inputs = [
            helper.make_tensor_value_info(name, TYPES[dtype], list(shape))
            for name, dtype, shape in zip(names, self.types(), self.shapes, strict=True)
        ]
        given = [
            numpy_helper.from_array(a, name)
            for name, a in zip(constants, self.constants, strict=True)
        ]
        results = [ValueInfoProto(name=name) for name in outputs]  # their types follow
        graph = helper.make_graph([node], "selftest", inputs, results, given)
        opset = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_model(graph, opset_imports=opset, ir_version=10)
        return bytes(made.SerializeToString())

    def feeds(self) -> dict[str, Array]:
        """Random inputs, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        made = {}
        for i, (dtype, shape) in enumerate(zip(self.types(), self.shapes, strict=True)):
            if i >= len(self.shapes) - self.integers:
                made[f"x{i}"] = rng.integers(0, self.limit, shape)
            else:
                made[f"x{i}"] = _random(rng, dtype, shape)
        return made


def _random(rng: np.random.Generator, dtype: str, shape: Dims) -> Array:
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype[0] in "iu":
        return np.asarray(rng.integers(1, 50, shape)).astype(f"{dtype[0]}{int(dtype[1:]) // 8}")
    values = np.asarray(rng.uniform(0.1, 0.9, shape))  # every function has a value there
    if dtype == "bf16":
        import ml_dtypes

        return values.astype(ml_dtypes.bfloat16)
    return values.astype(f"f{int(dtype[1:]) // 8}")


def ints(*values: int) -> Array:
    """A tensor of int64."""
    return np.array(values, np.int64)

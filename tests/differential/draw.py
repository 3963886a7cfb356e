"""Random choices for one test case: shapes, axes and tensors with odd values among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto, defs, helper

ELEMENTS = {
    name.lower(): helper.tensor_dtype_to_np_dtype(number)
    for name, number in TensorProto.DataType.items()
    if name != "UNDEFINED"
}
NAMES = {dtype: name for name, dtype in ELEMENTS.items()}
FLOATS = tuple(name for name in ELEMENTS if "float" in name or name == "double")
WORDS = ["", "a", "b", "ab", "B b", "é", "日本語", "0", "-7", "3.5", "nan"]
MOST = 1 << 13  # elements of one tensor
COMMON, RARE = (1, 2, 3, 4, 5, 7), (0, 0, 8, 15, 16, 17, 33, 70)


def number_of(name: str) -> int:
    """TensorProto's number of an element type."""
    return int(getattr(TensorProto, name.upper()))


def name_of(array: np.ndarray) -> str:
    return "string" if array.dtype == object else NAMES[array.dtype]


def is_whole(name: str) -> bool:
    return "int" in name


@dataclass
class Node:
    """What a recipe makes: inputs (None: absent, a list: a sequence) and attributes."""

    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    # Inputs that have to be initialisers, because the standard or a reference reads them early.
    constant: frozenset[int] = frozenset()
    tolerance: float = 1.0  # multiplies what is allowed
    off: int = 0  # by which whole numbers may differ
    sums: bool = False  # errors are relative to the largest element, not to each
    shape_only: bool = False  # the values of the outputs are not defined
    # Whether onnx's reference computes this form: where it does not, ONNX Runtime alone is asked.
    reference: bool = True


class Draw:
    """Choices, each a whole number from `integer(low, high)`: hypothesis or a random generator.

    The elements of tensors come from a generator whose seed is one such choice.
    """

    def __init__(
        self, integer: Callable[[int, int], int], schema: defs.OpSchema | None = None
    ) -> None:
        self.integer = integer
        self.schema = schema
        self._types: dict[str, str] = {}
        self.rng = np.random.default_rng(self.integer(0, 0xFFFF))
        self.odd = self.flag(40)  # whether tensors hold NaN, infinities and extremes

    def flag(self, percent: int = 50) -> bool:
        return self.integer(0, 99) >= 100 - percent

    def choice(self, among: Sequence[Any]) -> Any:
        return among[self.integer(0, len(among) - 1)]

    def real(self, low: float, high: float) -> float:
        """A float32 number."""
        return float(np.float32(self.rng.uniform(low, high)))

    def admitted(self, parameter: str) -> list[str]:
        """Element types that the schema admits for a type parameter."""
        assert self.schema is not None
        texts = [parameter]
        for constraint in self.schema.type_constraints:
            if constraint.type_param_str == parameter:
                texts = list(constraint.allowed_type_strs)
        names = (t[7:-1].strip() for t in texts if t.startswith("tensor("))
        return sorted(n for n in names if n in ELEMENTS)

    def type(self, parameter: str = "T", but: Sequence[str] = ()) -> str:
        """The element type of a type parameter, chosen at its first use; common ones oftener."""
        if parameter not in self._types:
            admitted = [n for n in self.admitted(parameter) if n not in but]
            usual = [n for n in ("float", "int64", "float16", "uint8") if n in admitted]
            self._types[parameter] = self.choice(usual if usual and self.flag(40) else admitted)
        return self._types[parameter]

    def extent(self) -> int:
        return int(self.choice(RARE) if self.flag(20) else self.choice(COMMON))

    def size(self) -> int:
        """An extent that is not zero."""
        return max(1, self.extent())

    def shape(self, low: int = 0, high: int = 4) -> tuple[int, ...]:
        dims: list[int] = []
        for _ in range(self.integer(low, high)):
            extent = self.extent()
            dims.append(extent if extent * int(np.prod(dims)) <= MOST else self.choice((1, 2)))
        return tuple(dims)

    def full(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        """A shape without zeros."""
        return tuple(max(1, n) for n in self.shape(low, high))

    def broadcast(self, count: int, low: int = 0, high: int = 4) -> list[tuple[int, ...]]:
        """Shapes that broadcast to one another, in every position."""
        whole = self.shape(low, high)
        return [self.towards(whole) if self.flag(70) else whole for _ in range(count)]

    def towards(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """A shape that broadcasts to `whole`."""
        part = whole[self.integer(0, len(whole)) if self.flag(40) else 0 :]
        return tuple(1 if self.flag(30) else n for n in part)

    def axis(self, rank: int) -> int:
        """An axis, negative in half of the cases."""
        return self.integer(-rank, rank - 1)

    def axes(self, rank: int, least: int = 0) -> list[int]:
        """Different axes in any order, some counted from the end."""
        chosen = [a for a in self.permutation(rank) if self.flag()]
        while len(chosen) < least:
            chosen.append(next(a for a in range(rank) if a not in chosen))
        return [a - rank if self.flag(30) else a for a in chosen]

    def permutation(self, count: int) -> list[int]:
        order = list(range(count))
        for i in range(count - 1):
            j = self.integer(i, count - 1)
            order[i], order[j] = order[j], order[i]
        return order

    def tensor(self, name: str, shape: Sequence[int], kind: str = "any") -> np.ndarray:
        """Random elements. Kinds: any (with odd values), sums (odd values, but not the largest),
        finite, positive, unit (up to 1 in size), small (whole numbers from 0 or -4 to 4)."""
        shape = tuple(shape)
        if name == "string":
            return np.array(self.rng.choice(WORDS, shape), object).reshape(shape)
        dtype = ELEMENTS[name]
        if name == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if name.startswith("complex"):
            parts = [self.tensor("float", shape, "finite").astype(np.float64) for _ in "ri"]
            return np.asarray(parts[0] + 1j * parts[1]).astype(dtype)
        if is_whole(name):
            return self._whole(name, shape, kind)
        x = self.rng.standard_normal(shape) * 3
        if kind == "unit":
            x = np.clip(x / 6, -1, 1)
        elif kind == "positive":
            x = np.abs(x) + 0.25
        elif kind == "small":
            x = np.rint(np.clip(x, -4, 4))
        x = np.asarray(x).astype(np.float32).astype(dtype)
        if name == "float8e8m0":
            x = np.abs(np.asarray(x).astype(np.float32) + 0.5).astype(dtype)
        if kind in ("any", "sums") and self.odd:
            odd = self.rng.choice(specials(name, kind == "any"), shape)
            x = np.where(self.rng.random(shape) < 0.15, odd, x)
        return np.asarray(x).astype(dtype).reshape(shape)

    def _whole(self, name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
        low, high = limits(name)
        near = 4 if kind in ("small", "unit") else 100
        x = self.rng.integers(max(low, -near), min(high, near), shape, endpoint=True)
        if kind == "positive":
            x = np.maximum(np.abs(x), 1)
        x = np.asarray(x).astype(ELEMENTS[name])
        if kind in ("any", "sums") and self.odd:
            ends = np.array([low, high, 0], object).astype(ELEMENTS[name])
            x = np.where(self.rng.random(shape) < 0.15, self.rng.choice(ends, shape), x)
        return np.asarray(x).astype(ELEMENTS[name]).reshape(shape)

    def indices(self, high: int, shape: Sequence[int], name: str = "int64") -> np.ndarray:
        """Indices into an axis of `high` elements, some counted from the end."""
        low = -high if self.flag() else 0
        return self.rng.integers(low, max(high, low + 1), shape).astype(ELEMENTS[name])

    def ints(self, values: Sequence[int], name: str = "int64") -> np.ndarray:
        return np.array(list(values), ELEMENTS[name])


def limits(name: str) -> tuple[int, int]:
    """Least and largest number of a whole type."""
    info = ml_dtypes.iinfo(ELEMENTS[name])
    return int(info.min), int(info.max)


def specials(name: str, extremes: bool) -> np.ndarray:
    """Values of a float type that few expect; those that it cannot hold are left out."""
    dtype = ELEMENTS[name]
    wide = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-5, 0.5, -2.5])
    if name in ("float", "double", "float16", "bfloat16"):
        info = ml_dtypes.finfo(dtype)
        if extremes:
            wide = np.append(wide, [float(info.max), float(info.smallest_subnormal)])
    else:
        wide = wide[3:]
    if name == "float8e8m0":
        wide = np.array([1.0, 2.0**-100, 2.0**100, np.nan])
    with np.errstate(all="ignore"):
        return wide.astype(dtype)

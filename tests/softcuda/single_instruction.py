"""PTX kernels of one instruction each, written by hand, and exact rounding to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from softcuda import Device

Values = npt.NDArray[Any]
NUMPY: dict[str, Any] = {f"{k}{n}": np.dtype(f"{k}{n // 8}") for k in "u" for n in (8, 16, 32, 64)}
NUMPY |= {f"s{n}": np.dtype(f"i{n // 8}") for n in (8, 16, 32, 64)}
NUMPY |= {f"b{n}": NUMPY[f"u{n}"] for n in (8, 16, 32, 64)}
NUMPY |= {"f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
NUMPY |= {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64), "f16x2": np.dtype("u4")}
NUMPY |= {"bf16x2": np.dtype("u4"), "pred": np.dtype("u4")}


@dataclass(frozen=True)
class Case:
    """An instruction ``d, a, b, c``, its types, and what it computes.

    ``text`` is the instruction with ``{d}``, ``{a}``, ``{b}``, ``{c}`` for its registers.
    """

    text: str
    result: str
    sources: tuple[str, ...]
    reference: Callable[..., Any]

    @property
    def opcode(self) -> str:
        """The instruction's name with its qualifiers."""
        return self.text.split()[0]


def register_type(kind: str) -> str:
    """The type of a register that holds a type; there are none of 8 bits."""
    bits = NUMPY[kind].itemsize * 8
    return kind if kind in ("f32", "f64", "pred") else f"b{max(bits, 16)}"


def kernel(name: str, case: Case) -> str:
    """A kernel whose thread ``i`` applies the instruction to the elements ``i``."""
    lines = [f".visible .entry {name}("]
    parameters = [f"  .param .u64 {name}_{x}" for x in "abcd"]
    lines += [",\n".join(parameters), ")", "{", ".reg .b64 %rd<9>;", ".reg .b32 %r<3>;"]
    lines += [".reg .pred %p<2>;", "mov.u32 %r1, %tid.x;"]
    for letter, kind in zip("abc", case.sources, strict=False):
        size = NUMPY[kind].itemsize
        lines.append(f".reg .{register_type(kind)} %{letter};" if kind != "pred" else "")
        lines.append(f"ld.param.u64 %rd1, [{name}_{letter}];")
        lines.append(f"mul.wide.u32 %rd2, %r1, {size};")
        lines.append("add.s64 %rd3, %rd1, %rd2;")
        if kind == "pred":
            lines.append("ld.global.u32 %r2, [%rd3];")
            lines.append(f".reg .pred %{letter};")
            lines.append(f"setp.ne.u32 %{letter}, %r2, 0;")
        else:
            lines.append(f"ld.global.{memory_type(kind)} %{letter}, [%rd3];")
    lines.append(f".reg .{register_type(case.result)} %d;")
    lines.append(case.text.format(a="%a", b="%b", c="%c", d="%d"))
    lines.append(f"ld.param.u64 %rd4, [{name}_d];")
    lines.append(f"mul.wide.u32 %rd5, %r1, {NUMPY[case.result].itemsize};")
    lines.append("add.s64 %rd6, %rd4, %rd5;")
    if case.result == "pred":
        lines.append("selp.u32 %r2, 1, 0, %d;")
        lines.append("st.global.u32 [%rd6], %r2;")
    else:
        lines.append(f"st.global.{memory_type(case.result)} [%rd6], %d;")
    return "\n".join([*lines, "ret;", "}"])


def memory_type(kind: str) -> str:
    """The type in which a value is loaded and stored."""
    if kind in ("f32", "f64", "s8", "s16"):
        return kind
    return f"{'u' if kind == 'u8' else 'b'}{NUMPY[kind].itemsize * 8}"


def module_text(cases: Sequence[Case]) -> str:
    """A PTX module with a kernel ``k0``, ``k1``, … for each case."""
    head = ".version 8.0\n.target sm_80\n.address_size 64\n"
    return head + "\n".join(kernel(f"k{i}", case) for i, case in enumerate(cases))


def run(device: Device, module: Any, index: int, case: Case, values: Sequence[Values]) -> Values:
    """The results of a case for its source values."""
    count = len(values[0])
    arrays = [device.upload(np.ascontiguousarray(v)) for v in values]
    result = device.empty(count, NUMPY[case.result])
    padded = [*arrays, *[arrays[0]] * (3 - len(arrays)), result]
    module.launch(f"k{index}", (1,), (count,), padded)
    return result.numpy()


# ---- exact rounding

# digits with the leading one, the exponent of the smallest normal number, that of the largest
FORMATS = {
    "f16": (11, -14, 15),
    "bf16": (8, -126, 127),
    "f32": (24, -126, 127),
    "f64": (53, -1022, 1023),
}


def rounded(value: Fraction, kind: str, mode: str = "rn") -> float:
    """A number rounded to a format, by ``rn``, ``rz``, ``rm`` (down) or ``rp`` (up)."""
    digits, least, most = FORMATS[kind]
    if value == 0:
        return 0.0
    exponent = least
    size = abs(value)
    while exponent < most and size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - digits + 1)
    steps = value / unit
    whole = {
        "rn": round(steps),
        "rz": int(steps),
        "rm": steps.__floor__(),
        "rp": steps.__ceil__(),
    }[mode]
    result = whole * unit
    largest = (2 - Fraction(2) ** (1 - digits)) * Fraction(2) ** most
    if abs(result) > largest:
        away = mode == "rn" or (mode == "rp" and value > 0) or (mode == "rm" and value < 0)
        edge = float("inf") if away else float(largest)
        return edge if value > 0 else -edge
    return float(result)


def exactly(kind: str, mode: str, function: Callable[..., Fraction]) -> Callable[..., Values]:
    """A reference that computes with fractions and rounds once."""

    def apply(*sources: Values) -> Values:
        rows = zip(*(source.tolist() for source in sources), strict=True)
        results = [rounded(function(*(Fraction(x) for x in row)), kind, mode) for row in rows]
        return np.array(results).astype(NUMPY[kind])

    return apply

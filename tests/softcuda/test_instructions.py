"""Single PTX instructions against exact references: integers, roundings, halves, conversions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from single_instruction import NUMPY, Case, Values, exactly, module_text, run
from softcuda import Device, Module

COUNT = 256


def floats(kind: str, seed: int) -> Values:
    """Finite values of all sizes, with the edges of the format among them."""
    rng = np.random.default_rng(seed)
    spread = {"f16": 6, "bf16": 20, "f32": 20, "f64": 40}[kind]
    values = rng.standard_normal(COUNT) * 2.0 ** rng.integers(-spread, spread, COUNT)
    info: Any = ml_dtypes.finfo(NUMPY[kind])
    edges = [0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, float(info.max), float(info.smallest_subnormal)]
    edges += [float(info.tiny), -float(info.max), 3.0, 65504.0, 1e-7]
    values[: len(edges)] = rng.permutation(edges)
    return values.astype(NUMPY[kind])


def integers(kind: str, seed: int) -> Values:
    """Values of all sizes, with the edges of the type among them."""
    rng = np.random.default_rng(seed)
    dtype = NUMPY[kind]
    bits = dtype.itemsize * 8
    values = rng.integers(0, 2**64, COUNT, dtype=np.uint64) >> rng.integers(
        64 - bits, 64, COUNT
    ).astype(np.uint64)
    edges = [0, 1, 2, 2 ** (bits - 1), 2 ** (bits - 1) - 1, 2**bits - 1]
    values[:6] = rng.permutation(np.array(edges, np.uint64))
    return values.astype(f"u{dtype.itemsize}").view(dtype)


def values_of(case: Case) -> list[Values]:
    """Source values of a case."""
    found = []
    for i, kind in enumerate(case.sources):
        if kind in ("f16x2", "bf16x2"):
            half = kind.removesuffix("x2")
            pair = np.stack([floats(half, 7 + i), floats(half, 17 + i)], 1)
            found.append(np.ascontiguousarray(pair).view(np.uint32)[:, 0])
        elif kind == "pred":
            found.append(integers("u32", i) & 1)
        else:
            found.append(floats(kind, i) if "f" in kind else integers(kind, i))
    return found


def wrap(function: Callable[..., int], kind: str) -> Callable[..., Values]:
    """A reference over Python integers, whose results keep their low bits."""
    dtype = NUMPY[kind]

    def apply(*sources: Values) -> Values:
        rows = zip(*(source.tolist() for source in sources), strict=True)
        low = [function(*row) % 2 ** (8 * dtype.itemsize) for row in rows]
        return np.array(low, f"u{dtype.itemsize}").view(dtype)

    return apply


def bits_of(kind: str) -> int:
    """How many bits a type has."""
    return int(NUMPY[kind].itemsize * 8)


def truncated(a: int, b: int) -> tuple[int, int]:
    """Quotient and remainder of a division toward zero."""
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient, a - quotient * b


def integer_cases() -> list[Case]:
    """Arithmetic of integers."""
    found = []
    for kind in ("u16", "s16", "u32", "s32", "u64", "s64"):
        n = bits_of(kind)
        two: dict[str, Callable[[int, int], int]] = {
            "add": lambda a, b: a + b,
            "sub": lambda a, b: a - b,
            "mul.lo": lambda a, b: a * b,
            "mul.hi": lambda a, b, n=n: (a * b) >> n,  # type: ignore[misc]
            "min": min,
            "max": max,
            "div": lambda a, b: truncated(a, b)[0] if b else -1,
            "rem": lambda a, b: truncated(a, b)[1] if b else a,
        }
        for name, function in two.items():
            text = f"{name}.{kind} {{d}}, {{a}}, {{b}};"
            found.append(Case(text, kind, (kind, kind), wrap(function, kind)))
        text = f"mad.lo.{kind} {{d}}, {{a}}, {{b}}, {{c}};"
        found.append(Case(text, kind, (kind,) * 3, wrap(lambda a, b, c: a * b + c, kind)))
    for kind, wide in (("u16", "u32"), ("s16", "s32"), ("u32", "u64"), ("s32", "s64")):
        text = f"mul.wide.{kind} {{d}}, {{a}}, {{b}};"
        found.append(Case(text, wide, (kind, kind), wrap(lambda a, b: a * b, wide)))
        text = f"mad.wide.{kind} {{d}}, {{a}}, {{b}}, {{c}};"
        reference = wrap(lambda a, b, c: a * b + c, wide)
        found.append(Case(text, wide, (kind, kind, wide), reference))
    for kind in ("s32", "s64"):
        found.append(Case(f"neg.{kind} {{d}}, {{a}};", kind, (kind,), wrap(lambda a: -a, kind)))
        found.append(Case(f"abs.{kind} {{d}}, {{a}};", kind, (kind,), wrap(abs, kind)))
    clamp = wrap(lambda a, b: max(-(2**31), min(2**31 - 1, a + b)), "s32")
    found.append(Case("add.sat.s32 {d}, {a}, {b};", "s32", ("s32", "s32"), clamp))
    return found


def carry_cases_of(kind: str) -> list[Case]:
    """Sums and products of two words of a type, whose carry is taken to a higher word."""
    n = 2 ** bits_of(kind)

    def after_sum(a: int, b: int, c: int) -> int:
        return c + a + (a % n + b % n) // n

    def after_two_sums(a: int, b: int, c: int) -> int:
        return (c % n + a % n + (a % n + b % n) // n) // n

    def after_difference(a: int, b: int, c: int) -> int:
        return c - a - (a % n < b % n)

    def after_product(a: int, b: int, c: int) -> int:
        return a * b // n + c + (a * b % n + c % n) // n

    sums = f"add.cc.{kind} {{d}}, {{a}}, {{b}}; addc.{kind} {{d}}, {{c}}, {{a}};"
    longer = sums.replace("addc", "addc.cc") + f" addc.{kind} {{d}}, 0, 0;"
    differences = f"sub.cc.{kind} {{d}}, {{a}}, {{b}}; subc.{kind} {{d}}, {{c}}, {{a}};"
    products = f"mad.lo.cc.{kind} {{d}}, {{a}}, {{b}}, {{c}}; "
    products += f"madc.hi.{kind} {{d}}, {{a}}, {{b}}, {{c}};"
    references = {
        sums: after_sum,
        longer: after_two_sums,
        differences: after_difference,
        products: after_product,
    }
    return [Case(text, kind, (kind,) * 3, wrap(f, kind)) for text, f in references.items()]


def carry_cases() -> list[Case]:
    """The same of every type."""
    return [case for kind in ("u32", "u64", "s32") for case in carry_cases_of(kind)]


def extract(value: int, at: int, length: int, bits: int, signed: bool) -> int:
    """bfe, bit by bit."""
    at, length = at & 255, length & 255
    if length == 0:
        return 0
    value %= 2**bits
    sign = value >> min(at + length - 1, bits - 1) & 1 if signed else 0
    digits = [value >> (at + i) & 1 if i < length and at + i < bits else sign for i in range(bits)]
    return sum(digit << i for i, digit in enumerate(digits))


def insert(value: int, into: int, at: int, length: int, bits: int) -> int:
    """bfi, bit by bit."""
    for i in range(length & 255):
        place = (at & 255) + i
        if place < bits:
            into = into & ~(1 << place) | (value >> i & 1) << place
    return into


def permuted(a: int, b: int, selector: int) -> int:
    """prmt, byte by byte."""
    source = (b << 32 | a).to_bytes(8, "little")
    result = []
    for i in range(4):
        pick = selector >> 4 * i & 15
        byte = source[pick & 7]
        result.append((255 if byte & 128 else 0) if pick & 8 else byte)
    return int.from_bytes(bytes(result), "little")


def bit_cases() -> list[Case]:
    """Shifts, fields, counts, permutations."""
    found = []
    for kind in ("b16", "b32", "b64"):
        n = bits_of(kind)
        logic = {"and": "&", "or": "|", "xor": "^"}
        for name, sign in logic.items():
            reference = wrap(eval(f"lambda a, b: a {sign} b"), kind)
            text = f"{name}.{kind} {{d}}, {{a}}, {{b}};"
            found.append(Case(text, kind, (kind, kind), reference))
        found.append(Case(f"not.{kind} {{d}}, {{a}};", kind, (kind,), wrap(lambda a: ~a, kind)))
        found.append(
            Case(
                f"shl.{kind} {{d}}, {{a}}, {{b}};",
                kind,
                (kind, "u32"),
                wrap(lambda a, b, n=n: a << b if b < n else 0, kind),
            )
        )
    for kind in ("u16", "s16", "u32", "s32", "u64", "s64"):
        n = bits_of(kind)
        shift = wrap(lambda a, b, n=n: a >> min(b, n), kind)
        text = f"shr.{kind} {{d}}, {{a}}, {{b}};"
        found.append(Case(text, kind, (kind, "u32"), shift))
    for kind in ("u32", "s32", "u64", "s64"):
        n, signed = bits_of(kind), kind[0] == "s"
        for at, length in ((3, 7), (0, 32), (20, 30), (31, 0), (60, 10)):
            reference = wrap(
                lambda a, at=at, k=length, n=n, s=signed: extract(a, at, k, n, s), kind
            )
            text = f"bfe.{kind} {{d}}, {{a}}, {at}, {length};"
            found.append(Case(text, kind, (kind,), reference))
    for kind in ("b32", "b64"):
        n = bits_of(kind)
        for at, length in ((3, 7), (0, 32), (20, 30), (60, 10)):
            reference = wrap(lambda a, b, at=at, k=length, n=n: insert(a, b, at, k, n), kind)
            text = f"bfi.{kind} {{d}}, {{a}}, {{b}}, {at}, {length};"
            found.append(Case(text, kind, (kind, kind), reference))
        zeros = wrap(lambda a, n=n: n - a.bit_length(), "u32")
        found.append(Case(f"clz.{kind} {{d}}, {{a}};", "u32", (kind,), zeros))
        ones = wrap(lambda a: a.bit_count(), "u32")
        found.append(Case(f"popc.{kind} {{d}}, {{a}};", "u32", (kind,), ones))
        turned = wrap(lambda a, n=n: int(f"{a:0{n}b}"[::-1], 2), kind)
        found.append(Case(f"brev.{kind} {{d}}, {{a}};", kind, (kind,), turned))
    found.append(Case("prmt.b32 {d}, {a}, {b}, {c};", "b32", ("b32",) * 3, wrap(permuted, "b32")))
    majority = wrap(lambda a, b, c: (a & b) | (a & c) | (b & c), "b32")
    found.append(Case("lop3.b32 {d}, {a}, {b}, {c}, 0xE8;", "b32", ("b32",) * 3, majority))
    left = wrap(lambda a, b, c: ((b << 32 | a) << (c & 31)) >> 32, "b32")
    found.append(Case("shf.l.wrap.b32 {d}, {a}, {b}, {c};", "b32", ("b32",) * 3, left))
    right = wrap(lambda a, b, c: (b << 32 | a) >> min(c, 32), "b32")
    found.append(Case("shf.r.clamp.b32 {d}, {a}, {b}, {c};", "b32", ("b32",) * 3, right))
    top = wrap(lambda a: a.bit_length() - 1, "u32")
    found.append(Case("bfind.u32 {d}, {a};", "u32", ("u32",), top))
    return found


def rounding_cases() -> list[Case]:
    """add, mul and fma of every float and rounding, rounded once from exact fractions."""
    found = []
    operations: dict[str, Callable[..., Fraction]] = {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "fma": lambda a, b, c: a * b + c,
    }
    kinds = {"f32": ("rn", "rz", "rm", "rp"), "f64": ("rn",), "f16": ("rn",), "bf16": ("rn",)}
    for kind, modes in kinds.items():
        for name, function in operations.items():
            for mode in modes:
                count = 3 if name == "fma" else 2
                registers = ", ".join(["{d}", "{a}", "{b}", "{c}"][: count + 1])
                text = f"{name}.{mode}.{kind} {registers};"
                found.append(Case(text, kind, (kind,) * count, exactly(kind, mode, function)))
    return found


def pairs(kind: str, function: Callable[..., Values]) -> Callable[..., Values]:
    """A reference of single halves as one of packed halves."""
    half = NUMPY[kind]

    def apply(*sources: Values) -> Values:
        wide = [s.view(half).reshape(-1, 2) for s in sources]
        columns = [function(*(w[:, i] for w in wide)) for i in range(2)]
        return np.ascontiguousarray(np.stack(columns, 1).astype(half)).view(np.uint32)[:, 0]

    return apply


def half_cases() -> list[Case]:
    """Packed halves; minimum and maximum."""
    found = []
    for kind in ("f16", "bf16"):
        product = exactly(kind, "rn", lambda a, b, c: a * b + c)
        text = f"fma.rn.{kind}x2 {{d}}, {{a}}, {{b}}, {{c}};"
        found.append(Case(text, f"{kind}x2", (f"{kind}x2",) * 3, pairs(kind, product)))
        for name in ("min", "max"):
            extreme = np.minimum if name == "min" else np.maximum
            text = f"{name}.{kind} {{d}}, {{a}}, {{b}};"
            found.append(Case(text, kind, (kind, kind), extreme))
            text = f"{name}.{kind}x2 {{d}}, {{a}}, {{b}};"
            found.append(Case(text, f"{kind}x2", (f"{kind}x2",) * 2, pairs(kind, extreme)))
        found.append(Case(f"neg.{kind} {{d}}, {{a}};", kind, (kind,), lambda a: -a))
        found.append(Case(f"abs.{kind} {{d}}, {{a}};", kind, (kind,), np.abs))
    return found


def clamped(kind: str, mode: str) -> Callable[[Values], Values]:
    """Floats to integers: rounded, then kept inside the type."""
    rounds = {"rni": round, "rzi": int, "rmi": np.floor, "rpi": np.ceil}
    info = np.iinfo(NUMPY[kind])

    def apply(source: Values) -> Values:
        whole = [int(rounds[mode](float(x))) for x in source]
        return np.array([min(max(w, info.min), info.max) for w in whole], NUMPY[kind])

    return apply


def conversion_cases() -> list[Case]:
    """cvt: floats to integers and back, between floats, between integers."""
    found = []
    for kind in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"):
        for source in ("f32", "f64", "f16"):
            for mode in ("rni", "rzi", "rmi", "rpi"):
                text = f"cvt.{mode}.{kind}.{source} {{d}}, {{a}};"
                found.append(Case(text, kind, (source,), clamped(kind, mode)))
        for target in ("f32", "f64", "f16"):
            for mode in ("rn", "rz", "rm", "rp") if target == "f32" else ("rn",):
                text = f"cvt.{mode}.{target}.{kind} {{d}}, {{a}};"
                reference = exactly(target, mode, lambda a: a)
                found.append(Case(text, target, (kind,), reference))
    for source, target, modes in (
        ("f64", "f32", ("rn", "rz", "rm", "rp")),
        ("f32", "f16", ("rn", "rz")),
        ("f64", "f16", ("rn",)),
        ("f32", "bf16", ("rn", "rz")),
    ):
        for mode in modes:
            text = f"cvt.{mode}.{target}.{source} {{d}}, {{a}};"
            found.append(Case(text, target, (source,), exactly(target, mode, lambda a: a)))
    for source, target in (("f16", "f32"), ("bf16", "f32"), ("f32", "f64"), ("f16", "f64")):
        text = f"cvt.{target}.{source} {{d}}, {{a}};"
        found.append(Case(text, target, (source,), lambda a, t=target: a.astype(NUMPY[t])))
    for source, target in (("s8", "s32"), ("u8", "u32"), ("s32", "s64"), ("u64", "u16")):
        text = f"cvt.{target}.{source} {{d}}, {{a}};"
        found.append(Case(text, target, (source,), lambda a, t=target: a.astype(NUMPY[t])))
    for source, target in (("s32", "s8"), ("s32", "u8"), ("u64", "s32"), ("s64", "u16")):
        info = np.iinfo(NUMPY[target])
        clip = wrap(lambda a, i=info: min(max(a, int(i.min)), int(i.max)), target)
        found.append(Case(f"cvt.sat.{target}.{source} {{d}}, {{a}};", target, (source,), clip))
    for mode, function in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor)):
        text = f"cvt.{mode}.f32.f32 {{d}}, {{a}};"
        found.append(Case(text, "f32", ("f32",), function))
    unit = Case(
        "cvt.sat.f32.f32 {d}, {a};", "f32", ("f32",), lambda a: np.clip(a, 0, 1).astype(a.dtype)
    )
    return [*found, unit]


def comparison_cases() -> list[Case]:
    """setp, set, selp."""
    found = []
    relations = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    for kind in ("s32", "u32", "s64", "f32", "f16", "f64"):
        for relation, sign in relations.items():
            reference = eval(f"lambda a, b: (a {sign} b).astype('u4')")
            text = f"setp.{relation}.{kind} {{d}}, {{a}}, {{b}};"
            found.append(Case(text, "pred", (kind, kind), reference))
    both = Case(
        "setp.lt.and.s32 {d}, {a}, {b}, {c};",
        "pred",
        ("s32", "s32", "pred"),
        lambda a, b, c: ((a < b) & (c != 0)).astype("u4"),
    )
    mask = Case(
        "set.gt.u32.f32 {d}, {a}, {b};",
        "u32",
        ("f32", "f32"),
        lambda a, b: np.where(a > b, 0xFFFFFFFF, 0).astype("u4"),
    )
    choice = Case(
        "selp.f32 {d}, {a}, {b}, {c};",
        "f32",
        ("f32", "f32", "pred"),
        lambda a, b, c: np.where(c != 0, a, b),
    )
    return [*found, both, mask, choice]


FAMILIES: dict[str, Callable[[], list[Case]]] = {
    "integers": integer_cases,
    "carries": carry_cases,
    "bits": bit_cases,
    "roundings": rounding_cases,
    "halves": half_cases,
    "conversions": conversion_cases,
    "comparisons": comparison_cases,
}


@cache
def cases(family: str) -> tuple[Case, ...]:
    """The cases of a family."""
    return tuple(FAMILIES[family]())


@cache
def module(device: Device, family: str) -> Module:
    """A family's kernels, loaded once."""
    return device.load(module_text(cases(family)))


@pytest.mark.parametrize(
    "family,index",
    [(f, i) for f in FAMILIES for i in range(len(cases(f)))],
    ids=[f"{f}-{case.opcode}-{i}" for f in FAMILIES for i, case in enumerate(cases(f))],
)
def test_instruction(device: Device, family: str, index: int) -> None:
    case = cases(family)[index]
    sources = values_of(case)
    with np.errstate(all="ignore"):
        expected = case.reference(*sources)
    got = run(device, module(device, family), index, case, sources)
    np.testing.assert_array_equal(got, expected)

"""What this machine can do at most: multiply-adds and bytes per second, measured.

Arithmetic: a loop of independent multiply-adds in registers, in LLVM's own language, compiled for
this processor: float32 (FMA), bytes by VNNI or AMX and bfloat16 by AMX where there are. Memory:
copies of arrays of several sizes. Each on as many threads as asked for.
"""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

CHAINS = 12  # independent sums: enough to hide the latency of two units
SIZES = tuple(2**power for power in (17, 19, 20, 22, 24, 26, 28))  # bytes read by a copy
TRIALS = 7
TRIAL = 0.002  # seconds of a trial of arithmetic: short enough to fall between other work
ARITHMETIC_TRIALS = 40
# Products of bfloat16 that add up to one product, as kernels for AMX compute it.
PIECES = {"float": 6, "float16": 4}


@dataclass
class Peaks:
    """Operations per second by type (a multiply-add is two), bytes per second by bytes moved."""

    threads: int
    operations: dict[str, float]
    copies: list[tuple[int, float]]

    def compute(self, element: str) -> float:
        """Operations per second on this element type; what is not measured counts as float32.

        Floats may be multiplied as pieces of bfloat16, if that is faster.
        """
        if element == "double":
            return self.operations["float"] / 2
        direct = self.operations.get(element, self.operations["float"])
        if element not in PIECES:
            return direct
        return max(direct, self.operations.get("bfloat16", 0.0) / PIECES[element])

    def memory(self, moved: int) -> float:
        """Bytes per second of a step that moves so many bytes.

        A step may work in place, in half the memory: the rate is that of copies of half its bytes.
        """
        sizes, speeds = zip(*self.copies, strict=True)
        return float(np.interp(np.log(max(moved, 2) / 2), np.log(sizes), speeds))

    def record(self) -> dict[str, Any]:
        return asdict(self)


def _chains(kind: str, step: str, zero: str) -> str:
    """A function of the number of turns; `step` is one instruction on %a<i>, giving %b<i>."""
    numbers = range(CHAINS)
    phis = [f"  %a{i} = phi {kind} [ {zero}, %entry ], [ %b{i}, %loop ]" for i in numbers]
    steps = [step.replace("#", str(i)) for i in numbers]
    sums = [f"  store volatile {kind} %b{i}, ptr %to, align 1" for i in numbers]
    return "\n".join(
        [
            "define void @turns(i64 %n, ptr %to, ptr %from) {",
            "entry:",
            f"  %x = load volatile {kind}, ptr %from, align 1",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *phis,
            *steps,
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %n",
            "  br i1 %more, label %loop, label %done",
            "done:",
            *sums,
            "  ret void",
            "}",
        ]
    )


def _float_text(lanes: int) -> str:
    kind = f"<{lanes} x float>"
    call = f"  %b# = call {kind} @llvm.fma.v{lanes}f32({kind} %x, {kind} %x, {kind} %a#)"
    declared = f"declare {kind} @llvm.fma.v{lanes}f32({kind}, {kind}, {kind})\n"
    return declared + _chains(kind, call, "zeroinitializer")


def _vnni_text(lanes: int) -> str:
    kind, name = f"<{lanes} x i32>", f"@llvm.x86.avx512.vpdpbusd.{lanes * 32}"
    narrow = f"<{lanes * 4} x i8>"
    call = f"  %b# = call {kind} {name}({kind} %a#, {narrow} %y, {narrow} %y)"
    text = _chains(kind, call, "zeroinitializer")
    cast = f"  %y = bitcast {kind} %x to {narrow}\n  br label %loop"
    declared = f"declare {kind} {name}({kind}, {narrow}, {narrow})\n"
    return declared + text.replace("  br label %loop", cast, 1)


def _tiles_text(product: str) -> str:
    """Four sums in tiles 0 to 3, by tiles 4 to 7: a turn is four products."""
    name = f"@llvm.x86.{product}"
    products = [f"  call void {name}(i8 {i}, i8 {4 + i // 2}, i8 {6 + i % 2})" for i in range(4)]
    return "\n".join(
        [
            "declare void @llvm.x86.ldtilecfg(ptr)",
            "declare void @llvm.x86.tilezero(i8)",
            "declare void @llvm.x86.tilerelease()",
            f"declare void {name}(i8, i8, i8)",
            "define void @turns(i64 %n, ptr %to, ptr %from) {",
            "entry:",
            "  call void @llvm.x86.ldtilecfg(ptr %from)",
            *[f"  call void @llvm.x86.tilezero(i8 {i})" for i in range(8)],
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
            *products,
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %n",
            "  br i1 %more, label %loop, label %done",
            "done:",
            "  call void @llvm.x86.tilerelease()",
            "  ret void",
            "}",
        ]
    )


class _Compiled:
    """A text of LLVM's language as a C function; the engine that owns it stays alive."""

    def __init__(self, text: str, features: str) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=2
        )
        module = llvm.parse_assembly(text)
        module.verify()
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address("turns")
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
        self.run = kind(address)


def _together(threads: int, work: Callable[[], None]) -> float:
    """Seconds until all threads, which start at once, have done their work."""
    if threads == 1:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    gate = threading.Barrier(threads + 1)

    def one() -> None:
        gate.wait()
        work()

    started = [threading.Thread(target=one) for _ in range(threads)]
    for thread in started:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in started:
        thread.join()
    return time.perf_counter() - start


def _rate(compiled: _Compiled, each: int, threads: int, start: bytes) -> float:
    """Operations per second, `each` per turn and thread: the best of several trials."""
    source = (ctypes.c_char * 64).from_buffer_copy(start.ljust(64, b"\0"))

    def work(turns: int) -> None:
        result = (ctypes.c_char * 64)()
        compiled.run(turns, ctypes.addressof(result), ctypes.addressof(source))

    turns = 1 << 10
    while min(_together(1, partial(work, turns)) for _ in range(3)) < TRIAL:
        turns *= 2
    best = min(_together(threads, partial(work, turns)) for _ in range(ARITHMETIC_TRIALS))
    return turns * each * threads / best


def _tiles_allowed() -> bool:
    """Asks Linux for the AMX tiles."""
    request, tiles, number = 0x1023, 18, 158  # arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)
    return bool(ctypes.CDLL(None).syscall(number, request, tiles) == 0)


def _tile_config() -> bytes:
    config = bytearray(64)
    config[0] = 1
    for tile in range(8):
        config[16 + 2 * tile], config[48 + tile] = 64, 16
    return bytes(config)


def _host() -> tuple[Any, str]:
    """This processor's features, as a dict and as a text for the compiler."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise RuntimeError(
            "measuring the machine needs llvmlite: pip install 'tiercel[bench]'"
        ) from error
    has = llvm.get_host_cpu_features()
    return has, has.flatten() + (",-prefer-256-bit" if has.get("avx512f") else "")


def float_probe(threads: int) -> Callable[[], float]:
    """A function that measures the float32 operations per second once more, in about 0.1 s."""
    has, features = _host()
    lanes = 16 if has.get("avx512f") else 8 if has.get("avx2") else 4
    compiled = _Compiled(_float_text(lanes), features)
    return lambda: _rate(compiled, CHAINS * lanes * 2, threads, b"")


def operations(threads: int) -> dict[str, float]:
    """Operations per second of float; of bytes and bfloat16 where there are instructions."""
    has, features = _host()
    found = {"float": float_probe(threads)()}
    if has.get("avx512vnni"):
        found["int8"] = _rate(_Compiled(_vnni_text(16), features), CHAINS * 64 * 2, threads, b"")
    if has.get("amx-tile") and platform.system() == "Linux" and _tiles_allowed():
        for element, product, depth in (("int8", "tdpbusd", 64), ("bfloat16", "tdpbf16ps", 32)):
            if has.get(f"amx-{'int8' if depth == 64 else 'bf16'}"):
                compiled = _Compiled(_tiles_text(product), features)
                each = 4 * 2 * 16 * 16 * depth
                found[element] = _rate(compiled, each, threads, _tile_config())
    if "int8" in found:
        found["uint8"] = found["int8"]
    return found


def copies(threads: int) -> list[tuple[int, float]]:
    """Bytes moved (read and written) by one copy on all threads, and bytes per second of it."""
    found = []
    for size in SIZES:
        count = size // 4 // threads
        pairs = [(np.ones(count, np.float32), np.ones(count, np.float32)) for _ in range(threads)]
        turns = max(1, (1 << 27) // size)
        waiting = list(pairs)

        def work(waiting: list[Any] = waiting, turns: int = turns) -> None:
            source, target = waiting.pop()
            for _ in range(turns):
                np.copyto(target, source)

        best = float("inf")
        for _ in range(TRIALS):
            waiting[:] = pairs
            best = min(best, _together(threads, work))
        found.append((2 * count * 4 * threads, 2 * count * 4 * threads * turns / best))
    fastest = 0.0  # less memory is never slower but for a busy machine
    for index in reversed(range(len(found))):
        fastest = max(fastest, found[index][1])
        found[index] = found[index][0], fastest
    return found


def measure(threads: int) -> Peaks:
    """All rates on so many threads; takes about three seconds."""
    return Peaks(threads, operations(threads), copies(threads))

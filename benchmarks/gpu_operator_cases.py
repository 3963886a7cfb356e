"""The cases of gpu_operators.py: a node, what it must move or multiply, and PyTorch's call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

F32, F16, BF16, I64, I8, U8 = 1, 10, 16, 7, 3, 2
NAMES = {F32: "f32", F16: "f16", BF16: "bf16", I64: "i64", I8: "i8", U8: "u8"}
SIZES = {F32: 4, F16: 2, BF16: 2, I64: 8, I8: 1, U8: 1}
# Products of an H100 SXM without sparsity, by the type of factors; tf32 where that is allowed.
PEAKS = {F32: 66.9e12, F16: 989e12, BF16: 989e12, I8: 1979e12, U8: 1979e12}
TF32_PEAK = 494e12


@dataclass(frozen=True)
class Case:
    """One node, whose first input is data.

    Attributes:
        constants: Shape and type of random initializers behind it.
        given: Initializers behind those.
        absent: Places of inputs that are left out.
        out: Type of the output, if another.
        bytes: What must move between memory and the GPU.
        operations: Of products; 0 where memory is the roof.
    """

    name: str
    op: str
    dtype: int
    shape: tuple[int, ...]
    constants: tuple[tuple[tuple[int, ...], int], ...] = ()
    given: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    absent: tuple[int, ...] = ()
    out: int = 0
    bytes: int = 0
    operations: int = 0
    tf32: bool = False
    domain: str = ""

    @property
    def peak(self) -> float:
        """Operations a second of an H100."""
        return TF32_PEAK if self.tf32 else PEAKS[self.dtype]


def _pointwise(rows: int) -> Iterator[Case]:
    n = 8192
    for dtype in (F32, F16):
        shape, size = (rows, n), rows * n * SIZES[dtype]
        kind = NAMES[dtype]
        yield Case(f"Add {kind}", "Add", dtype, shape, ((shape, dtype),), bytes=3 * size)
        yield Case(f"Add {kind}, a row", "Add", dtype, shape, (((n,), dtype),), bytes=2 * size)
        yield Case(f"Relu {kind}", "Relu", dtype, shape, bytes=2 * size)
        yield Case(f"Gelu {kind}", "Gelu", dtype, shape, bytes=2 * size)
        yield Case(
            f"Transpose {kind}", "Transpose", dtype, shape, attributes={"perm": [1, 0]},
            bytes=2 * size,
        )  # fmt: skip
        axes = (np.array([1]),)
        yield Case(f"ReduceSum {kind}, rows", "ReduceSum", dtype, shape, (), axes, bytes=size)
        axes = (np.array([0]),)
        yield Case(f"ReduceSum {kind}, columns", "ReduceSum", dtype, shape, (), axes, bytes=size)


def _rows(rows: int) -> Iterator[Case]:
    for dtype in (F32, F16):
        kind, size = NAMES[dtype], SIZES[dtype]
        for last in (128, 1024, 4096, 32768):
            shape = (rows * 8192 // last, last)
            moved = 2 * shape[0] * last * size
            yield Case(f"Softmax {kind}, {last} items", "Softmax", dtype, shape, bytes=moved)
        for last in (256, 768, 4096, 16384):
            shape = (rows * 8192 // last, last)
            moved = 2 * shape[0] * last * size
            lines = (((last,), dtype),) * 2
            yield Case(
                f"LayerNormalization {kind}, {last} items", "LayerNormalization", dtype, shape,
                lines, bytes=moved,
            )  # fmt: skip
        shape = (max(1, rows // 256), 256, 64, 128)
        moved = 2 * int(np.prod(shape)) * size
        yield Case(
            f"GroupNormalization {kind}", "GroupNormalization", dtype, shape,
            (((256,), dtype),) * 2, attributes={"num_groups": 32}, bytes=moved,
        )  # fmt: skip
        window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        yield Case(
            f"MaxPool {kind}, 3 × 3", "MaxPool", dtype, shape, attributes=window,
            bytes=moved // 2 * 5 // 4,
        )  # fmt: skip


def _products(n: int) -> Iterator[Case]:
    for dtype, tf32, side in (
        (F32, False, n // 2),
        (F32, True, n),
        (F16, False, n),
        (BF16, False, n),
    ):
        kind = "tf32" if tf32 else NAMES[dtype]
        yield Case(
            f"MatMul {kind}, {side}³", "MatMul", dtype, (side, side), (((side, side), dtype),),
            operations=2 * side**3, tf32=tf32,
        )  # fmt: skip
    yield Case(
        f"MatMul f16, 512 × {n} × {n}", "MatMul", F16, (512, n), (((n, n), F16),),
        operations=2 * 512 * n * n,
    )  # fmt: skip
    yield Case(
        "MatMul f16, 64 × 512³", "MatMul", F16, (64, 512, 512), (((64, 512, 512), F16),),
        operations=2 * 64 * 512**3,
    )  # fmt: skip
    yield Case("MatMul f16, a row", "MatMul", F16, (1, n), (((n, n), F16),), bytes=2 * n * n)
    yield Case(
        f"MatMulInteger i8, {n // 2}³", "MatMulInteger", I8, (n // 2, n // 2),
        (((n // 2, n // 2), I8),), out=6, operations=2 * (n // 2) ** 3,
    )  # fmt: skip
    blocks = n // 32
    for rows in (1, n // 8):
        packed = (((n, blocks, 16), U8), ((n, blocks), F16))
        work = (
            {"operations": 2 * rows * n * n} if rows > 1 else {"bytes": n * n // 2 + n * blocks * 2}
        )
        yield Case(
            f"MatMulNBits f16, {rows} rows", "MatMulNBits", F16, (rows, n), packed,
            attributes={"K": n, "N": n, "bits": 4, "block_size": 32}, domain="com.microsoft",
            **work,
        )  # fmt: skip


def _convolutions(batch: int) -> Iterator[Case]:
    for kind, dtype, tf32 in (("f32", F32, False), ("tf32", F32, True), ("f16", F16, False)):
        for channels, side, window in ((64, 56, 3), (256, 28, 3), (256, 56, 1), (512, 14, 3)):
            shape = (batch, channels, side, side)
            weights = (channels, channels, window, window)
            pad = window // 2
            yield Case(
                f"Conv {kind}, {window} × {window}, {channels} channels of {side}²", "Conv", dtype,
                shape, ((weights, dtype),), attributes={"pads": [pad] * 4},
                operations=2 * batch * side * side * int(np.prod(weights)), tf32=tf32,
            )  # fmt: skip
    for dtype in (F32, F16):
        shape = (batch, 256, 56, 56)
        yield Case(
            f"Conv {NAMES[dtype]}, 3 × 3, depthwise", "Conv", dtype, shape,
            (((256, 1, 3, 3), dtype),), attributes={"pads": [1] * 4, "group": 256},
            bytes=2 * int(np.prod(shape)) * SIZES[dtype],
        )  # fmt: skip


def _attention(batch: int) -> Iterator[Case]:
    for dtype in (F16, F32):
        for size in (64, 128):
            shape = (max(1, batch // 4), 16, 2048 if batch > 1 else 128, size)
            work = 4 * shape[0] * shape[1] * shape[2] ** 2 * size
            yield Case(
                f"Attention {NAMES[dtype]}, heads of {size}", "Attention", dtype, shape,
                ((shape, dtype),) * 2, operations=work,
            )  # fmt: skip


def cases(small: bool = False) -> list[Case]:
    """All of them; `small` ones show that they run."""
    rows, n, batch = (256, 512, 1) if small else (4096, 8192, 32)
    families = (
        _pointwise(rows),
        _rows(rows),
        _products(n),
        _convolutions(batch),
        _attention(batch),
    )
    return [case for family in families for case in family]


def torch_call(
    case: Case, x: Any, constants: Sequence[Any]
) -> tuple[Callable[[], object] | None, Callable[[], Any] | None]:
    """PyTorch's run of the same, which waits for the GPU, and a function that gives its result as
    float64; None where PyTorch has no such operator or no GPU.
    """
    import torch  # type: ignore[import-not-found,import-untyped,unused-ignore]

    functions = torch.nn.functional
    calls: dict[str, Callable[..., Any]] = {
        "Add": torch.add,
        "Relu": torch.relu,
        "Gelu": functions.gelu,
        "Transpose": lambda x: x.T.contiguous(),
        "ReduceSum": lambda x: x.sum(int(case.given[0][0]), keepdim=True),
        "Softmax": lambda x: torch.softmax(x, -1),
        "LayerNormalization": lambda x, w, b: functions.layer_norm(x, x.shape[-1:], w, b),
        "GroupNormalization": lambda x, w, b: functions.group_norm(x, 32, w, b),
        "MaxPool": lambda x: functions.max_pool2d(x, 3, 2, 1),
        "MatMul": torch.matmul,
        "Conv": lambda x, w: functions.conv2d(
            x, w, padding=case.attributes["pads"][0], groups=case.attributes.get("group", 1)
        ),
        "Attention": functions.scaled_dot_product_attention,
    }
    if case.op not in calls or not torch.cuda.is_available():
        return None, None
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = case.tf32
    torch.backends.cudnn.benchmark = True
    arrays = [x, *constants[: len(case.constants)]]
    tensors = [torch.from_numpy(_as_torch(a)).cuda() for a in arrays]
    if case.dtype == BF16:
        tensors = [tensor.view(torch.bfloat16) for tensor in tensors]
    call = calls[case.op]

    def run() -> Any:
        with torch.inference_mode():
            result = call(*tensors)
        torch.cuda.synchronize()
        return result

    return run, lambda: run().double().cpu().numpy()


def _as_torch(array: Any) -> Any:
    """bfloat16 as its bits: numpy's PyTorch does not know the type."""
    return array.view(np.int16) if array.dtype.name == "bfloat16" else array

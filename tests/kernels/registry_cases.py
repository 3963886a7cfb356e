"""Cases for every kernel row: onnx's own one-node tests in the row's element types, and random
tensors of odd shapes for elementwise operators."""

from __future__ import annotations

import functools
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from tiercel import _core

DEFS = {(d["domain"], d["name"]): d for d in _core.op_defs()}
DTYPES = {
    name.lower(): helper.tensor_dtype_to_np_dtype(number)
    for name, number in TensorProto.DataType.items()
    if name not in ("UNDEFINED", "STRING")
}
WIDTHS = {f"b{bits}": bits for bits in (8, 16, 32, 64, 128)}
CASES_PER_ROW = 3
NO_ORDER = {"bool", "complex64", "complex128"}
SHAPES = [[()], [(0, 3)], [(7,)], [(2, 3, 5)], [(131,)]]
BROADCAST = [[(3, 1), (1, 4)], [(5,), ()], [(2, 1, 3), (4, 1)], [(0, 2), (1, 2)], [(70,), (70,)]]


@dataclass
class Case:
    """One node with its inputs; `row` is what it is made for."""

    row: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    float_type: str | None  # the narrowest floating element type that takes part


def array_of(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


@functools.cache
def templates() -> dict[tuple[str, str], list[tuple[onnx.ModelProto, list[np.ndarray]]]]:
    """onnx's one-node tests on plain tensors, by operator."""
    out: dict[tuple[str, str], list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    for case in found:
        nodes = case.model.graph.node
        values = case.data_sets[0][0]
        if len(nodes) != 1 or not all(
            isinstance(v, TensorProto | np.ndarray | np.generic) for v in values
        ):
            continue
        out.setdefault((nodes[0].domain, nodes[0].op_type), []).append(
            (case.model, [array_of(v) for v in values])
        )
    return out


@functools.cache
def resized() -> list[tuple[onnx.ModelProto, list[np.ndarray]]]:
    """Resize of images with channels last, and between elements: onnx's first tests pick them."""
    shape, crop = (1, 3, 4, 66), "tf_crop_and_resize"
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 50
    roi = np.array([0, 0, 0.2, 0, 1, 1, 0.9, 1], np.float32)
    ways = [("nearest", "asymmetric", 66), ("linear", "half_pixel", 66)]
    found = []
    for mode, way, columns in (*ways, ("linear", "half_pixel", 90), ("linear", crop, 66)):
        values = [x, np.array([1, 5, 6, columns], np.int64)]
        inputs = ["x", "", "", "sizes"]
        if way == crop:
            values, inputs[1] = [x, roi, values[1]], "roi"
        kwargs = {"mode": mode, "coordinate_transformation_mode": way}
        node = helper.make_node("Resize", inputs, ["y"], **kwargs)
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in zip(filter(None, inputs), values, strict=True)
        ]
        empty = [helper.make_empty_tensor_value_info("y")]
        graph = helper.make_graph([node], "graph", infos, empty)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        found.append((model, values))
    return found


def picks_alone(row: dict[str, Any], model: onnx.ModelProto) -> bool:
    """Whether a row of words is to interpolate, which has no meaning for most of their types."""
    mode = [a.s for a in model.graph.node[0].attribute if a.name == "mode"]
    return "=b" in row["types"] and mode != [b"nearest"]


def types_of(row: dict[str, Any]) -> list[dict[str, str]]:
    """The element types of a row by type parameter; words of a width stand for two of theirs."""
    bindings: list[dict[str, str]] = [{}, {}]
    for entry in filter(None, row["types"].split(";")):
        parameter, _, name = entry.partition("=")
        names = [name, name]
        if name in WIDTHS:
            admitted = DEFS[row["domain"], row["op"]]["types"][parameter].split()
            of_width = [t for t in admitted if t in DTYPES and _bits(t) == WIDTHS[name]]
            names = [of_width[0], of_width[-1]] if of_width else names
        for binding, chosen in zip(bindings, names, strict=True):
            binding[parameter] = chosen
    return bindings if bindings[0] != bindings[1] else bindings[:1]


def _bits(name: str) -> int:
    packed = {"4": 4, "2": 2}.get(name.lstrip("uint"), 0) if "int" in name else 0
    small = 6 if name.startswith("float6") else 4 if name.startswith("float4") else 0
    return packed or small or DTYPES[name].itemsize * 8


def converted(array: np.ndarray, name: str) -> np.ndarray:
    """`array` as another element type, so that the numbers stay interesting."""
    dtype = DTYPES[name]
    if array.dtype == dtype or array.dtype == object:
        return array
    if dtype == np.bool_:
        return (
            array.astype(np.float64) > array.astype(np.float64).mean()
            if array.size
            else (array.astype(dtype))
        )
    if array.dtype.kind not in "iub" and dtype.kind in "iu" and array.dtype != np.bool_:
        array = np.rint(array.astype(np.float64) * 7)
        array = np.abs(array) if dtype.kind == "u" else array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if array.dtype.kind == "V" or "int4" in array.dtype.name or "int2" in array.dtype.name:
            array = array.astype(np.float32)
        if dtype == np.float16 and np.isfinite(array).all():
            array = np.clip(array, -65504, 65504)
        return array.astype(dtype)


def parameters(op: dict[str, Any], node: onnx.NodeProto) -> dict[str, str]:
    """Type parameter of each present input by its name."""
    out = {}
    for i, name in enumerate(node.input):
        formal = op["inputs"][min(i, len(op["inputs"]) - 1)]
        if name:
            out[name] = formal[1]
    return out


def with_types(
    model: onnx.ModelProto, values: list[np.ndarray], bound: dict[str, str], op: dict[str, Any]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]] | None:
    """The model with its inputs in the bound types; None where the types do not meet an input."""
    node = model.graph.node[0]
    by_name = parameters(op, node)
    bound = {p: t for p, t in bound.items() if p in {*by_name.values(), op["outputs"][0][1]}}
    own = {n: v.dtype for n, v in zip((i.name for i in model.graph.input), values, strict=False)}
    free = set(bound) - set(by_name.values())
    if free and any(a.name in ("to", "dtype", "output_dtype", "value") for a in node.attribute):
        return None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    feeds = {}
    for info, value in zip(made.graph.input, values, strict=False):
        wanted = bound.get(by_name.get(info.name, ""))
        feeds[info.name] = converted(value, wanted) if wanted else value
        if feeds[info.name].dtype != own[info.name]:
            number = helper.np_dtype_to_tensor_dtype(feeds[info.name].dtype)
            info.type.tensor_type.elem_type = number
    for output in made.graph.output:
        output.ClearField("type")
    return made, feeds


def narrowest_float(feeds: dict[str, np.ndarray]) -> str | None:
    kinds = {v.dtype.name for v in feeds.values() if v.dtype != object}
    order = ("bfloat16", "float16", "float32", "float64")
    small = sorted(k for k in kinds if k.startswith(("float8_", "float6_", "float4_")))
    return next(iter([*small, *(k for k in order if k in kinds)]), None)


def reduces(model: onnx.ModelProto) -> bool:
    """Whether the node scatters by adding or comparing: only numbers with an order do."""
    modes = [a.s for a in model.graph.node[0].attribute if a.name == "reduction"]
    return any(mode != b"none" for mode in modes)


def kernel_cases(row: dict[str, Any]) -> Iterator[Case]:
    """onnx's tests of the operator in the row's types."""
    op = DEFS[row["domain"], row["op"]]
    label = f"{row['op']} {row['variant']} {row['types']}"
    for bound in types_of(row):
        count = 0
        for model, values in templates().get((row["domain"], row["op"]), []):
            made = with_types(model, values, bound, op)
            if made is None or (reduces(made[0]) and NO_ORDER & {*bound.values()}):
                continue
            yield Case(label, *made, narrowest_float(made[1]))
            count += 1
            if count == CASES_PER_ROW:
                break
        for model, values in resized() if row["op"] == "Resize" else []:
            made = None if picks_alone(row, model) else with_types(model, values, bound, op)
            if made is not None:
                yield Case(label, *made, narrowest_float(made[1]))


def special(
    rng: np.random.Generator, shape: tuple[int, ...], name: str, extremes: bool
) -> np.ndarray:
    """Random numbers with zeros, infinities, NaN and the extremes of whole numbers among them."""
    dtype = DTYPES[name]
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        x = rng.integers(-9 if dtype.kind == "i" else 0, 10, shape).astype(dtype)
        ends = [info.min, info.max] if extremes else []
        odd = rng.choice(np.array([*ends, 0], dtype), shape)
    else:
        x = (rng.standard_normal(shape) * 3).astype(dtype)
        odd = rng.choice(np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype), shape)
    return np.where(rng.random(shape) < 0.1, odd, x).astype(dtype).reshape(shape)


def _not_zero(x: np.ndarray) -> np.ndarray:
    """Whole numbers over zero have no meaning, nor has the least one over -1."""
    return x if x.dtype.kind == "f" else np.clip(np.where(x == 0, 3, x), 1, 100).astype(x.dtype)


# What the second operand may be where not every number has a meaning.
WITHIN = {
    "BitShift": lambda x: (x % 8).astype(x.dtype),
    "Div": _not_zero,
    "Mod": _not_zero,
    "PRelu": lambda x: np.where(np.isfinite(x), x, 2).astype(x.dtype),
    "Pow": lambda x: np.rint(np.clip(np.nan_to_num(x), 0, 3)).astype(x.dtype),
}
# Operators whose reference computes in float, which cannot hold the extremes.
MODERATE = {"Shrink", "Pow", "Mod", "Div"}


def tile_cases(row: dict[str, Any]) -> Iterator[Case]:
    """Random tensors of odd shapes for one tile."""
    if (row["domain"], row["op"]) not in DEFS or row["op"] == "Cast":
        return
    operands = row["types"].partition("->")[0].split(",")
    label = f"{row['op']} tile {row['types']}"
    rng = np.random.default_rng(zlib.crc32(label.encode()))
    attributes = {"direction": "LEFT"} if row["op"] == "BitShift" else {}
    if row["op"] == "Mod" and operands[0] in ("float", "double"):
        attributes = {"fmod": 1}
    for shapes in SHAPES if len(operands) == 1 else BROADCAST:
        many = (shapes * 3)[: len(operands)]
        if row["op"] == "Clip":
            many = [many[0], (), ()]
        if row["op"] in ("PRelu", "SwiGLU"):
            many = [(4, 3), (4, 3) if row["op"] == "SwiGLU" else (3,)]
        feeds = {
            f"x{i}": special(rng, shape, name, row["op"] not in MODERATE)
            for i, (shape, name) in enumerate(zip(many, operands, strict=True))
        }
        if row["op"] in WITHIN:
            feeds["x1"] = WITHIN[row["op"]](feeds["x1"])
        node = helper.make_node(row["op"], list(feeds), ["y"], domain=row["domain"], **attributes)
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in feeds.items()
        ]
        empty = [helper.make_empty_tensor_value_info("y")]
        graph = helper.make_graph([node], "graph", infos, empty)
        opset = helper.make_opsetid("", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[opset], ir_version=11)
        yield Case(label, model, feeds, narrowest_float(feeds))


def cases(row: dict[str, Any]) -> Iterator[Case]:
    return tile_cases(row) if row["kind"] == "tile" else kernel_cases(row)

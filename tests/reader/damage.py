"""Ways to damage a model: bytes that are cut, flipped or noise, and wrong facts in right bytes."""

from __future__ import annotations

import random

import onnx
from onnx import TensorProto

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 65536, 2**31 - 1, -(2**31), 2**32, 2**40, 2**62, -(2**63)]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    bad = bytearray(data)
    bad[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(bad)


def noise(data: bytes, rng: random.Random) -> bytes:
    bad = bytearray(data)
    for _ in range(rng.randrange(1, 20)):
        bad[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(bad)


def all_graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    found = [model.graph]
    for graph in found:
        for node in graph.node:
            found += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found


def all_names(graph: onnx.GraphProto) -> list[str]:
    names = [t.name for t in (*graph.initializer, *graph.input)]
    return names + [name for node in graph.node for name in node.output if name]


def break_attribute(node: onnx.NodeProto, rng: random.Random) -> None:
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    choice = rng.randrange(6)
    if choice == 0:
        node.attribute.remove(attribute)
    elif choice == 1:
        attribute.type = rng.randrange(1, 15)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice([0.0, -1.0, 1e30, float("nan"), float("inf")])
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = rng.choice([b"", b"linear", b"SAME_LOWER", b"x" * 300])
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        break_list(attribute.ints, rng)
    elif attribute.type == onnx.AttributeProto.TENSOR:
        break_tensor(attribute.t, rng)


def break_list(numbers, rng: random.Random) -> None:
    choice = rng.randrange(4)
    if choice == 0 and numbers:
        del numbers[rng.randrange(len(numbers))]
    elif choice == 1 or not numbers:
        numbers.append(rng.choice(NUMBERS))
    else:
        numbers[rng.randrange(len(numbers))] = rng.choice(NUMBERS)


def break_tensor(tensor: TensorProto, rng: random.Random) -> None:
    choice = rng.randrange(5)
    if choice == 0:
        break_list(tensor.dims, rng)
    elif choice == 1:
        tensor.data_type = rng.randrange(0, 29)
    elif choice == 2 and tensor.raw_data:
        bad = bytearray(tensor.raw_data)
        for _ in range(rng.randrange(1, 9)):
            bad[rng.randrange(len(bad))] = rng.choice([0, 1, 127, 128, 255])
        tensor.raw_data = bytes(bad)
    elif choice == 3 and tensor.int64_data:
        break_list(tensor.int64_data, rng)
    elif choice == 4 and tensor.external_data:
        entry = rng.choice(tensor.external_data)
        entry.value = rng.choice(["-1", "0", str(2**62), "..", "/etc/passwd", ".", "1e3"])


def break_input(node: onnx.NodeProto, graph: onnx.GraphProto, rng: random.Random) -> None:
    choice = rng.randrange(5)
    names = all_names(graph)
    if choice == 0 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif choice == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = ""
    elif choice == 2 and node.output:
        del node.output[rng.randrange(len(node.output))]
    elif choice == 3 or not node.input:
        node.input.append(rng.choice(names))
    else:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def break_type(graph: onnx.GraphProto, rng: random.Random) -> None:
    ports = [*graph.input, *graph.output]
    if not ports:
        return
    port = rng.choice(ports)
    tensor = port.type.tensor_type
    choice = rng.randrange(5)
    if choice == 0:
        port.ClearField("type")
    elif choice == 1:
        tensor.elem_type = rng.randrange(0, 29)
    elif choice == 2:
        tensor.shape.dim.add().dim_value = rng.choice(NUMBERS)
    elif choice == 3 and tensor.shape.dim:
        rng.choice(tensor.shape.dim).dim_value = rng.choice(NUMBERS)
    elif tensor.shape.dim:
        del tensor.shape.dim[rng.randrange(len(tensor.shape.dim))]


def break_node(graph: onnx.GraphProto, rng: random.Random) -> None:
    node = rng.choice(graph.node)
    choice = rng.randrange(4)
    if choice == 0:
        node.op_type = rng.choice(graph.node).op_type
    elif choice == 1:
        node.op_type = rng.choice(OPERATORS)
    elif choice == 2:
        graph.node.remove(node)
    else:
        graph.node.append(node)


OPERATORS = sorted({s.name for s in onnx.defs.get_all_schemas() if not s.domain})


def facts(data: bytes, rng: random.Random) -> bytes:
    """One to four wrong facts: numbers, types, names, operators, missing or superfluous parts."""
    model = onnx.load_model_from_string(data)
    for _ in range(rng.randrange(1, 5)):
        graph = rng.choice(all_graphs(model))
        choice = rng.randrange(10)
        if choice < 2 and graph.initializer:
            break_tensor(rng.choice(graph.initializer), rng)
        elif choice < 4:
            break_type(graph, rng)
        elif graph.node and choice < 6:
            break_attribute(rng.choice(graph.node), rng)
        elif graph.node and choice < 8:
            break_input(rng.choice(graph.node), graph, rng)
        elif graph.node and choice < 9:
            break_node(graph, rng)
        elif model.opset_import:
            rng.choice(model.opset_import).version = rng.randrange(0, 30)
    return model.SerializeToString()


KINDS = {"cut": cut, "flip": flip, "noise": noise, "facts": facts}

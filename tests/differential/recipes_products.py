"""Recipes of matrix products, quantized products, attention and recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from draw import ELEMENTS, Draw, Node, is_whole
from recipes import recipe
from recipes_rearrange import given

Shape = tuple[int, ...]


def operands(d: Draw) -> tuple[Shape, Shape]:
    """Shapes of a matrix product, vectors and broadcast batches among them."""
    n, k, m = d.extent() if d.flag(10) else d.size(), d.size(), d.size()
    if d.flag(8):
        k = 0
    form = d.integer(0, 9)
    if form == 0:
        return (k,), (k,)
    if form == 1:
        return (k,), (*d.full(0, 1), k, m)
    if form == 2:
        return (*d.full(0, 1), n, k), (k,)
    batch = d.full(0, 2)
    return (*d.towards(batch), n, k), (*d.towards(batch), k, m)


@recipe("MatMul")
def matmul(d: Draw) -> Node:
    name = d.type()
    a, b = operands(d)
    kind = "small" if is_whole(name) else "finite"
    return Node([d.tensor(name, a, kind), d.tensor(name, b, kind)], sums=True, tolerance=10)


@recipe("Gemm")
def gemm(d: Draw) -> Node:
    name = d.type()
    kind = "small" if is_whole(name) else "finite"
    n, k, m = d.size(), d.size() if d.flag(95) else 0, d.size()
    a, b = (n, k), (k, m)
    numbers = (1.0, 2.0, 3.0, 0.0) if is_whole(name) else (1.0, 0.5, 2.0, 0.0)
    attributes = given(d, {"alpha": d.choice(numbers), "beta": d.choice(numbers)}, 50)
    if d.flag():
        attributes["transA"], a = 1, (k, n)
    if d.flag():
        attributes["transB"], b = 1, (m, k)
    c = d.tensor(name, d.choice(((), (1,), (m,), (1, m), (n, 1), (n, m))), kind)
    inputs = [d.tensor(name, a, kind), d.tensor(name, b, kind), c if d.flag(70) else None]
    return Node(inputs, attributes, sums=True, tolerance=10)


EQUATIONS = "ij,jk->ik ij->ji ii->i ii ij->i i,j->ij bij,bjk->bik ...ij,...jk->...ik ij,ij-> i,i"
EQUATIONS += " bhid,bhjd->bhij ijk->jik ij,j->i a,b,c->abc i,ij,j-> ...i->... ij...,jk...->ik..."


@recipe("Einsum")
def einsum(d: Draw) -> Node:
    equation = d.choice(EQUATIONS.split())
    name = d.type()
    extents = {letter: d.size() if d.flag(30) else d.integer(1, 5) for letter in "abcdhijk"}
    batch = d.full(0, 1)
    inputs = []
    for term in equation.partition("->")[0].split(","):
        before, dots, after = term.partition("...")
        middle = batch if dots else ()
        shape = (*(extents[c] for c in before), *middle, *(extents[c] for c in after))
        inputs.append(d.tensor(name, shape, "small" if is_whole(name) else "finite"))
    return Node(inputs, {"equation": equation}, sums=True, tolerance=10)


def zero_point(d: Draw, name: str, shape: Shape = ()) -> np.ndarray:
    """An even number: the reference adds it before it rounds, which an odd one would let us see."""
    x = d.tensor(name, shape, "finite")
    return np.asarray(x - x % 2).astype(x.dtype) if is_whole(name) else np.zeros_like(x)


@recipe("MatMulInteger")
def matmul_integer(d: Draw) -> Node:
    first, second = d.type("T1"), d.type("T2")
    a, b = operands(d)
    zero_a = zero_point(d, first) if d.flag(70) else None
    zero_b = zero_point(d, second, (b[-1],) if d.flag() and len(b) == 2 else ())
    inputs = [d.tensor(first, a), d.tensor(second, b), zero_a, zero_b if d.flag(70) else None]
    return Node(inputs)


def scale(d: Draw, name: str = "float", shape: Shape = ()) -> np.ndarray:
    x = 2.0 ** d.rng.integers(-4, 1, shape)
    return np.asarray(x).astype(ELEMENTS[name]).reshape(shape)


@recipe("QLinearMatMul")
def qlinear_matmul(d: Draw) -> Node:
    a, b = operands(d)
    names = [
        d.type(p, but=[n for n in ELEMENTS if n.startswith("float8")]) for p in ("T1", "T2", "T3")
    ]
    kind = d.type("TS")
    inputs = [
        d.tensor(names[0], a),
        scale(d, kind),
        zero_point(d, names[0]),
        d.tensor(names[1], b),
        scale(d, kind),
        zero_point(d, names[1]),
        scale(d, kind),
        zero_point(d, names[2]),
    ]
    return Node(inputs)


def heads(d: Draw) -> dict[str, Any]:
    kv = d.integer(1, 3)
    return {"kv": kv, "q": kv * d.integer(1, 2), "size": d.choice((2, 4, 8, 16))}


@recipe("Attention")
def attention(d: Draw) -> Node:
    first, second = d.type("T1"), d.type("T2")
    h, v_size = heads(d), d.choice((2, 4, 8))
    batch, q_len, kv_len = d.integer(1, 2), d.choice((1, 3, 9)), d.choice((1, 4, 17))
    past = d.choice((0, 3)) if d.flag(40) else None
    flat = past is None and d.flag(40)
    attributes: dict[str, Any] = given(d, {"is_causal": d.integer(0, 1), "scale": 0.5}, 40)
    attributes |= given(d, {"softcap": 2.0}, 20)

    def rows(count: int, length: int, size: int, name: str) -> np.ndarray:
        shape = (batch, length, count * size) if flat else (batch, count, length, size)
        return d.tensor(name, shape, "unit")

    if flat:
        attributes |= {"q_num_heads": h["q"], "kv_num_heads": h["kv"]}
    inputs: list[Any] = [
        rows(h["q"], q_len, h["size"], first),
        rows(h["kv"], kv_len, h["size"], first),
        rows(h["kv"], kv_len, v_size, second),
    ]
    total = kv_len + (past or 0)
    mask = None
    # A causal mask and one of whole numbers: the references fail or differ.
    if d.flag() and not (attributes.get("is_causal") and is_whole(d.type("U"))):
        shape = d.choice(((q_len, total), (batch, 1, q_len, total), (1, h["q"], q_len, total)))
        mask = (
            d.tensor(d.type("U"), shape, "unit")
            if d.type("U") != "bool"
            else (d.rng.random(shape) < 0.8)
        )
        if mask.dtype == bool:
            mask[..., 0] = True  # a row without any key has no softmax
    inputs.append(mask)
    if past is not None:
        inputs.append(d.tensor(first, (batch, h["kv"], past, h["size"]), "unit"))
        inputs.append(d.tensor(second, (batch, h["kv"], past, v_size), "unit"))
        return Node(inputs, attributes, d.choice((1, 3)), tolerance=20)
    return Node(inputs, attributes, 1, tolerance=20)


@recipe("RotaryEmbedding")
def rotary_embedding(d: Draw) -> Node:
    name = d.type("T")
    batch, length, count, size = d.integer(1, 3), d.integer(1, 5), d.integer(1, 3), 8
    rotary = d.choice((0, 4)) if d.flag(30) else 0
    flat = d.flag()
    shape = (batch, length, count * size) if flat else (batch, count, length, size)
    half = (rotary or size) // 2
    given_ids = d.flag()
    positions = d.rng.integers(0, 10, (batch, length)) if given_ids else None
    cache = (10, half) if given_ids else (batch, length, half)
    attributes = given(d, {"interleaved": d.integer(0, 1)})
    if rotary:
        attributes["rotary_embedding_dim"] = rotary
    if flat or rotary:
        attributes["num_heads"] = count
    inputs = [d.tensor(name, shape, "unit"), *(d.tensor(name, cache, "unit") for _ in "cs")]
    return Node([*inputs, positions], attributes, tolerance=4)


@recipe("LinearAttention")
def linear_attention(d: Draw) -> Node:
    name = d.type("T")
    rule = d.choice(("linear", "gated", "delta", "gated_delta"))
    batch, length, size, v_size = d.integer(1, 2), d.integer(1, 6), 4, d.choice((4, 5))
    kv = d.integer(1, 2)
    q = kv * d.integer(1, 2)
    inputs: list[Any] = [
        d.tensor(name, (batch, length, q * size), "unit"),
        d.tensor(name, (batch, length, kv * size), "unit"),
        d.tensor(name, (batch, length, kv * v_size), "unit"),
        d.tensor(d.type("S"), (batch, kv, size, v_size), "unit") if d.flag() else None,
        -np.abs(d.tensor(name, (batch, length, kv), "unit")) if "gated" in rule else None,
        np.abs(d.tensor(name, (batch, length, kv), "unit")) if "delta" in rule else None,
    ]
    attributes = {"update_rule": rule, "q_num_heads": q, "kv_num_heads": kv}
    return Node(inputs, attributes, 2, tolerance=50)


@recipe("CausalConvWithState")
def causal_conv_with_state(d: Draw) -> Node:
    name = d.type("T")
    batch, channels, length, k = d.integer(1, 2), d.size(), d.size(), d.integer(1, 4)
    bias = d.tensor(name, (channels,), "finite") if d.flag() else None
    past = d.tensor(name, (batch, channels, k - 1), "finite") if d.flag() else None
    inputs = [
        d.tensor(name, (batch, channels, length), "finite"),
        d.tensor(name, (channels, 1, k), "finite"),
        bias,
        past,
    ]
    attributes = given(d, {"activation": d.choice(("none", "silu", "swish"))})
    return Node(inputs, attributes, 2, sums=True, tolerance=10)


@recipe("RNN", "GRU", "LSTM")
def recurrent(d: Draw) -> Node:
    name, op = d.type("T"), d.schema.name
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    length, batch, size, hidden = d.integer(1, 5), d.integer(1, 3), d.size(), d.integer(1, 6)
    direction = d.choice(("forward", "reverse", "bidirectional"))
    ways = 2 if direction == "bidirectional" else 1
    layout = d.integer(0, 1) if d.flag(20) else 0
    x_shape = (batch, length, size) if layout else (length, batch, size)
    state = (batch, ways, hidden) if layout else (ways, batch, hidden)
    lengths = d.rng.integers(1, length + 1, batch).astype(np.int32) if d.flag(30) else None
    inputs: list[Any] = [
        d.tensor(name, x_shape, "unit"),
        d.tensor(name, (ways, gates * hidden, size), "unit"),
        d.tensor(name, (ways, gates * hidden, hidden), "unit"),
        d.tensor(name, (ways, 2 * gates * hidden), "unit") if d.flag() else None,
        lengths,
        d.tensor(name, state, "unit") if d.flag() else None,
    ]
    attributes: dict[str, Any] = {"hidden_size": hidden, **given(d, {"direction": direction})}
    attributes |= {"direction": direction} if ways == 2 or direction == "reverse" else {}
    attributes |= {"layout": 1} if layout else {}
    if op == "GRU":
        attributes |= given(d, {"linear_before_reset": d.integer(0, 1)})
    if op == "LSTM":
        inputs.append(d.tensor(name, state, "unit") if d.flag() else None)
        inputs.append(d.tensor(name, (ways, 3 * hidden), "unit") if d.flag(30) else None)
        attributes |= given(d, {"input_forget": d.integer(0, 1)}, 20)
    if d.flag(20):
        attributes["clip"] = 0.5
    if d.flag(20):
        chosen = [d.choice(("Relu", "Tanh", "Sigmoid", "Softsign", "HardSigmoid")) for _ in "abc"]
        kinds = {"RNN": 1, "GRU": 2, "LSTM": 3}[op]
        attributes["activations"] = (chosen * 2)[:kinds] * ways
    # The reference passes over these.
    known = not {"clip", "activations", "input_forget"} & set(attributes)
    known = known and not (layout and lengths is not None)
    outputs = d.integer(1, 3 if op == "LSTM" else 2)
    return Node(inputs, attributes, outputs, tolerance=20, reference=known)


@recipe("DFT")
def dft(d: Draw) -> Node:
    name = d.type("T1")
    signal = d.full(1, 2)
    last = d.choice((1, 2))
    shape = (d.integer(1, 2), *signal, last)
    axis = d.integer(1, len(signal)) - (len(shape) if d.flag() else 0)
    inverse = d.integer(0, 1)
    onesided = d.integer(0, 1) if not inverse and last == 1 else 0
    length = d.ints([d.integer(1, 12)])[0:1].reshape(()) if d.flag(30) else None
    inputs = [d.tensor(name, shape, "finite"), length, np.array(axis)]
    attributes = {"inverse": inverse, "onesided": onesided}
    return Node(inputs, given(d, attributes, 100), sums=True, tolerance=20)


@recipe("STFT")
def stft(d: Draw) -> Node:
    name = d.type("T1")
    frame, step = d.choice((4, 8, 5)), d.integer(1, 4)
    x = d.tensor(name, (d.integer(1, 2), d.integer(frame, 30), 1), "finite")
    kind = d.type("T2")
    window = d.tensor(name, (frame,), "unit") if d.flag() else None
    length = np.array(frame, ELEMENTS[kind])
    inputs = [x, np.array(step, ELEMENTS[kind]), window, length]
    return Node(inputs, given(d, {"onesided": d.integer(0, 1)}), sums=True, tolerance=20)


@recipe("BlackmanWindow", "HammingWindow", "HannWindow")
def window(d: Draw) -> Node:
    size = np.array(d.integer(2, 40), ELEMENTS[d.type("T1")])
    attributes = {"periodic": d.integer(0, 1)}
    if d.flag():
        attributes["output_datatype"] = d.choice((1, 11, 10))
    return Node([size], given(d, attributes))


@recipe("MelWeightMatrix")
def mel_weight_matrix(d: Draw) -> Node:
    whole, real = ELEMENTS[d.type("T1", but=("uint8", "int8"))], ELEMENTS[d.type("T2")]
    inputs = [np.array(d.integer(2, 10), whole), np.array(d.choice((16, 32)), whole)]
    inputs.append(np.array(8192, whole))
    inputs += [np.array(v, real) for v in (d.choice((0, 64)), 4096)]
    return Node(inputs, {}, sums=True, tolerance=20)

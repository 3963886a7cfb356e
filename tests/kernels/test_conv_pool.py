"""Convolutions and poolings agree with onnx's reference, or with sums written out in numpy."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

import tiercel
from single_node import agree, check, model_of, reference, run

RNG = np.random.default_rng(12)
WINDOWS = [
    {},
    {"pads": [1, 2, 0, 1]},
    {"strides": [2, 3], "dilations": [2, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID"},
]


def values(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("options", WINDOWS)
def test_conv_2d(group, options):
    weight = values(8, 4 // group, 3, 2)
    check("Conv", [values(2, 4, 9, 8), weight, values(8)], 1e-4, group=group, **options)


@pytest.mark.parametrize(
    ("channels", "size", "kernel"), [(3, 17, 3), (64, 14, 3), (32, 28, 1), (5, 9, 5)]
)
def test_conv_of_many_channels(channels, size, kernel):
    x, weight = values(1, channels, size, size), values(2 * channels + 1, channels, kernel, kernel)
    check("Conv", [x, weight], 1e-3, pads=[kernel // 2] * 4)


def test_conv_of_other_ranks():
    check("Conv", [values(1, 3, 9), values(2, 3, 2)], 1e-4, pads=[1, 0])
    check("Conv", [values(1, 3, 5, 4, 5), values(2, 3, 2, 3, 2)], 1e-4, pads=[1] * 6)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_conv_of_other_types(dtype):
    x, weight = values(1, 4, 6, 6).astype(dtype), values(3, 4, 3, 3).astype(dtype)
    check("Conv", [x, weight], 2e-2 if dtype == "float16" else 1e-10)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": [3, 2], "dilations": [1, 2], "output_padding": [1, 1]},
        {"strides": [2, 2], "pads": [1, 0, 1, 1]},
    ],
)
def test_conv_transpose(group, options):
    x, weight, bias = values(1, 4, 4, 5), values(4, 3, 3, 2), values(3 * group)
    parts = [np.split(part, group, axis) for part, axis in [(x, 1), (weight, 0), (bias, 0)]]
    each = [reference("ConvTranspose", list(p), **options)[0] for p in zip(*parts, strict=True)]
    got = run("ConvTranspose", [x, weight, bias], group=group, **options)
    agree(got, [np.concatenate(each, 1)], 1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((70,), (5,), {"strides": [2], "pads": [3, 1]}),
        ((40, 33), (4, 3), {"strides": [2, 2], "pads": [1, 2, 1, 0]}),
        ((40, 33), (2, 2), {"strides": [2, 2]}),
        ((12, 37), (3, 4), {"pads": [1, 1, 1, 1], "dilations": [1, 2]}),
        ((3, 4, 20), (2, 1, 3), {"strides": [1, 2, 2], "output_padding": [0, 1, 1]}),
        ((9, 6), (3, 3), {"strides": [2, 2], "output_shape": [18, 12]}),
    ],
)
def test_conv_transpose_of_many_channels(size, kernel, options, dtype):
    """Against the gradient of a convolution: every product, put where its tap reaches."""
    x = values(2, 90, *size).astype(dtype)
    weight = (values(90, 11, *kernel) / 9).astype(dtype)
    got = run("ConvTranspose", [x, weight], **options)[0]
    n = len(size)
    strides, dilations = options.get("strides", [1] * n), options.get("dilations", [1] * n)
    reach = [(s - 1) * j + (t - 1) * d + 1 for s, j, t, d in zip(
        size, strides, kernel, dilations, strict=True)]  # fmt: skip
    full = np.zeros((2, 11, *(r + 2 for r in reach)))
    for tap in itertools.product(*map(range, kernel)):
        at = [slice(t * d, t * d + (s - 1) * j + 1, j) for t, d, s, j in zip(
            tap, dilations, size, strides, strict=True)]  # fmt: skip
        part = np.einsum("nc...,cm->nm...", x.astype(float), weight[(..., *tap)].astype(float))
        full[(slice(None), slice(None), *at)] += part
    pads = options.get("pads", [0] * n)
    if "output_shape" in options:
        pads = [(r - s + 1) // 2 for r, s in zip(reach, options["output_shape"], strict=True)]
    cut = [slice(p, p + e) for p, e in zip(pads[:n], got.shape[2:], strict=True)]
    want = full[(slice(None), slice(None), *cut)].astype(dtype)
    agree([got], [want], {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}[dtype])


def windows(x, kernel, stride, pad, dilation, fill):
    """[N, C, OH, OW, taps]"""
    x = np.pad(x, [(0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])], constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows = [(x.shape[i + 2] - reach[i]) // stride[i] + 1 for i in range(2)]
    taps = [
        x[
            :,
            :,
            a * dilation[0] : a * dilation[0] + rows[0] * stride[0] : stride[0],
            b * dilation[1] : b * dilation[1] + rows[1] * stride[1] : stride[1],
        ][:, :, : rows[0], : rows[1]]
        for a, b in itertools.product(range(kernel[0]), range(kernel[1]))
    ]
    return np.stack(taps, -1)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("pad", [(0, 0, 0, 0), (1, 0, 1, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_pools(stride, pad, dilation):
    x = values(2, 3, 9, 8)
    options = {"kernel_shape": [2, 3], "strides": stride, "pads": pad, "dilations": dilation}
    seen = windows(x, (2, 3), stride, pad, dilation, -np.inf)
    agree(run("MaxPool", [x], **options), [seen.max(-1)])
    zeros = windows(x, (2, 3), stride, pad, dilation, 0)
    with_pad = run("AveragePool", [x], count_include_pad=1, **options)
    agree(with_pad, [zeros.mean(-1)], 1e-5)
    without = (zeros.sum(-1) / np.isfinite(seen).sum(-1)).astype(np.float32)
    agree(run("AveragePool", [x], **options), [without], 1e-5)
    norms = np.sqrt((zeros**2).sum(-1))
    agree(run("LpPool", [x], p=2, opset=22, **options), [norms], 1e-4)


def test_max_pool_indices_and_unpool():
    x = values(1, 2, 6, 8)
    y, index = run("MaxPool", [x], outputs=2, kernel_shape=[2, 2], strides=[2, 2])
    np.testing.assert_array_equal(x.reshape(-1)[index], y)
    back = run("MaxUnpool", [y, index], kernel_shape=[2, 2], strides=[2, 2])[0]
    assert back.shape == x.shape
    np.testing.assert_array_equal(back.reshape(-1)[index], y)
    assert np.count_nonzero(back) == y.size


def test_ceil_mode_drops_windows_in_the_padding():
    x = values(1, 1, 2, 2)
    y = run("MaxPool", [x], kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1, opset=22)[0]
    assert y.shape == (1, 1, 1, 1)


def test_global_pools():
    x = values(2, 3, 7, 9)
    axes = (2, 3)
    agree(run("GlobalAveragePool", [x]), [x.mean(axes, keepdims=True)], 1e-5)
    agree(run("GlobalMaxPool", [x]), [x.max(axes, keepdims=True)])
    norm = np.sqrt((x.astype(np.float64) ** 2).sum(axes, keepdims=True)).astype(np.float32)
    agree(run("GlobalLpPool", [x]), [norm], 1e-5)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("size", [(45,), (17, 40), (5, 6, 7)])
def test_average_pool_in_all_forms(size: tuple[int, ...], include: int) -> None:
    n = len(size)
    x = values(2, 3, *size)
    for step, spread, ceil in itertools.product([1, 2, 3], [1, 2], [0, 1]):
        options = {
            "kernel_shape": [3] * n,
            "strides": [step] * n,
            "dilations": [spread] * n,
            "pads": [1] * n + [2] * n,
            "ceil_mode": ceil,
            "count_include_pad": include,
        }
        node = onnx.helper.make_node("AveragePool", ["x"], ["y"], **options)
        ports = [onnx.helper.make_tensor_value_info(name, 1, None) for name in "xy"]
        graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:])
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)])
        made.ir_version = 10
        theirs = onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        agree(run("AveragePool", [x], opset=22, **options), theirs.run(None, {"x": x}), 1e-5)


def test_pools_of_half_types():
    x = values(2, 3, 9, 33).astype(np.float16)
    window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    for op in ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"):
        options = window if "Global" not in op else {}
        wide = run(op, [x.astype(np.float32)], **options)[0]
        agree(run(op, [x], **options), [wide.astype(np.float16)])
    y, index = run("MaxPool", [x], outputs=2, **window)
    np.testing.assert_array_equal(x.reshape(-1)[index], y)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "uint8"])
def test_max_pool_of_windows_without_items(dtype):
    window = {"kernel_shape": [1, 1], "pads": [1, 1, 1, 1]}
    x = np.ones((1, 17, 2, 2), dtype)  # channels enough for blocks, and for none
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(dtype).min
    wanted = np.full((1, 17, 4, 4), least, dtype)
    wanted[:, :, 1:3, 1:3] = 1
    agree(run("MaxPool", [x], **window), [wanted])
    agree(run("MaxPool", [x[:, :, 0]], kernel_shape=[1], pads=[1, 1]), [wanted[:, :, 1]])
    with pytest.raises(tiercel.InvalidArgument, match="MaxPool"):
        run("MaxPool", [x], outputs=2, **window)


def test_global_max_pool_of_nan():
    for at in (0, 5, 70, 82):
        x = values(1, 2, 83)
        x[0, 1, at] = np.nan
        agree(run("GlobalMaxPool", [x]), [x.max(2, keepdims=True)])


def test_integer_convolutions():
    x, w = (RNG.integers(0, 255, s).astype(np.uint8) for s in [(1, 2, 5, 5), (3, 2, 3, 3)])
    zero = [np.array(7, np.uint8), np.array(100, np.uint8)]
    check("ConvInteger", [x, w, *zero], pads=[1, 1, 1, 1])
    scales = [np.array(0.02, np.float32), np.array(0.01, np.float32), np.array(0.5, np.float32)]
    check(
        "QLinearConv",
        [x, scales[0], zero[0], w, scales[1], zero[1], scales[2], np.array(100, np.uint8)],
    )


def integer_sums(x, w, zeros, options):
    """Convolution of whole numbers, tap by tap, in int64."""
    n = x.ndim - 2
    x = x.astype(np.int64) - int(zeros[0])
    w = w.astype(np.int64) - zeros[1].astype(np.int64).reshape(-1, *[1] * (n + 1))
    pads, group = options["pads"], options["group"]
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
    steps = list(zip(w.shape[2:], options["strides"], options["dilations"], strict=True))
    size = [(x.shape[i + 2] - (k - 1) * d - 1) // s + 1 for i, (k, s, d) in enumerate(steps)]
    y = np.zeros((x.shape[0], group, w.shape[0] // group, *size), np.int64)
    for tap in itertools.product(*map(range, w.shape[2:])):
        at = [slice(t * d, t * d + (m - 1) * s + 1, s) for t, m, (_, s, d) in zip(
            tap, size, steps, strict=True)]  # fmt: skip
        seen = x[(slice(None), slice(None), *at)].reshape(x.shape[0], group, -1, *size)
        part = w[(..., *tap)].reshape(group, -1, w.shape[1])
        y += np.einsum("ngc...,gmc->ngm...", seen, part)
    return y.reshape(x.shape[0], w.shape[0], *size)


def run_with(op, inputs, constants, **options):
    """As `run`, with the inputs of these places held by the model."""
    model = model_of(op, inputs, 1, 21, options)
    infos = [info for i, info in enumerate(model.graph.input) if i not in constants]
    del model.graph.input[:]
    model.graph.input.extend(infos)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(inputs[i], f"x{i}") for i in constants
    )
    session = tiercel.InferenceSession(model.SerializeToString())
    fed = [i for i in range(len(inputs)) if i not in constants]
    return session.run(None, {f"x{i}": inputs[i] for i in fed})[0]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("types", list(itertools.product([np.uint8, np.int8], repeat=2)))
@pytest.mark.parametrize(
    ("size", "kernel", "channels", "group", "strides", "dilations"),
    [
        ((70,), (3,), (5, 37), 1, [1], [2]),
        ((19, 33), (3, 2), (16, 130), 1, [1, 1], [1, 1]),
        ((19, 33), (3, 3), (14, 12), 2, [2, 2], [1, 1]),
        ((9, 10), (3, 3), (6, 6), 6, [1, 3], [2, 1]),
        ((5, 6, 9), (2, 1, 3), (3, 4), 1, [1, 1, 2], [1, 1, 1]),
        ((6, 6), (3, 3), (600, 33), 1, [1, 1], [1, 1]),
    ],
)
def test_convolutions_of_bytes_are_exact(
    size, kernel, channels, group, strides, dilations, types, constant
):
    def drawn(dtype, *shape):
        bounds = np.iinfo(dtype)
        return RNG.integers(bounds.min, bounds.max + 1, shape).astype(dtype)

    inputs, outputs = channels
    x = drawn(types[0], 2, inputs, *size)
    w = drawn(types[1], outputs, inputs // group, *kernel)
    zeros = [np.array(drawn(types[0])), drawn(types[1], outputs)]
    pads = [1] * len(size) + [2] * len(size)
    options = {"strides": strides, "dilations": dilations, "pads": pads, "group": group}
    want = integer_sums(x, w, zeros, options)
    got = run_with("ConvInteger", [x, w, *zeros], [1] if constant else [], **options)
    np.testing.assert_array_equal(got, want.astype(np.int32))
    bias = RNG.integers(-1000, 1000, outputs).astype(np.int32)
    scales = [np.array(v, np.float32) for v in (0.5, 0.25, 64.0)]
    zero = np.array(drawn(types[0]))
    total = want + bias.reshape(-1, *[1] * len(size))
    bounds = np.iinfo(types[0])
    rounded = np.rint(total / 512) + int(zero)
    quantized = [x, scales[0], zeros[0], w, scales[1], zeros[1], scales[2], zero, bias]
    got = run_with("QLinearConv", quantized, [3, 4, 5] if constant else [], **options)
    np.testing.assert_array_equal(got, np.clip(rounded, bounds.min, bounds.max).astype(types[0]))


def test_deform_conv():
    x, weight = values(2, 4, 6, 6), values(6, 4, 3, 3)
    offset, mask = 2 * values(2, 18, 4, 4), values(2, 9, 4, 4)
    check("DeformConv", [x, weight, offset, values(6), mask], 1e-4)


@pytest.mark.parametrize(("group", "offset_group"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_deform_conv_in_groups(group: int, offset_group: int) -> None:
    x, weight = values(2, 6, 9, 12), values(4, 6 // group, 3, 2)
    options = {"strides": [1, 1], "dilations": [1, 2], "pads": [1, 0, 1, 1]}
    options |= {"group": group, "offset_group": offset_group, "kernel_shape": [3, 2]}
    offset, mask = 2 * values(2, 12 * offset_group, 9, 11), values(2, 6 * offset_group, 9, 11)
    inputs = [x, weight, offset, values(4), mask]
    model = model_of("DeformConv", inputs, 1, 19, options).SerializeToString()
    theirs = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    want = theirs.run(None, {f"x{i}": value for i, value in enumerate(inputs)})
    agree(run("DeformConv", inputs, opset=19, **options), want, 1e-4)


def test_max_unpool_checks_indices():
    x, index = values(1, 1, 2, 2), np.array([0, 3, 8, 15]).reshape(1, 1, 2, 2)
    options = {"kernel_shape": [2, 2], "strides": [2, 2]}
    want = np.zeros(16, np.float32)
    want[index.reshape(-1)] = x.reshape(-1)
    agree(run("MaxUnpool", [x, index], **options), [want.reshape(1, 1, 4, 4)])
    for bad in (-1, 16):
        index[0, 0, 0, 0] = bad
        with pytest.raises(tiercel.Error, match="index"):
            run("MaxUnpool", [x, index], **options)


def test_col2im():
    blocks = values(2, 18, 20)
    check("Col2Im", [blocks, np.array([5, 5]), np.array([2, 3])], 1e-5, pads=[0, 1, 0, 1])


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        ("Conv", [(1, 4, 5, 5), (2, 3, 3, 3)], "3 input channels per group"),
        ("Conv", [(1, 4, 2, 2), (2, 4, 3, 3)], "window reaches"),
        ("ConvTranspose", [(1, 4, 5, 5), (3, 3, 3, 3)], "3 input channels"),
    ],
)
def test_messages(op, inputs, message):
    with pytest.raises(Exception, match=message):
        run(op, [values(*shape) for shape in inputs])


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("blocked", [False, True])
def test_a_window_larger_than_the_axis_is_cut(op: str, blocked: bool) -> None:
    """As in ONNX Runtime, when it is larger by less than a stride."""
    channels = 32 if blocked else 3
    weight = onnx.numpy_helper.from_array(values(channels, 3, 1, 1), "w")
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"]),
        onnx.helper.make_node(op, ["c"], ["y"], name="p", kernel_shape=[3, 2], strides=[3, 2]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, "h", "w"])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [weight],
    )
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    ours = tiercel.InferenceSession(made)
    theirs = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    for height, width in [(2, 1), (1, 1), (3, 2), (8, 5)]:
        x = values(1, 3, height, width)
        mine, want = ours.run(None, {"x": x})[0], theirs.run(None, {"x": x})[0]
        np.testing.assert_allclose(mine, want, rtol=1e-5, atol=1e-5)
    node = onnx.helper.make_node(op, ["x"], ["y"], name="p", kernel_shape=[5, 5])
    del graph.node[:]
    graph.node.append(node)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    session = tiercel.InferenceSession(made.SerializeToString())
    with pytest.raises(tiercel.Error, match='"p".*the window reaches'):
        session.run(None, {"x": np.zeros((1, 3, 2, 2), np.float32)})

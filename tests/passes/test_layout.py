"""Convolution networks run over blocks of channels and give what they give without them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import operators, session


class Net:
    """A graph under construction: each method adds a node and returns its output."""

    def __init__(self, *shape: int | str, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0]

    def conv(
        self, x: str, channels: int, outputs: int, k: int = 3, kx: int = 0, **attributes: object
    ) -> str:
        """`k` rows and `kx` (0: as many) columns of weights."""
        group, kx = attributes.get("group", 1), kx or k
        weight = self.rng.standard_normal((outputs, channels // group, k, kx))
        w = self.constant((weight / np.sqrt(channels // group * k * kx)).astype(np.float32))
        b = self.constant(self.rng.standard_normal(outputs).astype(np.float32))
        if "pads" not in attributes and "auto_pad" not in attributes:
            attributes["pads"] = [k // 2, kx // 2] * 2
        return self.op("Conv", x, w, b, **attributes)

    def model(self, *results: str) -> onnx.ModelProto:
        infos = [helper.make_empty_tensor_value_info(r) for r in results]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, infos, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def check(m: onnx.ModelProto, *shape: int, tolerance: float = 2e-5) -> dict[str, int]:
    """The same results with and without the pass; the operators that it leaves."""
    plain, fast = session(m, disabled=["layout"]), session(m)
    assert not [op for op in operators(plain) if "lock" in op]
    x = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    wanted = plain.run(None, {"x": x})
    for want, got in zip(wanted, fast.run(None, {"x": x}), strict=True):
        assert want.shape == got.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    return dict(operators(fast))


CONVOLUTIONS = {
    "3x3": {},
    "1x1": {"k": 1},
    "5x5": {"k": 5},
    "stride": {"strides": [2, 2]},
    "1x1 stride": {"k": 1, "strides": [2, 3]},
    "uneven stride": {"strides": [1, 3]},
    "dilation": {"dilations": [2, 3], "pads": [2, 3, 2, 3]},
    "no padding": {"pads": [0, 0, 0, 0]},
    "asymmetric padding": {"pads": [0, 2, 1, 0]},
    "more padding than window": {"pads": [4, 5, 3, 4]},
    "cut edges": {"pads": [-1, 0, 0, -2]},
    "same upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2], "k": 4},
    "valid": {"auto_pad": "VALID"},
}


@pytest.mark.parametrize("what", CONVOLUTIONS)
@pytest.mark.parametrize("channels", [(16, 32), (24, 40), (13, 21), (64, 8)])
def test_convolutions(what: str, channels: tuple[int, int]) -> None:
    net = Net(2, 3, 19, 23)
    a = net.op("Relu", net.conv("x", 3, channels[0]))
    b = net.op("Relu", net.conv(a, *channels, **CONVOLUTIONS[what]))
    left = check(net.model(net.conv(b, channels[1], 16)), 2, 3, 19, 23)
    assert left == {"ConvBlocked": 3, "Unblock": 1}


@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 1]}, {"dilations": [3, 1]}])
@pytest.mark.parametrize("shape", [(2, 13, 61, 1), (2, 13, 1, 61)])
def test_images_one_pixel_wide(shape: tuple[int, ...], attributes: dict[str, list[int]]) -> None:
    net = Net(*shape)
    tall = shape[3] == 1
    window = {"k": 5, "kx": 1} if tall else {"k": 1, "kx": 5}
    turned = {name: values if tall else values[::-1] for name, values in attributes.items()}
    a = net.op("Relu", net.conv("x", 13, 24, **window))
    b = net.op("Relu", net.conv(a, 24, 32, **window, **turned))
    left = check(net.model(net.conv(b, 32, 16, **window)), *shape)
    assert left["ConvBlocked"] >= 2


@pytest.mark.parametrize("what", CONVOLUTIONS)
@pytest.mark.parametrize("channels", [16, 24, 21])
def test_depthwise(what: str, channels: int) -> None:
    net = Net(2, 3, 19, 23)
    a = net.op("Relu", net.conv("x", 3, channels, 1))
    b = net.op("Relu", net.conv(a, channels, channels, group=channels, **CONVOLUTIONS[what]))
    left = check(net.model(net.conv(b, channels, 32, 1)), 2, 3, 19, 23)
    assert left == {"ConvBlocked": 3, "Unblock": 1}


def test_groups_that_cut_through_no_block() -> None:
    net = Net(2, 3, 14, 14)
    a = net.conv(net.conv("x", 3, 64), 64, 96, group=2)
    assert check(net.model(net.conv(a, 96, 32)), 2, 3, 14, 14)["ConvBlocked"] == 3


def test_groups_of_few_channels_stay_as_they_are() -> None:
    net = Net(1, 3, 14, 14)
    a = net.conv(net.conv("x", 3, 24), 24, 24, group=8)
    assert check(net.model(net.conv(a, 24, 32)), 1, 3, 14, 14)["Conv"] >= 1


def test_residuals_and_branches_need_no_conversions() -> None:
    net = Net(2, 3, 15, 17)
    a = net.op("Relu", net.conv("x", 3, 24))
    b = net.conv(net.op("Relu", net.conv(a, 24, 24)), 24, 24)
    c = net.op("Relu", net.op("Add", a, b))
    p = net.op("MaxPool", c, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    q = net.op("AveragePool", c, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    left = check(net.model(net.conv(net.op("Mul", p, q), 24, 16)), 2, 3, 15, 17)
    assert left.pop("MaxPoolBlocked") == 1
    assert left.pop("AveragePoolBlocked") == 1
    assert left.pop("ConvBlocked") == 4
    assert left.pop("Unblock") == 1
    assert "Block" not in left


@pytest.mark.parametrize("size", [1, 2, 5, 20])
@pytest.mark.parametrize("channels", [16, 48, 21])
def test_local_response(channels: int, size: int) -> None:
    net = Net(2, 3, 11, 13)
    a = net.op("Relu", net.conv("x", 3, channels))
    b = net.op("LRN", a, size=size, alpha=0.3, beta=0.75, bias=2.0)
    left = check(net.model(net.conv(b, channels, 32)), 2, 3, 11, 13)
    assert ("LRNBlocked" in left) == (channels % 16 == 0)
    assert ("Block" in left) == (channels % 16 != 0)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_poolings(op: str, ceil: int, include: int) -> None:
    net = Net(2, 3, 14, 15)
    more = {"count_include_pad": include} if op == "AveragePool" else {}
    shape = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 0, 1], "ceil_mode": ceil}
    a = net.op(op, net.conv("x", 3, 21), **shape, **more)
    check(net.model(net.conv(a, 21, 16)), 2, 3, 14, 15)


def test_squeeze_and_excite() -> None:
    net = Net(2, 3, 14, 14)
    a = net.op("Relu", net.conv("x", 3, 40))
    s = net.op("Relu", net.conv(net.op("GlobalAveragePool", a), 40, 10, 1))
    s = net.op("HardSigmoid", net.conv(s, 10, 40, 1))
    left = check(net.model(net.conv(net.op("Mul", a, s), 40, 16)), 2, 3, 14, 14)
    assert left == {"ConvBlocked": 4, "GlobalAveragePoolBlocked": 1, "Mul": 1, "Unblock": 1}


@pytest.mark.parametrize("channels", [(16, 24, 32), (16, 24, 13), (16, 13, 32)])
def test_concat(channels: tuple[int, int, int]) -> None:
    net = Net(1, 3, 12, 12)
    a = net.conv("x", 3, 16)
    parts = [net.conv(a, 16, n, 1) for n in channels]
    b = net.op("Concat", *parts, axis=-3)
    left = check(net.model(net.conv(b, sum(channels), 16)), 1, 3, 12, 12)
    # Blocks of any width divide these, or those of the first inputs.
    assert ("Block" not in left) == (channels[1] == 24 and 24 % block_of() == 0)


def block_of() -> int:
    """Channels of a block on this machine, as its plan shows them."""
    net = Net(1, 3, 12, 12)
    s = session(net.model(net.conv(net.conv("x", 3, 64), 64, 64)))
    s.run(None, {"x": np.zeros((1, 3, 12, 12), np.float32)})
    line = next(line for line in s.explain().splitlines() if "ConvBlocked" in line)
    return int(line.rsplit(", ", 1)[1].rstrip("]"))


@pytest.mark.parametrize("k, stride", [(3, 1), (3, 2), (7, 2), (2, 3), (4, 4), (5, 4), (16, 16)])
@pytest.mark.parametrize("outputs", [16, 40, 100])
@pytest.mark.parametrize("size", [17, 53])
def test_windows_over_planes(k: int, stride: int, outputs: int, size: int) -> None:
    net = Net(2, 3, size, size + 3)
    y = net.conv(net.conv("x", 3, outputs, k, strides=[stride, stride]), outputs, 24)
    m = net.model(y)
    assert check(m, 2, 3, size, size + 3)["ConvBlocked"] >= 1
    x = np.random.default_rng(3).standard_normal((2, 3, size, size + 3)).astype(np.float32)
    x[0, 1, 5, 6], x[1, 2, 0, 0] = np.nan, np.inf
    [want] = session(m, disabled=["layout"]).run(None, {"x": x})
    [got] = session(m).run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("k, size, stride", [(5, 28, 1), (7, 14, 1), (5, 14, 2), (3, 7, 1)])
def test_a_depthwise_convolution_alone(k: int, size: int, stride: int) -> None:
    """Many taps or small planes pay for blocks of what a single one reads and writes."""
    net = Net(1, 48, size, size)
    net.op("Sigmoid", net.conv("x", 48, 48, k, group=48, strides=[stride, stride]))
    left = check(net.model(f"v{len(net.nodes) - 1}_0"), 1, 48, size, size)
    assert left["ConvBlocked"] == 1
    net = Net(1, 48, 56, 56)
    assert "ConvBlocked" not in check(net.model(net.conv("x", 48, 48, group=48)), 1, 48, 56, 56)


def test_split_resize_and_graph_outputs() -> None:
    net = Net(2, 3, 10, 9)
    a = net.conv("x", 3, 64)
    sizes = net.constant(np.array([16, 48], np.int64))
    first = net.op("Split", a, sizes, outputs=2, axis=1)
    second = first[:-1] + "1"
    scales = net.constant(np.array([1, 1, 2, 3], np.float32))
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    up = net.op("Resize", net.conv(second, 48, 32), "", scales, nearest_mode="floor", **mode)
    left = check(net.model(net.conv(up, 32, 16), first, up), 2, 3, 10, 9)
    assert left.get("Block", 0) == 0


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("size", [(20, 27), (15, 14), (5, 4)])
def test_resizing_between_convolutions(mode: str, size: tuple[int, int]) -> None:
    for coordinates in ("half_pixel", "align_corners", "asymmetric"):
        net = Net(2, 3, 10, 9)
        sizes = net.constant(np.array([2, 40, *size], np.int64))
        way = {"mode": mode, "coordinate_transformation_mode": coordinates}
        up = net.op("Resize", net.conv("x", 3, 40), "", "", sizes, **way)
        left = check(net.model(net.conv(up, 40, 16)), 2, 3, 10, 9)
        assert left == {"ConvBlocked": 2, "Resize": 1, "Unblock": 1}


def test_results_are_enlarged_behind_the_conversion() -> None:
    net = Net(1, 3, 10, 9)
    scales = net.constant(np.array([1, 1, 4, 4], np.float32))
    a = net.conv(net.conv("x", 3, 32), 32, 32)
    big = net.op("Sigmoid", net.op("Resize", a, "", scales, mode="linear"))
    check(net.model(big), 1, 3, 10, 9)
    plan = session(net.model(big)).explain().rpartition("plan:")[2].splitlines()[1:]
    steps = [line.split()[1] for line in plan if line]
    assert steps == ["ConvBlocked", "ConvBlocked", "Unblock", "Resize", "Sigmoid"]


def test_few_channels_are_resized_as_they_lie() -> None:
    net = Net(1, 3, 10, 9)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    mask = net.conv(net.conv("x", 3, 32), 32, 1)
    up = net.op("Resize", mask, "", scales, mode="linear")
    check(net.model(net.conv(up, 1, 32)), 1, 3, 10, 9)
    text = session(net.model(net.conv(up, 1, 32))).explain()
    assert "tensor(float)[1, 1, 20, 18]" in text


def test_per_channel_constants_and_masks() -> None:
    net = Net(2, 3, 10, 9)
    a = net.conv("x", 3, 21)
    scale = net.constant(net.rng.standard_normal((21, 1, 1)).astype(np.float32))
    slope = net.constant(net.rng.standard_normal((1, 21, 1, 1)).astype(np.float32))
    mask = net.op("Sigmoid", net.conv(a, 21, 1, 1))
    row = net.constant(net.rng.standard_normal(9).astype(np.float32))
    b = net.op("PRelu", net.op("Mul", a, scale), slope)
    c = net.op("Add", net.op("Mul", b, mask), row)
    check(net.model(net.conv(net.op("Exp", c), 21, 16)), 2, 3, 10, 9, tolerance=1e-4)


def test_symbolic_extents() -> None:
    net = Net("batch", 3, "height", "width")
    a = net.op("Relu", net.conv("x", 3, 24, strides=[2, 2]))
    b = net.op("Add", a, net.conv(net.op("Relu", net.conv(a, 24, 24)), 24, 24))
    c = net.conv(net.op("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]), 24, 13)
    m = net.model(net.op("Flatten", net.op("GlobalAveragePool", c)), c)
    for shape in ((1, 3, 20, 24), (3, 3, 17, 9)):
        assert check(m, *shape)["ConvBlocked"] == 4


def test_extents_found_at_run() -> None:
    """Weights are packed in the call when the plan does not know its shapes."""
    net = Net(1, 3, 16, 16)
    rows = net.op(
        "NonZero", net.op("ReduceMax", "x", net.constant(np.array([0, 1, 3])), keepdims=0)
    )
    a = net.op("Gather", "x", net.op("Squeeze", rows, net.constant(np.array([0]))), axis=2)
    b = net.op("Relu", net.conv(a, 3, 24))
    c = net.conv(b, 24, 24, group=24)
    check(net.model(net.conv(c, 24, 16)), 1, 3, 16, 16)


def test_a_lonely_convolution_is_not_converted() -> None:
    net = Net(1, 32, 12, 12)
    left = check(net.model(net.op("Relu", net.conv("x", 32, 32, 1))), 1, 32, 12, 12)
    assert left == {"Conv": 1}


def test_what_padded_lanes_hold_does_not_leak() -> None:
    """Log of the empty lanes is infinite, its products with zero are not numbers."""
    net = Net(1, 3, 9, 9)
    a = net.op("Log", net.op("Abs", net.conv("x", 3, 13)))
    b = net.op("Concat", net.op("Log", net.op("Abs", net.conv(a, 13, 5))), axis=1)
    check(net.model(net.conv(b, 5, 11)), 1, 3, 9, 9, tolerance=1e-4)


def test_not_numbers_stay_where_they_are() -> None:
    net = Net(1, 3, 9, 12)
    a = net.op("Relu", net.conv("x", 3, 24))
    m = net.model(net.conv(a, 24, 24), net.conv(a, 24, 24, group=24))
    x = np.random.default_rng(3).standard_normal((1, 3, 9, 12)).astype(np.float32)
    x[0, 0, 4, 5], x[0, 1, 1, 10] = np.nan, np.inf
    plain, fast = session(m, disabled=["layout"]), session(m)
    for want, got in zip(plain.run(None, {"x": x}), fast.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    import tiercel

    net = Net(1, 3, 33, 29)
    a = net.op("Relu", net.conv("x", 3, 48))
    b = net.op("Relu", net.conv(a, 48, 48, group=48))
    data = net.model(net.conv(b, 48, 72), net.op("GlobalAveragePool", b)).SerializeToString()
    x = np.random.default_rng(5).standard_normal((1, 3, 33, 29)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 7):
        options = tiercel.SessionOptions()
        options.intra_op_num_threads = threads
        results.append(tiercel.InferenceSession(data, options).run(None, {"x": x}))
    for other in results[1:]:
        for want, got in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(got, want)


def test_explain_shows_the_layout() -> None:
    net = Net(1, 3, 12, 12)
    s = session(net.model(net.conv(net.conv("x", 3, 24), 24, 16)))
    assert "layout" in s.explain()
    assert "ConvBlocked" in s.explain()


@pytest.mark.parametrize("block", [2, 3])
def test_transposed_convolutions_without_overlap(block: int) -> None:
    net = Net(2, 3, 9, 7)
    a = net.op("Relu", net.conv("x", 3, 24))
    weight = net.constant(net.rng.standard_normal((24, 5, block, block)).astype(np.float32))
    bias = net.constant(net.rng.standard_normal(5).astype(np.float32))
    up = net.op("ConvTranspose", a, weight, bias, strides=[block, block])
    m = net.model(net.op("Sigmoid", up))
    plain, fast = session(m, optimised=False), session(m)
    x = np.random.default_rng(2).standard_normal((2, 3, 9, 7)).astype(np.float32)
    (want,), (got,) = plain.run(None, {"x": x}), fast.run(None, {"x": x})
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    assert "ConvTranspose" not in operators(fast)


def random_net(seed: int) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    group = int(rng.choice([1, 1, 1, 2, 3, 24]))
    per, out_per = (1, 1) if group == 24 else rng.integers(8, 50, 2).tolist()
    channels, outputs = group * per, group * out_per
    ky, kx = rng.integers(1, 6, 2).tolist()
    attributes: dict[str, object] = {
        "group": group,
        "strides": rng.integers(1, 4, 2).tolist(),
        "dilations": rng.integers(1, 3, 2).tolist(),
        "pads": rng.integers(0, 4, 4).tolist(),
    }
    height, width = rng.integers(10, 40, 2).tolist()
    net = Net(int(rng.integers(1, 3)), channels, height, width, seed=seed)
    a = net.op("Relu", net.conv("x", channels, channels, 1))
    y = net.op("Sigmoid", net.conv(a, channels, outputs, ky, kx, **attributes))
    return net.model(net.conv(y, outputs, 40, 1))


@pytest.mark.parametrize("first", range(0, 80, 10))
def test_random_convolutions_with_nan_and_infinity(first: int) -> None:
    changed = 0
    for seed in range(first, first + 10):
        rng, m = np.random.default_rng(seed), random_net(seed)
        plain, fast = session(m, disabled=["layout"]), session(m)
        changed += operators(fast)["ConvBlocked"]
        x = rng.standard_normal(plain.get_inputs()[0].shape).astype(np.float32)
        for special in (np.nan, np.inf, -np.inf)[: int(rng.integers(0, 4))]:
            x[tuple(rng.integers(0, n) for n in x.shape)] = special
        (want,), (got,) = plain.run(None, {"x": x}), fast.run(None, {"x": x})
        np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-5, err_msg=f"seed {seed}")
    assert changed >= 5  # convolutions; some nets are quicker in planes

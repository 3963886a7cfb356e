"""Operators written in Python: schema from annotations, native code, shapes, errors."""

import sys
import threading
import types
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import tiercel

T = TypeVar("T", np.float32, np.float64, np.int64)
F = np.float32


def model(op, inputs, outputs=1, ranks=None, dtype=TensorProto.FLOAT, **attributes):
    """One node of domain "test"; `ranks`: declared shapes of the inputs, unknown by default."""
    names = [f"x{i}" if present else "" for i, present in enumerate(inputs)]
    shapes = ranks or [None] * len(names)
    node = helper.make_node(
        op, names, [f"y{i}" for i in range(outputs)], name="it", domain="test", **attributes
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, dtype, s)
            for n, s in zip(names, shapes, strict=True)
            if n
        ],
        [helper.make_tensor_value_info(f"y{i}", 0, None) for i in range(outputs)],
    )
    for value in graph.output:
        value.ClearField("type")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("test", 1)]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


def run(op, *inputs, outputs=1, ranks=None, dtype=TensorProto.FLOAT, **attributes):
    present = [x is not None for x in inputs]
    session = tiercel.InferenceSession(model(op, present, outputs, ranks, dtype, **attributes))
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    return session.run(None, feeds)


@pytest.fixture(params=[True, False], ids=["numba", "python"])
def compiled(request):
    return request.param


def test_one_input_and_an_attribute(compiled):
    @tiercel.custom_op("test", "Leaky", compile=compiled)
    def leaky(x: NDArray[F], slope: float = 0.5) -> NDArray[F]:
        return np.where(x > 0, x, slope * x)

    x = np.random.default_rng(0).standard_normal((3, 4, 5), F)
    expected = np.where(x > 0, x, F(0.5) * x)
    np.testing.assert_allclose(run("Leaky", x)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(run("Leaky", x, ranks=[("a", "b", "c")])[0], expected, rtol=1e-6)
    [y] = run("Leaky", x, slope=2.0)
    assert y.dtype == F
    np.testing.assert_allclose(y, np.where(x > 0, x, 2 * x), rtol=1e-6)
    np.testing.assert_array_equal(leaky(x), np.where(x > 0, x, 0.5 * x))


def test_type_variable_and_several_outputs(compiled):
    @tiercel.custom_op("test", "SumAndMax", compile=compiled)
    def sum_and_max(a: NDArray[T], b: NDArray[T]) -> tuple[NDArray[T], NDArray[np.int64]]:
        s = a + b
        return s, np.array([s.size, s.ndim])

    for dtype in (np.float32, np.float64, np.int64):
        a, b = np.arange(6).reshape(2, 3).astype(dtype), np.ones((2, 3), dtype)
        onnx_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        s, facts = run("SumAndMax", a, b, outputs=2, dtype=onnx_type)
        assert s.dtype == dtype and facts.tolist() == [6, 2]
        np.testing.assert_array_equal(s, a + b)
    with pytest.raises(tiercel.InvalidGraph, match="float double int64"):
        run("SumAndMax", a, b, outputs=2, dtype=TensorProto.UINT8)


class Alias:
    """A subscriptable alias as a ``type`` statement of Python 3.12 makes it."""

    def __init__(self, value):
        self.__value__ = value

    def __getitem__(self, item):
        return types.GenericAlias(self, item)


E = TypeVar("E", bound=np.generic)
Line = Alias(np.ndarray[Any, np.dtype[E]])  # numpy's NDArray is of this kind since 2.5
Ones = Alias(Line[F] | None)


def test_aliases_of_arrays():
    @tiercel.custom_op("test", "Aliased", compile=False)
    def aliased(x: Line[T], y: Line[T] | None = None, z: Ones = None) -> Line[T]:
        return x + (x if y is None else y) + (x if z is None else z)

    x = np.arange(6, dtype=F)
    np.testing.assert_array_equal(run("Aliased", x)[0], 3 * x)
    np.testing.assert_array_equal(run("Aliased", x, None, x * 2)[0], 4 * x)


def test_optional_input_lists_and_strings(compiled):
    @tiercel.custom_op("test", "Pick", compile=compiled)
    def pick(
        x: NDArray[F],
        bias: NDArray[F] | None = None,
        indices: list[int] = (0,),
        mode: str = "plain",
    ) -> NDArray[F]:
        out = np.empty((len(indices), x.shape[1]), np.float32)
        for i in range(len(indices)):
            out[i] = x[indices[i]]
            if bias is not None:
                out[i] += bias
            if mode == "twice":
                out[i] *= 2
        return out

    x = np.arange(12, dtype=F).reshape(4, 3)
    bias = np.ones(3, F)
    np.testing.assert_array_equal(run("Pick", x)[0], x[:1])
    np.testing.assert_array_equal(run("Pick", x, bias, indices=[3, 1])[0], x[[3, 1]] + 1)
    np.testing.assert_array_equal(
        run("Pick", x, None, indices=[2, 2], mode="twice")[0], x[[2, 2]] * 2
    )


def test_scalars_and_empty_arrays(compiled):
    @tiercel.custom_op("test", "Total", compile=compiled)
    def total(x: NDArray[F]) -> NDArray[F]:
        return x.sum()

    @tiercel.custom_op("test", "Same", compile=compiled)
    def same(x: NDArray[F]) -> NDArray[F]:
        return x * np.float32(2)

    [y] = run("Total", np.ones((3, 4), F))
    assert y.shape == () and y == 12
    [y] = run("Same", np.ones((0, 4), F))
    assert y.shape == (0, 4)
    [y] = run("Same", np.array(3, F))
    assert y.shape == () and y == 6


def test_shape_function_serves_inference_and_is_checked(compiled):
    @tiercel.custom_op("test", "Halve", compile=compiled)
    def halve(x: NDArray[F], wrong: int = 0) -> NDArray[F]:
        return x[: x.shape[0] // 2 + wrong]

    @halve.shape
    def _(x, wrong):
        return None if x is None else (x[0] // 2 if isinstance(x[0], int) else None, *x[1:])

    session = tiercel.InferenceSession(model("Halve", [True], ranks=[(6, "n")]))
    assert session.get_outputs()[0].shape == [3, "n"]
    x = np.arange(12, dtype=F).reshape(6, 2)
    np.testing.assert_array_equal(session.run(None, {"x0": x})[0], x[:3])
    with pytest.raises(tiercel.InvalidArgument, match=r'"it".*shape \[4, 2\].*says \[3, 2\]'):
        run("Halve", x, wrong=1)


def test_between_other_operators_with_changing_shapes(compiled):
    @tiercel.custom_op("test", "Keep", compile=compiled)
    def keep(x: NDArray[F]) -> NDArray[F]:
        flat = x.ravel()
        return flat[flat > 0]

    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Keep", ["n"], ["k"], domain="test"),
        helper.make_node("Mul", ["k", "k"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["k"])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("test", 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    session = tiercel.InferenceSession(made.SerializeToString())
    rng = np.random.default_rng(1)
    for shape in [(3, 4), (5, 2), (1, 1), (0, 3), (3, 4)]:
        x = rng.standard_normal(shape, F)
        n = -x.ravel()
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], n[n > 0] ** 2)


def test_strings_run_in_python():
    @tiercel.custom_op("test", "Reverse", compile=False)
    def reverse(x: NDArray[np.str_]) -> NDArray[np.str_]:
        return np.array([s[::-1] for s in x.ravel()], object).reshape(x.shape)

    [y] = run("Reverse", np.array(["ab", "çé"], object), dtype=TensorProto.STRING)
    assert y.tolist() == ["ba", "éç"]


def test_bfloat16_runs_in_python():
    ml_dtypes = pytest.importorskip("ml_dtypes")

    @tiercel.custom_op("test", "Twice16", compile=False)
    def twice(x: NDArray[ml_dtypes.bfloat16]) -> NDArray[ml_dtypes.bfloat16]:
        return x + x

    x = np.arange(4).astype(ml_dtypes.bfloat16)
    [y] = run("Twice16", x, dtype=TensorProto.BFLOAT16)
    assert y.dtype == ml_dtypes.bfloat16 and y.tolist() == [0, 2, 4, 6]


def test_native_code_needs_neither_python_nor_the_gil():
    """A run goes on while this thread holds the GIL and never gives it away."""

    @tiercel.custom_op("test", "Slow", compile=True)
    def slow(x: NDArray[F], rounds: int = 1) -> NDArray[F]:
        y = x.copy()
        for _ in range(rounds):
            for i in range(y.size):
                y[i] = np.sqrt(y[i] + 1)
        return y

    session = tiercel.InferenceSession(model("Slow", [True], ranks=[("n",)], rounds=20_000))
    x = np.ones(1000, F)
    session.run(None, {"x0": np.ones(1000, F)})
    switching = sys.getswitchinterval()
    done = []
    thread = threading.Thread(target=lambda: done.append(session.run(None, {"x0": x})))
    sys.setswitchinterval(1e-4)
    try:
        thread.start()
        count = 0
        while not done:
            count += 1
    finally:
        sys.setswitchinterval(switching)
    thread.join()
    assert count > 1000  # this thread computed meanwhile


def test_exceptions_name_node_and_message(compiled):
    @tiercel.custom_op("test", "Picky", compile=compiled)
    def picky(x: NDArray[F]) -> NDArray[F]:
        if x.size > 3:
            raise ValueError("at most three elements")
        return x + 1

    assert run("Picky", np.zeros(2, F))[0].tolist() == [1, 1]
    with pytest.raises(tiercel.RuntimeException, match='"it".*at most three elements'):
        run("Picky", np.zeros(4, F))


def test_what_does_not_compile_is_refused_at_load():
    @tiercel.custom_op("test", "Opens", compile=True)
    def opens(x: NDArray[F]) -> NDArray[F]:
        return x + len(open("/dev/null").read())

    with pytest.raises(tiercel.NotImplemented, match=r'(?s)"it".*numba.*compile=False'):
        tiercel.InferenceSession(model("Opens", [True], ranks=[("n",)]))


def test_inputs_are_read_only_in_native_code():
    @tiercel.custom_op("test", "Writes", compile=True)
    def writes(x: NDArray[F]) -> NDArray[F]:
        x[0] = 1
        return x

    with pytest.raises(tiercel.NotImplemented, match=r"(?si)readonly"):
        tiercel.InferenceSession(model("Writes", [True], ranks=[("n",)]))


def test_results_of_another_kind_are_refused(compiled):
    @tiercel.custom_op("test", "Ints", compile=compiled)
    def ints(x: NDArray[F]) -> NDArray[np.int64]:
        return x * np.float32(1.5)

    with pytest.raises(tiercel.Error, match="float32.*annotation says int64"):
        run("Ints", np.zeros(2, F))


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: x, "no annotation"),
        (lambda *xs: xs, "not supported"),
    ],
)
def test_schema_errors(function, message):
    with pytest.raises(tiercel.InvalidArgument, match=message):
        tiercel.custom_op("test", "Bad")(function)


def test_annotations_that_say_no_schema():
    def no_array(x: dict) -> NDArray[F]:
        return x

    def no_result(x: NDArray[F]) -> float:
        return 1.0

    with pytest.raises(tiercel.InvalidArgument, match="neither an array"):
        tiercel.custom_op("test", "Bad")(no_array)
    with pytest.raises(tiercel.InvalidArgument, match="output_0.*no array"):
        tiercel.custom_op("test", "Bad")(no_result)


def test_built_in_names_are_kept():
    def relu(x: NDArray[F]) -> NDArray[F]:
        return x

    for domain in ("", "ai.onnx"):
        with pytest.raises(tiercel.InvalidArgument, match="ai.onnx.Relu is built in"):
            tiercel.custom_op(domain, "Relu")(relu)


def test_wrong_attributes_are_refused():
    @tiercel.custom_op("test", "Needs")
    def needs(x: NDArray[F], count: int) -> NDArray[F]:
        return x * np.float32(count)

    x = np.ones(2, F)
    assert run("Needs", x, count=3)[0].tolist() == [3, 3]
    with pytest.raises(tiercel.InvalidGraph, match='"it".*count is required'):
        run("Needs", x)
    with pytest.raises(tiercel.InvalidGraph, match='"it".*unknown attribute other'):
        run("Needs", x, count=3, other=1)
    with pytest.raises(tiercel.InvalidGraph, match="count is of another kind"):
        run("Needs", x, count=1.5)


def test_a_new_definition_leaves_old_sessions_alone():
    @tiercel.custom_op("test", "Changing")
    def first(x: NDArray[F]) -> NDArray[F]:
        return x + np.float32(1)

    old = tiercel.InferenceSession(model("Changing", [True], ranks=[("n",)]))

    @tiercel.custom_op("test", "Changing")
    def second(x: NDArray[F]) -> NDArray[F]:
        return x + np.float32(2)

    x = np.zeros(2, F)
    assert old.run(None, {"x0": x})[0].tolist() == [1, 1]
    assert run("Changing", x)[0].tolist() == [2, 2]


def test_deterministic_false_is_not_folded():
    calls = []

    @tiercel.custom_op("test", "Counting", compile=False, deterministic=False)
    def counting(x: NDArray[F]) -> NDArray[F]:
        calls.append(1)
        return x + len(calls)

    node = helper.make_node("Counting", ["c"], ["y"], domain="test")
    graph = helper.make_graph(
        [node],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        initializer=[onnx.numpy_helper.from_array(np.zeros(1, F), "c")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("test", 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    session = tiercel.InferenceSession(made.SerializeToString())
    first, second = session.run(None, {})[0], session.run(None, {})[0]
    assert second[0] == first[0] + 1

"""The C API on values and runs: tensors of every kind, ownership, stops and their errors."""

from __future__ import annotations

import ctypes as c
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx_models
import tiercel
from capi import Api, Failure, Release, array, constants, handles, load

C = constants()


def wrap(api: Api, values: np.ndarray, release=None, context=None) -> c.c_void_p:
    """A value over the array's own memory."""
    api.kept.append(values)
    dtype = helper.np_dtype_to_tensor_dtype(values.dtype)
    dims = array(c.c_int64, values.shape)
    return api.handle(
        "value_wrap", dtype, dims, values.ndim, values.ctypes.data, values.nbytes, release, context
    )


def strings(api: Api, texts: Sequence[bytes]) -> c.c_void_p:
    dims = array(c.c_int64, [len(texts)])
    lengths = array(c.c_size_t, [len(t) for t in texts])
    return api.handle("value_strings", dims, 1, array(c.c_char_p, texts), lengths)


def shape(api: Api, value: c.c_void_p) -> tuple[int, ...]:
    rank = api.get("value_rank", c.c_size_t, value)
    pointer = api.get("value_dims", c.c_void_p, value)
    return tuple(c.cast(pointer, c.POINTER(c.c_int64))[:rank]) if rank else ()


def numbers(api: Api, value: c.c_void_p) -> np.ndarray:
    """A copy of a tensor's elements."""
    dtype = helper.tensor_dtype_to_np_dtype(api.get("value_dtype", c.c_int32, value))
    count = api.get("value_count", c.c_int64, value)
    data = c.string_at(api.get("value_data", c.c_void_p, value), count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape(api, value)).copy()


def texts(api: Api, value: c.c_void_p) -> list[bytes]:
    out = []
    for index in range(api.get("value_count", c.c_int64, value)):
        text, length = c.c_void_p(), c.c_size_t()
        api.value_string(value, index, c.byref(text), c.byref(length))
        out.append(c.string_at(text.value, length.value))
    return out


def run(api: Api, session, feeds: dict[str, c.c_void_p], outputs: list, options=None) -> list:
    """All outputs in order; entries of `outputs` that are not None are written into."""
    slots = handles(outputs)
    names = array(c.c_char_p, [name.encode() for name in feeds])
    api.session_run(
        session, options, names, handles(feeds.values()), len(feeds), None, slots, len(outputs)
    )
    return [c.c_void_p(slots[i]) for i in range(len(outputs))]


def test_run_gives_values(api: Api) -> None:
    session = load(api, onnx_models.add())
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    (z,) = run(api, session, {"y": wrap(api, y), "x": wrap(api, x)}, [None])
    assert shape(api, z) == (2, 3)
    np.testing.assert_array_equal(numbers(api, z), x + y)
    api.session_release(session)
    np.testing.assert_array_equal(numbers(api, z), x + y)  # outlives its session
    api.value_release(z)


def test_inputs_in_order_and_output_by_name(api: Api) -> None:
    session = load(api, onnx_models.scale_shift())
    x = np.arange(3, dtype=np.float32)
    slots = handles([None])
    names = array(c.c_char_p, [b"y"])
    api.session_run(session, None, None, handles([wrap(api, x)]), 1, names, slots, 1)
    np.testing.assert_array_equal(numbers(api, c.c_void_p(slots[0])), x * 2 + 1)
    b = np.full(3, 5, np.float32)
    (y,) = run(api, session, {"x": wrap(api, x), "b": wrap(api, b)}, [None])
    np.testing.assert_array_equal(numbers(api, y), x * 2 + 5)


def test_output_in_the_caller_s_memory(api: Api) -> None:
    session = load(api, onnx_models.relu())
    x, y = np.array([-1, 2, -3, 4], np.float32), np.zeros(4, np.float32)
    bound = wrap(api, y)
    (given,) = run(api, session, {"x": wrap(api, x)}, [bound])
    assert given.value == bound.value
    np.testing.assert_array_equal(y, [0, 2, 0, 4])
    wrong = wrap(api, np.zeros(3, np.float32))
    with pytest.raises(Failure, match=r"bound to a tensor\(float\) of shape \[3\]"):
        run(api, session, {"x": wrap(api, x)}, [wrong])


def test_replaced_initializer(api: Api) -> None:
    options = api.handle("session_options_create")
    a = wrap(api, np.full(3, 10, np.float32))
    api.session_options_set_initializer(options, b"a", a)
    session = load(api, onnx_models.scale_shift(), options)
    x = np.arange(3, dtype=np.float32)
    (y,) = run(api, session, {"x": wrap(api, x)}, [None])
    np.testing.assert_array_equal(numbers(api, y), x * 10 + 1)


def test_borrowed_memory_is_given_back_once(api: Api) -> None:
    calls = []
    release = Release(lambda context: calls.append(context))
    values = np.zeros(4, np.float32)
    value = wrap(api, values, release, 5)
    assert calls == []
    api.value_release(value)
    assert calls == [5]
    with pytest.raises(Failure, match="has 16 bytes; got 8"):
        dims = array(c.c_int64, [4])
        api.handle("value_wrap", 1, dims, 1, values.ctypes.data, 8, release, 6)
    assert calls == [5, 6]


def test_bad_tensors(api: Api) -> None:
    data = np.zeros(16, np.uint8)
    dims = array(c.c_int64, [2])
    with pytest.raises(Failure, match="aligned to 4 bytes"):
        api.handle("value_wrap", 1, dims, 1, data.ctypes.data + 1, 8, None, None)
    with pytest.raises(Failure, match="element type 99"):
        api.handle("value_tensor", 99, dims, 1)
    with pytest.raises(Failure, match="negative extent"):
        api.handle("value_tensor", 1, array(c.c_int64, [-1]), 1)
    with pytest.raises(Failure, match="too many elements"):
        api.handle("value_tensor", 1, array(c.c_int64, [2**40, 2**40]), 2)
    with pytest.raises(Failure) as error:
        api.handle("value_tensor", 1, array(c.c_int64, [2**54]), 1)
    assert error.value.status == C["TCL_ERROR_RUNTIME"]
    with pytest.raises(Failure, match="value_strings"):
        api.handle("value_wrap", C["TCL_DTYPE_STRING"], dims, 1, data.ctypes.data, 16, None, None)
    with pytest.raises(Failure, match="data is NULL"):
        api.handle("value_wrap", 1, dims, 1, None, 8, None, None)


def test_library_tensor_is_zeros(api: Api) -> None:
    value = api.handle("value_tensor", C["TCL_DTYPE_INT64"], array(c.c_int64, [2, 3]), 2)
    np.testing.assert_array_equal(numbers(api, value), np.zeros((2, 3), np.int64))
    scalar = api.handle("value_tensor", C["TCL_DTYPE_FLOAT"], None, 0)
    assert shape(api, scalar) == () and api.get("value_count", c.c_int64, scalar) == 1
    empty = api.handle("value_tensor", C["TCL_DTYPE_STRING"], array(c.c_int64, [2]), 1)
    assert texts(api, empty) == [b"", b""]


def test_strings(api: Api) -> None:
    words = [b"falcon", "mâle".encode(), b"with\0zero", b""]
    session = load(api, onnx_models.identity(TensorProto.STRING))
    (out,) = run(api, session, {"x": strings(api, words)}, [None])
    assert texts(api, out) == words
    bound = strings(api, [b"a", b"b", b"c", b"d"])
    run(api, session, {"x": out}, [bound])
    assert texts(api, bound) == words
    ended = api.handle(
        "value_strings", array(c.c_int64, [1]), 1, array(c.c_char_p, [b"ends"]), None
    )
    assert texts(api, ended) == [b"ends"]
    with pytest.raises(Failure, match="string 4 of"):
        api.value_string(out, 4, c.byref(c.c_void_p()), None)
    with pytest.raises(Failure, match="value_string"):
        api.get("value_data", c.c_void_p, out)


def test_written_output_does_not_reach_the_model(api: Api) -> None:
    tensor = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"])
    node = helper.make_node("Identity", ["words"], ["y"])
    ports = [onnx_models.tensor("y", [2], TensorProto.STRING)]
    graph = helper.make_graph([node], "g", [], ports, [tensor])
    constant = load(api, helper.make_model(graph, ir_version=9))
    (first,) = run(api, constant, {}, [None])
    session = load(api, onnx_models.identity(TensorProto.STRING))
    run(api, session, {"x": strings(api, [b"x", b"y"])}, [first])
    assert texts(api, first) == [b"x", b"y"]
    (again,) = run(api, constant, {}, [None])
    assert texts(api, again) == [b"a", b"b"]


def sequence_model():
    """s = [x, y] as a sequence; z = its element 1."""
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "y"], ["s"]),
        helper.make_node("SequenceAt", ["s", "one"], ["z"]),
    ]
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    ports = [onnx_models.tensor(name, [2]) for name in "xyz"]
    one = {"one": np.array(1, np.int64)}
    return onnx_models.model(nodes, ports[:2], [sequence, ports[2]], one)


def test_sequence_output(api: Api) -> None:
    session = load(api, sequence_model())
    x, y = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    s, z = run(api, session, {"x": wrap(api, x), "y": wrap(api, y)}, [None, None])
    np.testing.assert_array_equal(numbers(api, z), y)
    assert api.get("value_kind", c.c_int32, s) == C["TCL_KIND_SEQUENCE"]
    assert api.get("value_length", c.c_size_t, s) == 2
    first = api.handle("value_element", s, 0)
    x[:] = 9  # the sequence has bytes of its own
    api.value_release(s)
    np.testing.assert_array_equal(numbers(api, first), [1, 2])
    feeds = {"x": wrap(api, x), "y": wrap(api, y)}
    with pytest.raises(Failure, match="part of a sequence"):
        run(api, session, feeds, [None, first])
    with pytest.raises(Failure, match="the model gives a sequence"):
        run(api, session, feeds, [wrap(api, y), None])


def test_sequence_and_wrong_kinds(api: Api) -> None:
    x = wrap(api, np.zeros(2, np.float32))
    sequence = api.handle("value_sequence", handles([x, x]), 2)
    assert api.get("value_length", c.c_size_t, sequence) == 2
    with pytest.raises(Failure, match="element 2 of a sequence of 2"):
        api.handle("value_element", sequence, 2)
    with pytest.raises(Failure, match="the value is a sequence; expected a tensor"):
        api.get("value_dtype", c.c_int32, sequence)
    with pytest.raises(Failure, match="the value is a tensor; expected a sequence"):
        api.get("value_length", c.c_size_t, x)
    none = api.handle("value_none")
    assert api.get("value_kind", c.c_int32, none) == C["TCL_KIND_NONE"]
    with pytest.raises(Failure, match="the value is empty; expected a map"):
        api.value_entries(none, c.byref(c.c_void_p()), c.byref(c.c_void_p()))
    session = load(api, onnx_models.relu())
    with pytest.raises(Failure, match="a sequence"):
        run(api, session, {"x": sequence}, [None])


def test_maps(api: Api) -> None:
    keys = strings(api, [b"a", b"b"])
    values = wrap(api, np.array([1, 2], np.float32))
    made = api.handle("value_map", keys, values)
    assert api.get("value_kind", c.c_int32, made) == C["TCL_KIND_MAP"]
    k, v = c.c_void_p(), c.c_void_p()
    api.value_entries(made, c.byref(k), c.byref(v))
    assert texts(api, k) == [b"a", b"b"]
    np.testing.assert_array_equal(numbers(api, v), [1, 2])
    with pytest.raises(Failure, match="a map has a vector"):
        api.handle("value_map", values, values)


def test_bad_runs(api: Api) -> None:
    session = load(api, onnx_models.add())
    x = wrap(api, np.zeros((1, 3), np.float32))
    for feeds, outputs, message in (
        ({"x": x}, [None], "Missing Input: y"),
        ({"x": x, "q": x}, [None], "Invalid input name: q"),
        ({"x": x, "y": x}, [None, None], "output_count is 2; the model has 1"),
        ({"x": x, "y": wrap(api, np.zeros((1, 3), np.int32))}, [None], "Unexpected input data"),
        ({"x": x, "y": wrap(api, np.zeros(3, np.float32))}, [None], "Invalid rank for input"),
    ):
        with pytest.raises(Failure, match=message) as error:
            run(api, session, feeds, outputs)
        assert error.value.status == C["TCL_ERROR_INVALID_ARGUMENT"]
    both = handles([x, x])
    slots = handles([None, None])
    twice = array(c.c_char_p, [b"z", b"z"])
    for inputs, output, count, message in (
        (array(c.c_char_p, [b"x", b"x"]), None, 1, "given twice"),
        (None, array(c.c_char_p, [b"w"]), 1, "Invalid output name: w"),
        (None, twice, 2, "asked for twice: z"),
    ):
        with pytest.raises(Failure, match=message):
            api.session_run(session, None, inputs, both, 2, output, slots, count)
        assert slots[0] is None
    with pytest.raises(Failure, match="got 3 inputs; the model takes 2"):
        api.session_run(session, None, None, handles([x, x, x]), 3, None, slots, 1)


def test_timeout(api: Api) -> None:
    session = load(api, onnx_models.endless_loop())
    options = api.handle("run_options_create")
    api.run_options_set_timeout(options, 0.05)
    start = time.monotonic()
    with pytest.raises(Failure, match="timeout") as error:
        run(api, session, {"x": wrap(api, np.zeros(1024, np.float32))}, [None], options)
    assert error.value.status == C["TCL_ERROR_TIMEOUT"]
    assert time.monotonic() - start < 5
    api.run_options_release(options)


def test_terminate(api: Api) -> None:
    session = load(api, onnx_models.endless_loop())
    options = api.handle("run_options_create")
    timer = threading.Timer(0.05, api.run_options_set_terminate, (options, 1))
    timer.start()
    feeds = {"x": wrap(api, np.zeros(1024, np.float32))}
    with pytest.raises(Failure, match="terminate"):
        run(api, session, feeds, [None], options)
    timer.join()
    relu = load(api, onnx_models.relu())
    x = {"x": wrap(api, np.zeros(4, np.float32))}
    with pytest.raises(Failure, match="terminate"):
        run(api, relu, x, [None], options)
    api.run_options_set_terminate(options, 0)
    run(api, relu, x, [None], options)


def test_many_threads_run_one_session(api: Api) -> None:
    session = load(api, onnx_models.add())
    failures = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            x, y = rng.standard_normal((2, 4, 3)).astype(np.float32)
            (z,) = run(api, session, {"x": wrap(api, x), "y": wrap(api, y)}, [None])
            if not np.array_equal(numbers(api, z), x + y):
                failures.append(seed)
            api.value_release(z)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_same_results_as_python(api: Api) -> None:
    model = onnx_models.add().SerializeToString()
    x, y = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    (expected,) = tiercel.InferenceSession(model).run(None, {"x": x, "y": y})
    (z,) = run(api, load(api, model), {"x": wrap(api, x), "y": wrap(api, y)}, [None])
    np.testing.assert_array_equal(numbers(api, z), expected)

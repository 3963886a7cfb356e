"""InferenceSession: what programs written for ONNX Runtime rely on."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx_models as models
import tiercel as ort

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(models.add().SerializeToString())


def test_run_gives_a_list(session: ort.InferenceSession) -> None:
    (z,) = session.run(None, {"x": X, "y": X})
    assert isinstance(z, np.ndarray) and z.dtype == np.float32
    np.testing.assert_array_equal(z, X + X)
    assert z.flags.writeable and z.flags.owndata is not None


@pytest.mark.parametrize("names", [None, [], ["z"], ("z",)])
def test_output_names(session: ort.InferenceSession, names: list[str] | None) -> None:
    assert len(session.run(names, {"x": X, "y": X})) == 1


def test_lists_and_strided_arrays(session: ort.InferenceSession) -> None:
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    (z,) = session.run(None, {"x": [[1, 2, 3], [4, 5, 6]], "y": wide[:, ::2]})
    np.testing.assert_array_equal(z, [[1, 4, 7], [10, 13, 16]])
    swapped = X.astype(">f4")
    np.testing.assert_array_equal(session.run(None, {"x": swapped, "y": X})[0], X + X)


def test_outputs_do_not_share_memory_with_inputs_or_weights() -> None:
    session = ort.InferenceSession(models.identity(TensorProto.FLOAT).SerializeToString())
    x = np.ones(4, np.float32)
    (y,) = session.run(None, {"x": x})
    y[:] = 5
    assert (x == 1).all()
    assert (session.run(None, {"x": x})[0] == 1).all()


def test_sources(tmp_path: Path) -> None:
    proto = models.add()
    data = proto.SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (str(path), path, data, bytearray(data), memoryview(data), proto):
        session = ort.InferenceSession(source)
        np.testing.assert_array_equal(session.run(None, {"x": X, "y": X})[0], X + X)
    with pytest.raises(TypeError, match="Unable to load from type"):
        ort.InferenceSession(17)


def test_introspection(session: ort.InferenceSession) -> None:
    x = session.get_inputs()[0]
    assert (x.name, x.type, x.shape) == ("x", "tensor(float)", ["n", 3])
    assert [arg.name for arg in session.get_outputs()] == ["z"]
    assert session.get_overridable_initializers() == []
    meta = session.get_modelmeta()
    assert meta.producer_name == "tests" and meta.custom_metadata_map == {"answer": "42"}
    assert meta.graph_name == "graph"
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert "sum" in session.explain()


def test_overridable_initializers() -> None:
    session = ort.InferenceSession(models.scale_shift().SerializeToString())
    assert [arg.name for arg in session.get_inputs()] == ["x"]
    assert [arg.name for arg in session.get_overridable_initializers()] == ["b"]
    x = np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x * 2 + 1)
    b = np.full(3, 10, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x, "b": b})[0], x * 2 + 10)


def test_add_initializer() -> None:
    options = ort.SessionOptions()
    options.add_initializer("a", ort.OrtValue.ortvalue_from_numpy(np.full(3, 5, np.float32)))
    session = ort.InferenceSession(models.scale_shift().SerializeToString(), options)
    np.testing.assert_array_equal(session.run(None, {"x": np.ones(3, np.float32)})[0], [6, 6, 6])


def test_call_with_keywords(session: ort.InferenceSession) -> None:
    results = session(x=X, y=X)
    assert list(results) == ["z"]
    np.testing.assert_array_equal(results["z"], X + X)


def test_with_and_close() -> None:
    with ort.InferenceSession(models.add().SerializeToString()) as session:
        session.run(None, {"x": X, "y": X})
    with pytest.raises(ort.Fail, match="closed"):
        session.run(None, {"x": X, "y": X})


@pytest.mark.parametrize("from_path", [True, False])
def test_pickle(tmp_path: Path, from_path: bool) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(models.add().SerializeToString())
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path if from_path else path.read_bytes(), options)
    again = pickle.loads(pickle.dumps(session))
    np.testing.assert_array_equal(again.run(None, {"x": X, "y": X})[0], X + X)
    assert again.get_session_options().intra_op_num_threads == 1


def test_run_async(session: ort.InferenceSession) -> None:
    done = threading.Event()
    seen: list[object] = []

    def callback(results: list[np.ndarray], data: object, error: str) -> None:
        seen.extend([results, data, error])
        done.set()

    session.run_async(None, {"x": X, "y": X}, callback, "mine")
    assert done.wait(20)
    results, data, error = seen
    assert data == "mine" and error == ""
    np.testing.assert_array_equal(results[0], X + X)  # type: ignore[index]
    done.clear()
    seen.clear()
    session.run_async(None, {"x": X}, callback, None)
    assert done.wait(20)
    assert seen[0] == [] and "y" in str(seen[2])


def test_many_threads(session: ort.InferenceSession) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        x = np.full((2, 3), seed, np.float32)
        for _ in range(200):
            if not (session.run(None, {"x": x, "y": x})[0] == 2 * seed).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_timeout() -> None:
    session = ort.InferenceSession(models.endless_loop().SerializeToString())
    start = time.perf_counter()
    with pytest.raises(ort.Timeout) as caught:
        session.run(None, {"x": np.ones(1024, np.float32)}, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert time.perf_counter() - start < 10


def test_terminate() -> None:
    session = ort.InferenceSession(models.endless_loop().SerializeToString())
    options = ort.RunOptions()
    timer = threading.Timer(0.2, lambda: setattr(options, "terminate", True))
    timer.start()
    with pytest.raises(ort.Fail):
        session.run(None, {"x": np.ones(1024, np.float32)}, options)
    timer.join()


@pytest.mark.parametrize(
    "dtype",
    [np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8]
    + [np.uint16, np.uint32, np.uint64, np.bool_, np.complex64, np.complex128]
    + [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
    + [ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float4_e2m1fn, ml_dtypes.int2, ml_dtypes.uint2],
)
def test_dtypes_pass_through(dtype: type) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    session = ort.InferenceSession(models.identity(number).SerializeToString())
    x = np.array([0, 1, 1, 0, 1], np.float32).astype(dtype)
    (y,) = session.run(None, {"x": x})
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype(np.float32), x.astype(np.float32))


def test_strings() -> None:
    session = ort.InferenceSession(models.identity(TensorProto.STRING).SerializeToString())
    for x in (np.array(["a", "bé"]), np.array(["a", "bé"], object), ["a", "bé"]):
        (y,) = session.run(None, {"x": x})
        assert y.dtype == object and y.tolist() == ["a", "bé"]


def test_sequences_and_optionals() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["x", "y"], ["s"])
    ports = [models.tensor("x", [2]), models.tensor("y", [2])]
    session = ort.InferenceSession(models.model([node], ports, [sequence]).SerializeToString())
    a, b = np.ones(2, np.float32), np.zeros(2, np.float32)
    (got,) = session.run(None, {"x": a, "y": b})
    assert isinstance(got, list) and len(got) == 2
    np.testing.assert_array_equal(got[0], a)
    node = helper.make_node("SequenceLength", ["s"], ["n"])
    ports = [models.tensor("n", [], TensorProto.INT64)]
    session = ort.InferenceSession(models.model([node], [sequence], ports).SerializeToString())
    assert session.run(None, {"s": [a, b, a]})[0] == 3


def test_profiling(tmp_path: Path) -> None:
    import json

    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile_")
    session = ort.InferenceSession(models.add().SerializeToString(), options)
    session.run(None, {"x": X, "y": X})
    events = json.loads(Path(session.end_profiling()).read_text())
    assert any(event.get("args", {}).get("op_name") for event in events)


def test_options_round_trip() -> None:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.unknown_key", "1")
    assert options.get_session_config_entry("session.unknown_key") == "1"
    with pytest.raises(RuntimeError, match="does not have configuration"):
        options.get_session_config_entry("other")
    options.add_free_dimension_override_by_name("n", 2)
    session = ort.InferenceSession(models.add().SerializeToString(), options)
    assert session.get_inputs()[0].shape == [2, 3]
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def test_optimized_model(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(models.scale_shift().SerializeToString(), options)
    session = ort.InferenceSession(tmp_path / "optimized.onnx")
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [3, 3, 3])

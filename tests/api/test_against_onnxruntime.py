"""The same program on both packages: what it sees, and what it is told when it is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx_models as models
import tiercel

onnxruntime = pytest.importorskip("onnxruntime")
BOTH = [tiercel, onnxruntime]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def session(ort: Any, proto: Any = None, options: Any = None) -> Any:
    data = (proto or models.add()).SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def same(check: Callable[[Any], Any]) -> Any:
    """The check's result, which both packages give."""
    ours, theirs = (check(ort) for ort in BOTH)
    assert ours == theirs
    return ours


def raised(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - the class is what we look at
        call()
    return type(caught.value).__name__, str(caught.value)


ENUMS = (
    "ExecutionMode ExecutionOrder GraphOptimizationLevel OrtAllocatorType OrtCompileApiFlags "
    "OrtDeviceMemoryType OrtDeviceVendorId OrtExecutionProviderDevicePolicy OrtHardwareDeviceType "
    "OrtMemType OrtMemoryInfoDeviceType OrtSparseFormat ModelPackageWriteMode"
).split()


@pytest.mark.parametrize("name", ENUMS)
def test_constants(name: str) -> None:
    def numbers(ort: Any) -> dict[str, int]:
        members = getattr(ort, name).__members__
        return {key: int(getattr(value, "value", value)) for key, value in members.items()}

    same(numbers)


@pytest.mark.parametrize("name", ["SessionOptions", "RunOptions"])
def test_defaults(name: str) -> None:
    theirs = getattr(onnxruntime, name)()
    ours = getattr(tiercel, name)()
    fields = [f for f in dir(theirs) if f[0] != "_" and not callable(getattr(theirs, f))]
    assert len(fields) >= 5
    for field in fields:
        mine, other = getattr(ours, field), getattr(theirs, field)
        number = getattr(other, "value", other)
        assert (mine if isinstance(mine, str) else int(mine)) == number, field
        setattr(ours, field, mine)
    for options in (ours, theirs):
        with pytest.raises(AttributeError):
            options.no_such_field = 1
        with pytest.raises(TypeError):
            options.logid = 3


def test_config_entries() -> None:
    def errors(ort: Any) -> list[tuple[str, str]]:
        options, run_options = ort.SessionOptions(), ort.RunOptions()
        return [
            raised(lambda: options.get_session_config_entry("absent")),
            raised(lambda: run_options.get_run_config_entry("absent")),
            raised(lambda: options.add_session_config_entry("", "1")),
            raised(lambda: options.add_session_config_entry("k" * 2000, "1")),
        ]

    same(errors)


def test_introspection() -> None:
    proto = models.add()
    proto.model_version = 3

    def facts(ort: Any) -> list[Any]:
        s = session(ort, proto)
        meta = s.get_modelmeta()
        return [
            [(a.name, a.type, a.shape, str(a)) for a in (*s.get_inputs(), *s.get_outputs())],
            [meta.producer_name, meta.graph_name, meta.domain, meta.description, meta.version],
            [meta.graph_description, meta.custom_metadata_map],
            [s.get_providers(), s.get_provider_options(), s.end_profiling()],
            [(m.name, int(getattr(m.allocator_type, "value", m.allocator_type)), m.device_id)
             for m in s.get_input_memory_infos()],
            [s.get_tuning_results(), s.set_tuning_results([]), s.release_captured_graph(0)],
            list(s.create_ortvalue_from_shape_and_type([2, 3], np.float32, "cpu").shape()),
            [d.ep_name for d in s.get_input_epdevices()],
        ]  # fmt: skip

    same(facts)


@pytest.mark.parametrize(
    "feeds",
    [
        {"x": X.astype(np.float64), "y": X},
        {"x": np.zeros((2, 4), np.float32), "y": X},
        {"x": np.zeros(3, np.float32), "y": X},
        {"x": X, "y": X, "w": X},
        {"x": X},
    ],
    ids=["type", "extent", "rank", "unknown", "missing"],
)
def test_wrong_feeds(feeds: dict[str, Any]) -> None:
    ours, theirs = (raised(lambda ort=ort: session(ort).run(None, feeds)) for ort in BOTH)
    assert ours[0] == theirs[0]
    assert ours[1].startswith(theirs[1])  # we may name the input too


def test_wrong_names_and_terminated_runs() -> None:
    def errors(ort: Any) -> list[tuple[str, str]]:
        s = session(ort)
        options = ort.RunOptions()
        options.terminate = True
        feeds = {"x": X, "y": X}
        return [
            raised(lambda: s.run(["q"], feeds)),
            raised(lambda: s.run(None, feeds, options)),
            raised(lambda: s.set_ep_dynamic_options({}))[:1],
        ]

    same(errors)


def test_an_output_twice() -> None:
    feeds = {"x": X, "y": X}
    for ort in BOTH:
        for z in session(ort).run(["z", "z"], feeds):
            np.testing.assert_array_equal(z, X + X)
    first, second = session(tiercel).run(["z", "z"], feeds)
    first[:] = 0
    np.testing.assert_array_equal(second, X + X)
    values = {name: tiercel.OrtValue.ortvalue_from_numpy(X) for name in "xy"}
    assert len(session(tiercel).run_with_ort_values(["z", "z"], values)) == 2


@pytest.mark.parametrize("source", [b"junk", "/no/such/model.onnx"])
def test_what_cannot_be_loaded(source: Any) -> None:
    ours, theirs = (raised(lambda ort=ort: ort.InferenceSession(source)) for ort in BOTH)
    assert ours[0] == theirs[0]
    assert ours[1].split(" : ")[:3] == theirs[1].split(" : ")[:3]


def test_graph_assignment() -> None:
    def assigned(ort: Any) -> list[Any]:
        options = ort.SessionOptions()
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        graphs = session(ort, None, options).get_provider_graph_assignment_info()
        return [(g.ep_name, [(n.name, n.op_type, n.domain) for n in g.get_nodes()]) for g in graphs]

    same(assigned)
    same(lambda ort: raised(session(ort).get_provider_graph_assignment_info)[0])


def test_values() -> None:
    def facts(ort: Any) -> list[Any]:
        value = ort.OrtValue.ortvalue_from_numpy(X.copy())
        shared = value.numpy().ctypes.data == value.data_ptr()
        words = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.zeros(2, np.uint16), 16)
        return [
            [value.shape(), value.data_type(), value.element_type(), value.device_name(), shared],
            [value.tensor_size_in_bytes(), value.is_tensor(), value.has_value()],
            [value.is_sparse_tensor(), value.is_tensor_sequence(), value.__dlpack_device__()],
            [words.data_type(), words.shape(), words.element_type()],
            raised(lambda: value.update_inplace([1])),
            np.from_dlpack(value).tolist(),
            np.asarray(value, np.float64).tolist(),
        ]

    same(facts)


def test_dlpack_between_the_packages() -> None:
    for there, here in ((tiercel, onnxruntime), (onnxruntime, tiercel)):
        value = here.OrtValue.from_dlpack(there.OrtValue.ortvalue_from_numpy(X.copy()))
        np.testing.assert_array_equal(value.numpy(), X)


def test_sparse() -> None:
    def facts(ort: Any) -> list[Any]:
        device = ort.OrtDevice.make("cpu", 0)
        values, at = np.array([1, 2, 3], np.float32), np.array([0, 4, 8])
        coo = ort.SparseTensor.sparse_coo_from_numpy([3, 3], values, at, device)
        outer = np.array([0, 1, 2, 3])
        csr = ort.SparseTensor.sparse_csr_from_numpy([3, 3], values, at % 3, outer, device)
        out = []
        for sparse in (coo, csr):
            form = sparse.format()
            out += [sparse.dense_shape(), sparse.data_type(), sparse.device_name()]
            out += [int(getattr(form, "value", form)), sparse.values().tolist()]
            out.append(ort.OrtValue.ort_value_from_sparse_tensor(sparse).data_type())
        out.append(coo.as_coo_view().indices().tolist())
        view = csr.as_csrc_view()
        return [*out, view.inner().tolist(), view.outer().tolist(), raised(coo.as_csrc_view)[0]]

    same(facts)


def test_binding() -> None:
    def results(ort: Any) -> list[Any]:
        s = session(ort)
        binding = s.io_binding()
        binding.bind_cpu_input("x", X)
        binding.bind_ortvalue_input("y", ort.OrtValue.ortvalue_from_numpy(X))
        binding.bind_output("z")
        s.run_with_iobinding(binding)
        copied = binding.copy_outputs_to_cpu()[0].tolist()
        vector = binding.get_outputs_as_ortvaluevector()
        return [copied, len(vector), raised(lambda: session(ort).run_with_iobinding(binding))]

    same(results)


def test_async() -> None:
    for ort in BOTH:
        done, seen = threading.Event(), []

        def callback(*given: Any, done: threading.Event = done, seen: list[Any] = seen) -> None:
            seen.extend(given)
            done.set()

        session(ort).run_async(["z"], {"x": X, "y": X}, callback, {"mine": 1})
        assert done.wait(30)
        np.testing.assert_array_equal(seen[0][0], X + X)
        assert seen[1] == {"mine": 1} and seen[2] == ""


def denoted() -> Any:
    proto = models.add()
    for port in proto.graph.input:
        port.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    return proto


def test_free_dimensions() -> None:
    def shapes(ort: Any) -> list[Any]:
        out = []
        for denotation in (False, True):
            options = ort.SessionOptions()
            if denotation:
                options.add_free_dimension_override_by_denotation("DATA_BATCH", 5)
            else:
                options.add_free_dimension_override_by_name("n", 5)
            out.append([arg.shape for arg in session(ort, denoted(), options).get_inputs()])
        return out

    assert same(shapes) == [[[5, 3], [5, 3]]] * 2


def external(folder: Path) -> bytes:
    """A model whose weight "w" is in w.bin, which is not written."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "12")):
        weight.external_data.add(key=key, value=value)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    proto = models.model([node], [models.tensor("x", [3])], [models.tensor("y", [3])])
    proto.graph.initializer.append(weight)
    return proto.SerializeToString()


@pytest.mark.parametrize("ort", BOTH, ids=["tiercel", "onnxruntime"])
def test_external_initializers_from_memory(ort: Any, tmp_path: Path) -> None:
    data, w, x = external(tmp_path), np.array([1, 2, 3], np.float32), np.ones(3, np.float32)
    options = ort.SessionOptions()
    options.add_external_initializers(["w"], [ort.OrtValue.ortvalue_from_numpy(w)])
    made = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(made.run(None, {"x": x})[0], x + w)
    options = ort.SessionOptions()
    file = w.tobytes()
    options.add_external_initializers_from_files_in_memory(["w.bin"], [file], [len(file)])
    made = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(made.run(None, {"x": x})[0], x + w)


def test_profiles_have_the_same_fields(tmp_path: Path) -> None:
    def events(ort: Any) -> list[dict[str, Any]]:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(tmp_path / ort.__name__)
        s = session(ort, None, options)
        s.run(None, {"x": X, "y": X})
        return json.loads(Path(s.end_profiling()).read_text())

    ours, theirs = events(tiercel), events(onnxruntime)
    loading = {"model_loading_array", "model_loading_uri"}
    names = {event["name"] for event in theirs} - loading
    kernels = {name for name in names if name.endswith("_kernel_time")}
    assert kernels <= {event["name"] for event in ours}
    assert names <= {event["name"] for event in ours}
    mine, other = (next(e for e in es if e["name"] in kernels) for es in (ours, theirs))
    assert set(other) <= set(mine)
    needed = {key for key in other["args"] if not key.startswith(("mem_", "thread_"))}
    assert needed <= set(mine["args"])
    for key in ("op_name", "provider", "input_type_shape", "output_type_shape", "output_size"):
        assert mine["args"][key] == other["args"][key], key

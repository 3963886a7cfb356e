"""The C API on sessions: loading, options, introspection, texts and their errors."""

from __future__ import annotations

import ctypes as c
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnx_models
import tiercel
from capi import Api, Failure, Release, array, constants, load

C = constants()


def text(api: Api, name: str, *arguments) -> str:
    return api.get(name, c.c_char_p, *arguments).decode()


def port(api: Api, session: c.c_void_p, role: str, index: int) -> c.c_void_p:
    return c.c_void_p(api.get("session_port", c.c_void_p, session, C[role], index))


def test_library(api: Api) -> None:
    assert api.version().decode() == tiercel.__version__
    assert api.api_version() == C["TCL_API_VERSION"]
    assert api.status_name(0) == b"SUCCESS"
    assert api.status_name(2) == b"INVALID_ARGUMENT"
    assert api.status_name(16) == b"OUT_OF_MEMORY"
    assert api.dtype_bytes(C["TCL_DTYPE_FLOAT"], 3) == 12
    assert api.dtype_bytes(C["TCL_DTYPE_INT4"], 3) == 2
    for dtype, count in ((0, 1), (99, 1), (C["TCL_DTYPE_STRING"], 1), (1, -1), (1, 2**62)):
        assert api.dtype_bytes(dtype, count) == -1
    names = [text(api, "available_provider", i) for i in range(api.available_provider_count())]
    assert names == tiercel.get_available_providers()
    with pytest.raises(Failure, match="provider 99"):
        api.get("available_provider", c.c_char_p, 99)


def test_load_from_path(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_models.relu().SerializeToString())
    session = api.handle("session_load", bytes(path), None)
    assert api.get("session_port_count", c.c_size_t, session, C["TCL_INPUT"]) == 1
    api.session_release(session)
    with pytest.raises(Failure, match="nowhere.onnx") as error:
        api.handle("session_load", b"nowhere.onnx", None)
    assert error.value.status == C["TCL_ERROR_NO_SUCH_FILE"]
    api.session_release(None)


def test_borrowed_bytes_are_given_back_once(api: Api) -> None:
    calls = []
    release = Release(lambda context: calls.append(context))
    data = onnx_models.scale_shift().SerializeToString()
    held = c.create_string_buffer(data, len(data))
    session = api.handle("session_load_memory", held, len(data), None, release, 7, None)
    assert calls == []
    api.session_release(session)
    assert calls == [7]
    with pytest.raises(Failure) as error:
        api.handle("session_load_memory", b"\xff" * 9, 9, None, release, 8, None)
    assert error.value.status == C["TCL_ERROR_INVALID_PROTOBUF"]
    assert calls == [7, 8]


def test_folder_of_external_data(api: Api, tmp_path: Path) -> None:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    (tmp_path / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    node = helper.make_node("Identity", ["w"], ["y"])
    graph = helper.make_graph([node], "g", [], [onnx_models.tensor("y", [4])], [tensor])
    data = helper.make_model(graph, ir_version=9).SerializeToString()
    session = api.handle("session_load_memory", data, len(data), bytes(tmp_path), None, None, None)
    api.session_release(session)
    with pytest.raises(Failure, match="without a folder"):
        load(api, data)


def test_ports(api: Api) -> None:
    session = load(api, onnx_models.add())
    x = port(api, session, "TCL_INPUT", 0)
    assert text(api, "port_name", x) == "x"
    assert text(api, "port_type", x) == "tensor(float)"
    assert api.get("port_kind", c.c_int32, x) == C["TCL_KIND_TENSOR"]
    assert api.get("port_dtype", c.c_int32, x) == C["TCL_DTYPE_FLOAT"]
    assert api.get("port_rank", c.c_int64, x) == 2
    symbol = c.c_char_p()
    extent = c.c_int64()
    api.port_extent(x, 0, c.byref(extent), c.byref(symbol))
    assert (extent.value, symbol.value) == (-1, b"n")
    api.port_extent(x, 1, c.byref(extent), c.byref(symbol))
    assert (extent.value, symbol.value) == (3, b"")
    api.port_extent(x, 1, c.byref(extent), None)
    with pytest.raises(Failure, match="axis 2 of a port of rank 2"):
        api.port_extent(x, 2, c.byref(extent), None)
    with pytest.raises(Failure, match="port 2: there are 2"):
        port(api, session, "TCL_INPUT", 2)
    with pytest.raises(Failure, match="role 3"):
        api.get("session_port_count", c.c_size_t, session, 3)
    api.session_release(session)


def test_overridable_ports(api: Api) -> None:
    session = load(api, onnx_models.scale_shift())
    counts = [api.get("session_port_count", c.c_size_t, session, role) for role in range(3)]
    assert counts == [1, 1, 1]
    assert text(api, "port_name", port(api, session, "TCL_OVERRIDABLE", 0)) == "b"
    api.session_release(session)


def test_model_facts(api: Api) -> None:
    model = onnx_models.add()
    model.producer_version, model.domain, model.doc_string = "7", "org.test", "what it does"
    model.model_version, model.graph.doc_string = 5, "graph doc"
    session = load(api, model)
    texts = [text(api, "session_model_text", session, which) for which in range(6)]
    assert texts == ["tests", "7", "org.test", "what it does", "graph", "graph doc"]
    with pytest.raises(Failure, match="there are 6"):
        text(api, "session_model_text", session, 6)
    version, ir = c.c_int64(), c.c_int64()
    api.session_model_version(session, c.byref(version), c.byref(ir))
    assert (version.value, ir.value) == (5, 10)
    assert api.get("session_opset", c.c_int64, session, b"") == 21
    assert api.get("session_opset", c.c_int64, session, b"ai.onnx") == 21
    with pytest.raises(Failure, match="ai.nobody") as error:
        api.get("session_opset", c.c_int64, session, b"ai.nobody")
    assert error.value.status == C["TCL_ERROR_NOT_FOUND"]
    assert api.get("session_metadata_count", c.c_size_t, session) == 1
    key, value = c.c_char_p(), c.c_char_p()
    api.session_metadata(session, 0, c.byref(key), c.byref(value))
    assert (key.value, value.value) == (b"answer", b"42")
    with pytest.raises(Failure, match="metadata entry 1"):
        api.session_metadata(session, 1, c.byref(key), c.byref(value))
    assert api.get("session_provider_count", c.c_size_t, session) == 1
    assert text(api, "session_provider", session, 0) == "CPUExecutionProvider"
    with pytest.raises(Failure, match="provider 1"):
        text(api, "session_provider", session, 1)
    api.session_release(session)


def test_explain_and_memory(api: Api) -> None:
    session = load(api, onnx_models.relu())
    assert "Relu" in api.owned_text("session_explain", session)
    arena, bound, weights = c.c_int64(-1), c.c_int64(-1), c.c_int64(-1)
    api.session_memory(session, c.byref(arena), c.byref(bound), c.byref(weights))
    assert min(arena.value, bound.value, weights.value) >= 0
    api.session_memory(session, None, None, None)
    api.session_release(session)


def test_options_change_the_session(api: Api, tmp_path: Path) -> None:
    options = api.handle("session_options_create")
    api.session_options_set_threads(options, 1)
    api.session_options_set_optimization(options, C["TCL_OPTIMIZE_NONE"])
    api.session_options_set_extent(options, b"n", 4)
    api.session_options_set_extent(options, b"n", 5)
    api.session_options_set_config(options, b"session.key", b"1")
    api.session_options_add_provider(options, b"CPUExecutionProvider", None, None, 0)
    api.session_options_enable_profiling(options, bytes(tmp_path / "profile_"))
    session = load(api, onnx_models.add(), options)
    api.session_options_release(options)
    explained = api.owned_text("session_explain", session)
    assert ", 1 threads" in explained and "fold" not in explained
    extent = c.c_int64()
    api.port_extent(port(api, session, "TCL_INPUT", 0), 0, c.byref(extent), None)
    assert extent.value == 5
    path = api.owned_text("session_end_profiling", session)
    assert path.startswith(str(tmp_path / "profile_"))
    assert json.loads(Path(path).read_text())
    api.session_release(session)


def test_disabled_pass(api: Api) -> None:
    options = api.handle("session_options_create")
    api.session_options_disable_pass(options, b"fold")
    session = load(api, onnx_models.add(), options)
    explained = api.owned_text("session_explain", session)
    assert not re.search(r"^  fold ", explained, re.M) and re.search(r"^  dce ", explained, re.M)
    assert api.owned_text("session_end_profiling", session) == ""
    api.session_release(session)
    api.session_options_release(options)


def test_unknown_provider(api: Api) -> None:
    options = api.handle("session_options_create")
    keys, values = array(c.c_char_p, [b"device"]), array(c.c_char_p, [b"0"])
    api.session_options_add_provider(options, b"MoonExecutionProvider", keys, values, 1)
    with pytest.raises(Failure, match="MoonExecutionProvider") as error:
        load(api, onnx_models.add(), options)
    assert error.value.status == C["TCL_ERROR_PROVIDER"]
    with pytest.raises(Failure, match="keys is NULL"):
        api.session_options_add_provider(options, b"x", None, None, 1)
    api.session_options_release(options)


def test_bad_options(api: Api) -> None:
    options = api.handle("session_options_create")
    with pytest.raises(Failure, match="threads is -1"):
        api.session_options_set_threads(options, -1)
    with pytest.raises(Failure, match="optimization level 7"):
        api.session_options_set_optimization(options, 7)
    with pytest.raises(Failure, match="extent is -2"):
        api.session_options_set_extent(options, b"n", -2)
    with pytest.raises(Failure, match="options is NULL"):
        api.session_options_set_threads(None, 1)
    api.session_options_release(options)
    run = api.handle("run_options_create")
    for seconds in (-1.0, float("nan")):
        with pytest.raises(Failure, match="timeout is"):
            api.run_options_set_timeout(run, seconds)
    api.run_options_release(run)


def test_every_function_refuses_null(api: Api) -> None:
    """All pointers NULL and all numbers 0: an error, never a crash."""
    for name, (result, parameters) in api.signatures.items():
        if result != "TclStatus" or not parameters:
            continue
        zeros = [None if "*" in p or p.startswith("TclReleaseFn") else 0 for p in parameters]
        status = getattr(api.library, name)(*zeros)
        assert status == C["TCL_ERROR_INVALID_ARGUMENT"], name
        assert b"NULL" in api.library.tcl_error_message(), name


def test_errors_belong_to_their_thread(api: Api) -> None:
    with pytest.raises(Failure, match="options is NULL"):
        api.session_options_set_threads(None, 1)
    seen = []

    def other() -> None:
        seen.append((api.library.tcl_error_status(), api.library.tcl_error_message()))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [(0, b"")]
    assert api.library.tcl_error_message() == b"options is NULL; expected a pointer"

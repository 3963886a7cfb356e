"""Threads: forks, affinity, callers that change shapes at once, and the float mode of workers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import tiercel as ort

RNG = np.random.default_rng(11)
WEIGHT = RNG.standard_normal((256, 256), np.float32)


def product() -> ModelProto:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 256]) for name in ("x", "y")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Tanh", ["p"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["y"]),
    ]
    weight = numpy_helper.from_array(WEIGHT, "w")
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def session(threads: int, **entries: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    for key, value in entries.items():
        options.add_session_config_entry(f"session.{key}", value)
    return ort.InferenceSession(product().SerializeToString(), options)


def test_a_forked_child_has_threads_of_its_own() -> None:
    shared = session(2)
    x = RNG.standard_normal((300, 256), np.float32)
    expected = shared.run(None, {"x": x})[0]
    child = os.fork()
    if child == 0:
        right = shared.run(None, {"x": x})[0].tobytes() == expected.tobytes()
        os._exit(0 if right else 1)
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        threading.Event().wait(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0
    assert shared.run(None, {"x": x})[0].tobytes() == expected.tobytes()


def test_affinity_limits_the_threads() -> None:
    code = (
        "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import tiercel; sys.stdout.write(tiercel.InferenceSession(sys.stdin.buffer.read())"
        ".explain().splitlines()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=product().SerializeToString(), capture_output=True
    )
    assert done.stdout.decode().endswith(", 1 threads"), done.stderr.decode()


def test_callers_with_shapes_of_their_own() -> None:
    """More callers than idle contexts and more shapes than plans, all at once."""
    shared = session(2)
    alone = session(1)
    xs = [RNG.standard_normal((n, 256), np.float32) for n in range(1, 25)]
    expected = [alone.run(None, {"x": x})[0].tobytes() for x in xs]
    wrong: list[str] = []

    def call(start: int) -> None:
        for turn in range(60):
            i = (start * 7 + turn * (1 + start % 3)) % len(xs)
            if shared.run(None, {"x": xs[i]})[0].tobytes() != expected[i]:
                wrong.append(f"caller {start}, turn {turn}")

    callers = [threading.Thread(target=call, args=(i,)) for i in range(12)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert shared._sess.memory()["plans"] <= 17


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_as_zero(threads: int) -> None:
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("x", "s", "y")]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "s"], ["y"])], "g", ports[:2], ports[2:]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = np.full(500_000, 1e-30, np.float32)
    s = np.full(500_000, 1e-10, np.float32)
    for flush in ("0", "1"):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.set_denormal_as_zero", flush)
        made = ort.InferenceSession(proto.SerializeToString(), options)
        (y,) = made.run(None, {"x": x, "s": s})
        assert (y == 0).all() == (flush == "1")
        assert (y == y[0]).all()
    assert np.float32(1e-30) * np.float32(1e-10) != 0  # this thread's mode is as it was

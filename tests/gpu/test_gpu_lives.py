"""Values of a GPU beside runs of other threads, in places where the host reads, after failures."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

import softcuda
import tiercel
from gpu_models import CUDA, cpu_session, gpu_session, model, normal
from tiercel import OrtValue

X = normal(3, 4)


class Slow:
    """What the operator below does while a run holds the GPU."""

    started = threading.Event()
    go_on = threading.Event()


@tiercel.custom_op("gpu.lives", "Wait", compile=False)
def wait(x: NDArray[np.float32]) -> NDArray[np.float32]:
    Slow.started.set()
    Slow.go_on.wait(0.3)
    return x


@wait.shape
def wait_shape(x: object) -> object:
    return x


def waiting_session() -> tiercel.InferenceSession:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Wait", ["a"], ["b"], domain="gpu.lives"),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, 1, [3, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("gpu.lives", 1)]
    return gpu_session(helper.make_model(graph, opset_imports=opsets, ir_version=10))


CUPY_LIKE = """
class Array:
    __cuda_array_interface__ = {
        "shape": (3, 4), "typestr": "<f4", "data": (value.data_ptr(), False), "version": 3,
        "stream": 1,
    }
"""
USES = [
    "OrtValue.ortvalue_from_numpy(x, 'cuda')",
    "OrtValue.ortvalue_from_shape_and_type([3, 4], np.float32, 'cuda')",
    "value.numpy()",
    "value.to('cpu')",
    "value.update_inplace(x)",
    "value.__dlpack__(stream=1)",
    "OrtValue.from_dlpack(value)",
    "session.run(None, {'x': Array()})",
    "_core.take_back_device_memory(_core.lend_device_memory('cuda', 0, 64, 1), 1)",
]


@pytest.mark.parametrize("use", USES)
def test_nobody_waits_for_a_run_that_waits_for_python(
    cuda_driver: softcuda.Device, use: str
) -> None:
    text = f"""
    import faulthandler, sys, threading
    faulthandler.dump_traceback_later(30, exit=True)
    sys.path[:0] = {sys.path!r}
    import numpy as np
    from test_gpu_lives import Slow, waiting_session
    from tiercel import OrtValue, _core
    x = np.ones((3, 4), np.float32)
    session = waiting_session()
    value = OrtValue.ortvalue_from_numpy(x, 'cuda')
    {textwrap.indent(CUPY_LIKE, "    ").strip()}
    thread = threading.Thread(target=session.run, args=(None, {{'x': x}}))
    thread.start()
    Slow.started.wait()
    {use}
    thread.join()
    """
    program = textwrap.dedent(text)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


CHAIN = """g (float[n,6] x) => (float[n,4] y, float[n,8] q) {
  p = MatMul(x, w)
  q = Softmax(p)
  r = MatMul(q, v)
  y = Relu(r)
}"""


@pytest.mark.parametrize("graphs", [0, 1])
def test_threads_mix_memories_shapes_and_values(cuda_driver: softcuda.Device, graphs: int) -> None:
    made = model(CHAIN, w=normal(6, 8, seed=1), v=normal(8, 4, seed=2))
    session = gpu_session(made, enable_cuda_graph=graphs)
    host = cpu_session(made)

    def work(i: int) -> None:
        for turn in range(6):
            x = normal(2 + (i + turn) % 3, 6, seed=10 * i + turn)
            want = host.run(None, {"x": x})
            feed: Any = OrtValue.ortvalue_from_numpy(x, "cuda") if turn % 2 else x
            if i % 2:
                binding = session.io_binding()
                held = feed if turn % 2 else OrtValue.ortvalue_from_numpy(x)
                binding.bind_ortvalue_input("x", held)
                binding.bind_output("y", "cuda")
                binding.bind_output("q", "cpu" if turn % 3 else "cuda")
                session.run_with_iobinding(binding)
                got = binding.copy_outputs_to_cpu()
            else:
                got = session.run(None, {"x": feed})
            if (i, turn) == (0, 3):
                session.release_memory()
            for one, other in zip(got, want, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5)

    in_threads(4, work)


def test_values_made_while_others_record_are_their_own(cuda_driver: softcuda.Device) -> None:
    lines = "\n".join(f"p{i} = Softmax(p{i - 1})" for i in range(1, 30))
    made = model(f"g (float[64,64] p0) => (float[64,64] y) {{ {lines}\n y = MatMul(p29, p29) }}")
    x = normal(64, 64)
    [want] = cpu_session(made).run(None, {"p0": x})

    def work(i: int) -> None:
        for turn in range(6):
            if i == 0:
                session = gpu_session(made, enable_cuda_graph=1)
                for _ in range(4):
                    np.testing.assert_allclose(session.run(None, {"p0": x})[0], want, rtol=1e-4)
                continue
            for step in range(30):
                array = np.full((64, 64), 100 * i + turn + step, np.float32)
                value = OrtValue.ortvalue_from_numpy(array, "cuda")
                np.testing.assert_array_equal(value.numpy(), array)

    in_threads(3, work)


def test_a_run_that_plans_a_body_and_one_that_plans_a_model(cuda_driver: softcuda.Device) -> None:
    text = """g (bool c, float[n,4] x) => (float[n,4] y) {
      z = Exp(x)
      y = If(c) <
        then_branch = t () => (float[n,4] a) { m = MatMul(z, w)  a = Add(m, u) },
        else_branch = e () => (float[n,4] b) { l = MatMul(z, u)  b = Sub(l, w) }
      >
    }"""
    made = model(text, w=normal(4, 4, seed=1), u=normal(4, 4, seed=2))
    host = cpu_session(made)

    def work(i: int) -> None:
        for turn in range(3):
            session = gpu_session(made)
            feeds = {"c": np.array(bool((i + turn) % 2)), "x": normal(4, 4, seed=i)}
            [want] = host.run(None, feeds)
            np.testing.assert_allclose(session.run(None, feeds)[0], want, rtol=1e-4)

    in_threads(4, work)


def test_initializers_and_parts_of_values_go_to_the_host(cuda_driver: softcuda.Device) -> None:
    made = model("g (float[3,4] x) => (float[3,4] y) { y = Add(x, w) }", w=np.zeros((3, 4), "f4"))
    options = tiercel.SessionOptions()
    options.add_initializer("w", OrtValue.ortvalue_from_numpy(X, "cuda"))
    session = tiercel.InferenceSession(made.SerializeToString(), options, [CUDA])
    np.testing.assert_allclose(session.run(None, {"x": X})[0], X + X)
    sequence = model("g (seq(float[3,4]) s, int64 i) => (float[3,4] y) { y = SequenceAt(s, i) }")
    session = gpu_session(sequence)
    values = [OrtValue.ortvalue_from_numpy(X + i, "cuda") for i in range(2)]
    [y] = session.run(None, {"s": values, "i": np.array(1)})
    np.testing.assert_array_equal(y, X + 1)


def test_optional_tensors_of_the_gpu_are_read(cuda_driver: softcuda.Device) -> None:
    made = model(
        "g (optional(float[3,4]) o) => (float[3,4] y) { e = OptionalGetElement(o)  y = Neg(e) }"
    )
    session = gpu_session(made)
    [y] = session.run(None, {"o": OrtValue.ortvalue_from_numpy(X, "cuda")})
    np.testing.assert_array_equal(y, -X)


def test_empty_arrays_come_by_dlpack(cuda_driver: softcuda.Device) -> None:
    for shape in ((2, 0), (0, 3), (2, 0, 3)):
        value = OrtValue.from_dlpack(np.zeros(shape, np.float32))
        assert value.shape() == list(shape)
        there = OrtValue.from_dlpack(value.to("cuda"))
        assert there.numpy().shape == shape


def test_what_was_written_is_there_for_every_stream(cuda_driver: softcuda.Device) -> None:
    memory = cuda_driver.upload(np.zeros((3, 4), np.float32))
    binding = gpu_session(model("g (float[3,4] x) => (float[3,4] y) { y = Neg(x) }")).io_binding()
    binding.bind_input("x", "cuda", 0, np.float32, (3, 4), memory.pointer)
    [held] = binding._inputs.values()
    OrtValue(held).update_inplace(X)
    np.testing.assert_array_equal(memory.numpy(), X)


def test_bound_outputs_of_unknown_shapes_end_with_the_run(cuda_driver: softcuda.Device) -> None:
    made = model("g (float[3,4] x) => (int64[2,k] y) { i = NonZero(x)  y = Neg(i) }")
    session = gpu_session(made)
    target = cuda_driver.upload(np.zeros((2, 12), np.int64))
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.ones((3, 4), np.float32))
    binding.bind_output("y", "cuda", 0, np.int64, (2, 12), target.pointer)
    session.run_with_iobinding(binding)
    np.testing.assert_array_equal(target.numpy(), -np.array(np.nonzero(np.ones((3, 4)))))


@pytest.mark.parametrize("graphs", [0, 1])
def test_a_session_works_on_after_runs_that_fail(cuda_driver: softcuda.Device, graphs: int) -> None:
    text = (
        "g (int64[2] i, float[k] s) => (float[2,8] y, float z) { y = Gather(w, i)  z = Add(s, s) }"
    )
    made = model(text, w=normal(6, 8))
    session = gpu_session(made, enable_cuda_graph=graphs)
    good = {"i": np.array([0, 5]), "s": np.ones(1, np.float32)}
    first = session.run(None, good)
    for bad in ({"i": np.array([0, 6])}, {"i": np.array([0, 9])}):
        with pytest.raises(tiercel.InvalidArgument, match="Gather"):
            session.run(None, good | bad)
        for _ in range(3):
            for one, other in zip(session.run(None, good), first, strict=True):
                assert one.tobytes() == other.tobytes()


def test_values_outlive_their_session(cuda_driver: softcuda.Device) -> None:
    session = gpu_session(model("g (float[3,4] x) => (float[3,4] y) { y = Neg(x) }"))
    [value] = session.run_with_ort_values(None, {"x": OrtValue.ortvalue_from_numpy(X, "cuda")})
    binding = session.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_output("y", "cuda")
    session.run_with_iobinding(binding)
    [bound] = binding.get_outputs()
    session.release_memory()
    del session, binding
    for one in (value, bound):
        np.testing.assert_array_equal(one.numpy(), -X)


def lstm_without_y(op: str) -> onnx.ModelProto:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    text = f"""g (float[2,1,4] x) => (int64[3,k] z) {{
      t = NonZero(x)  f = Cast<to=1>(t)  s = ReduceSum<keepdims=0>(f)  v = Mul(x, s)
      _, h = {op}<hidden_size=5>(v, w, r)
      z = NonZero(h)
    }}"""
    made = model(text.replace("_, h", "n, h"), w=normal(1, gates * 5, 4), r=normal(1, gates * 5, 5))
    [node] = [node for node in made.graph.node if node.op_type == op]
    node.output[0] = ""
    return made


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_the_cost_of_nodes_without_their_first_output(
    cuda_driver: softcuda.Device, op: str
) -> None:
    made = lstm_without_y(op)
    session = tiercel.InferenceSession(made.SerializeToString(), providers=[CUDA])
    x = normal(2, 1, 4)
    feeds = {"x": x}
    for got, want in zip(session.run(None, feeds), cpu_session(made).run(None, feeds), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_interpreter_may_end_with_all_of_it(cuda_driver: softcuda.Device) -> None:
    text = f"""
    import sys
    sys.path[:0] = {sys.path!r}
    import numpy as np
    from gpu_models import gpu_session, model
    from tiercel import OrtValue
    x = np.ones((3, 4), np.float32)
    session = gpu_session(model("g (float[3,4] x) => (float[3,4] y) {{ y = Neg(x) }}"))
    value = OrtValue.ortvalue_from_numpy(x, 'cuda')
    unused, used = value.__dlpack__(stream=1), OrtValue.from_dlpack(value)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", used)
    binding.bind_output("y", "cuda")
    session.run_with_iobinding(binding)
    import builtins
    builtins.kept = [unused, used, binding, session, value, binding.get_outputs()]
    """
    program = textwrap.dedent(text)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_initializers_may_be_given_on_the_gpu(cuda_driver: softcuda.Device) -> None:
    text = """g (float[3,4] x, bool c) => (float[3,4] y, int64[3] s, float[4,3] r) {
      y = If(c) <
        then_branch = t () => (float[3,4] a) { a = Add(x, w) },
        else_branch = e () => (float[3,4] b) { b = Sub(x, w) }
      >
      d = Shape(w)
      one = Shape(d)
      s = Concat<axis=0>(d, one)
      r = Transpose(w)
    }"""
    made = model(text, w=normal(3, 4, seed=1))
    made.graph.input.append(helper.make_tensor_value_info("w", 1, [3, 4]))
    session = gpu_session(made)
    w = normal(3, 4, seed=2)
    for place in ("cpu", "cuda"):
        for c in (True, False):
            feeds: dict[str, Any] = {"c": np.array(c)}
            for name, array in (("x", X), ("w", w)):
                feeds[name] = OrtValue.ortvalue_from_numpy(array, place)
            y, s, r = session.run(None, feeds)
            np.testing.assert_allclose(y, X + w if c else X - w)
            np.testing.assert_array_equal(s, [3, 4, 2])
            np.testing.assert_array_equal(r, w.T)
            y = session.run(["y"], {"x": feeds["x"], "c": feeds["c"]})[0]
            np.testing.assert_allclose(y, X + normal(3, 4, seed=1) * (1 if c else -1), rtol=1e-6)


def test_empty_values_on_the_gpu(cuda_driver: softcuda.Device) -> None:
    text = """g (float[n,4] x) => (float[n,4] y, float[4] s, float[n,5] p, float[m,4] j) {
      y = Exp(x)
      s = ReduceSum<keepdims=0>(x, a)
      p = MatMul(x, w)
      j = Concat<axis=0>(x, y)
    }"""
    made = model(text, a=np.array([0]), w=normal(4, 5))
    for graphs in (0, 1):
        session = gpu_session(made, enable_cuda_graph=graphs)
        for rows in (0, 0, 0, 2, 0):
            x = normal(rows, 4)
            want = cpu_session(made).run(None, {"x": x})
            binding = session.io_binding()
            binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(x, "cuda"))
            for name in "ysp":
                binding.bind_output(name, "cuda")
            target = OrtValue.ortvalue_from_shape_and_type([2 * rows, 4], np.float32, "cuda")
            binding.bind_ortvalue_output("j", target)
            session.run_with_iobinding(binding)
            for one, other in zip(binding.copy_outputs_to_cpu(), want, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5)


def test_packed_elements_are_no_arrays_of_other_libraries(cuda_driver: softcuda.Device) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    value = OrtValue.ortvalue_from_numpy(np.arange(6).astype(ml_dtypes.int4), "cuda")
    assert not hasattr(value, "__cuda_array_interface__")
    np.testing.assert_array_equal(value.numpy().astype(int), np.arange(6))


def test_outputs_of_unknown_shapes_go_to_memories_of_other_streams(
    cuda_driver: softcuda.Device,
) -> None:
    made = model("g (float[3,4] x) => (int64[2,k] y) { i = NonZero(x)  y = Neg(i) }")
    streams = [softcuda.device.Stream(cuda_driver) for _ in range(2)]
    sessions = [gpu_session(made, user_compute_stream=s.handle.value) for s in streams]

    def made_by(session: tiercel.InferenceSession) -> OrtValue:
        binding = session.io_binding()
        binding.bind_cpu_input("x", np.ones((3, 4), np.float32))
        binding.bind_output("y", "cuda")
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    values = [made_by(session) for session in sessions]
    want = -np.array(np.nonzero(np.ones((3, 4))))

    def work(i: int) -> None:
        for _ in range(10):
            binding = sessions[i].io_binding()
            binding.bind_cpu_input("x", np.ones((3, 4), np.float32))
            binding.bind_ortvalue_output("y", values[1 - i])
            sessions[i].run_with_iobinding(binding)

    in_threads(2, work)
    for value in values:
        np.testing.assert_array_equal(value.numpy(), want)

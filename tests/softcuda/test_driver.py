"""The software driver: errors, memory, streams, events, graphs, as the CUDA documents say."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from softcuda import Array, Device, DeviceError, Module, Stream

Load = Callable[..., Module]
ADD = """// Adds a number to every element.
extern "C" __global__ void add(float* x, float by, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] += by;
}
extern "C" __global__ void twice(float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= 2;
}
extern "C" __global__ void __launch_bounds__(64) small(float* x) { x[threadIdx.x] = 1; }
extern "C" __global__ void dynamic(float* x) {
  extern __shared__ float s[];
  s[threadIdx.x] = 3;
  x[threadIdx.x] = s[threadIdx.x];
}
__device__ float scale = 2.5f;
extern "C" __global__ void scaled(float* x) { x[threadIdx.x] = scale; }
"""


@pytest.fixture
def module(device: Device) -> Module:
    """Kernels that add and double."""
    import softcuda

    return device.load(softcuda.compile_cuda(ADD, "add.cu"))


def add(module: Module, x: Array, by: float, stream: Stream | None = None) -> None:
    """Queues an addition."""
    module.launch("add", (1,), (64,), [x, float(by), x.shape[0]], stream=stream)


def code(device: Device, name: str, *arguments: object) -> int:
    """What a driver call returns."""
    return int(getattr(device.library, name)(*arguments))


def test_device_and_errors(device: Device) -> None:
    version, count, major = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    device.call("cuDriverGetVersion", ctypes.byref(version))
    device.call("cuDeviceGetCount", ctypes.byref(count))
    device.call("cuDeviceGetAttribute", ctypes.byref(major), 75, 0)
    assert version.value >= 12000 and count.value == 1 and major.value == 8
    assert code(device, "cuDeviceGet", ctypes.byref(count), 5) == 101
    name = ctypes.c_char_p()
    assert code(device, "cuGetErrorName", 700, ctypes.byref(name)) == 0
    assert name.value == b"CUDA_ERROR_ILLEGAL_ADDRESS"
    assert code(device, "cuGetErrorString", 12345, ctypes.byref(name)) == 1
    entry, status = ctypes.c_void_p(), ctypes.c_int()
    device.call(
        "cuGetProcAddress_v2", b"cuMemAlloc", ctypes.byref(entry), 12000, 0, ctypes.byref(status)
    )
    assert entry.value == ctypes.cast(device.library.cuMemAlloc_v2, ctypes.c_void_p).value


def test_memory(device: Device) -> None:
    before = device.statistic("live_bytes")
    x = device.upload(np.arange(10, dtype=np.int32))
    assert device.statistic("live_bytes") == before + 40
    out = np.zeros(10, np.int32)
    pointer = out.ctypes.data_as(ctypes.c_void_p)
    inside, size = ctypes.c_uint64(x.pointer + 8), ctypes.c_size_t
    device.call("cuMemcpyDtoH_v2", pointer, inside, size(32))
    np.testing.assert_array_equal(out[:8], np.arange(2, 10))
    assert code(device, "cuMemcpyDtoH_v2", pointer, inside, size(36)) == 1
    assert "leaves its allocation" in device.message()
    device.call("cuMemsetD32_v2", ctypes.c_uint64(x.pointer), ctypes.c_uint(7), size(3))
    np.testing.assert_array_equal(x.numpy()[:4], [7, 7, 7, 3])
    y = device.empty(10, np.int32)
    assert (y.numpy() == -1).all()
    device.call("cuMemcpyDtoD_v2", ctypes.c_uint64(y.pointer), ctypes.c_uint64(x.pointer), size(40))
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    x.free()
    y.free()
    assert device.statistic("live_bytes") == before
    with pytest.raises(DeviceError, match="INVALID_VALUE: free of what is no allocation"):
        x.free()
    large = ctypes.c_uint64()
    assert code(device, "cuMemAlloc_v2", ctypes.byref(large), size(1 << 40)) == 2
    assert code(device, "cuMemAlloc_v2", ctypes.byref(large), size(0)) == 1


def test_pinned_memory(device: Device) -> None:
    p = ctypes.c_void_p()
    device.call("cuMemHostAlloc", ctypes.byref(p), ctypes.c_size_t(4096), 0)
    device.call("cuMemFreeHost", p)
    assert code(device, "cuMemFreeHost", p) == 1
    values = np.zeros(1024, np.float32)
    host = values.ctypes.data_as(ctypes.c_void_p)
    device.call("cuMemHostRegister_v2", host, ctypes.c_size_t(values.nbytes), 0)
    assert code(device, "cuMemHostRegister_v2", host, ctypes.c_size_t(4), 0) == 712
    device.call("cuMemHostUnregister", host)
    assert code(device, "cuMemHostUnregister", host) == 713


def test_host_cannot_touch_device_memory(device: Device) -> None:
    script = (
        "import ctypes, numpy as np, softcuda\n"
        "d = softcuda.Device(); x = d.upload(np.zeros(4, np.float32)); print('up', flush=True)\n"
        "ctypes.string_at(x.pointer, 4)\nprint('read')\n"
    )
    root = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout == "up\n" and done.returncode == -11


def test_launch_limits(device: Device, module: Module) -> None:
    x = device.upload(np.zeros(64, np.float32))
    for grid, block in (((0,), (64,)), ((1,), (2048,)), ((1, 70000), (1,))):
        with pytest.raises(DeviceError, match="INVALID_VALUE"):
            module.launch("add", grid, block, [x, 1.0, 64])
    with pytest.raises(DeviceError, match="small: a block of 128 threads, at most 64"):
        module.launch("small", (1,), (128,), [x])
    with pytest.raises(DeviceError, match="at most 166912|INVALID_VALUE"):
        module.launch("dynamic", (1,), (64,), [x], shared=200000)
    module.launch("dynamic", (1,), (64,), [x], shared=100000)
    assert (x.numpy() == 3).all()
    with pytest.raises(ValueError, match="add takes 3 arguments, got 2"):
        module.launch("add", (1,), (64,), [x, 1.0])
    with pytest.raises(ValueError, match="argument 1: 4 bytes expected, got 8"):
        module.launch("add", (1,), (64,), [x, np.float64(1), 64])
    with pytest.raises(DeviceError, match="NOT_FOUND"):
        module.function("nobody")


def test_parameters_as_one_block(device: Device, module: Module) -> None:
    """The form that CuPy and others use; its size must be the kernel's."""
    x = device.upload(np.zeros(64, np.float32))
    block = np.zeros(16, np.uint8)
    block[:8].view(np.uint64)[0] = x.pointer
    block[8:12].view(np.float32)[0] = 2
    block[12:].view(np.int32)[0] = 64

    def launch(size: int) -> int:
        length = ctypes.c_size_t(size)
        extra = (ctypes.c_void_p * 5)(
            1, block.ctypes.data, 2, ctypes.cast(ctypes.byref(length), ctypes.c_void_p), 0
        )
        extents = [ctypes.c_uint(v) for v in (1, 1, 1, 64, 1, 1, 0)]
        function = module.function("add")
        return code(device, "cuLaunchKernel", function, *extents, None, None, extra)

    assert launch(12) == 1 and "16 bytes expected, got 12" in device.message()
    assert launch(16) == 0
    assert (x.numpy() == 2).all()


def test_module_variables_and_copies_of_a_module(device: Device, module: Module) -> None:
    x, y = device.empty(4), device.empty(4)
    scale = module.global_array("scale", (1,), np.float32)
    scale.fill_from(np.array([4], np.float32))
    import softcuda

    other = device.load(softcuda.compile_cuda(ADD, "add.cu"))
    module.launch("scaled", (1,), (4,), [x])
    other.launch("scaled", (1,), (4,), [y])
    assert (x.numpy() == 4).all() and (y.numpy() == 2.5).all()
    other.unload()


def test_module_errors(device: Device) -> None:
    with pytest.raises(DeviceError, match="INVALID_PTX.*hammer.u32"):
        device.load(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f()\n{\n"
            ".reg .b32 %r<2>;\nhammer.u32 %r1, %r1;\nret;\n}\n"
        )
    handle, log = ctypes.c_void_p(), ctypes.create_string_buffer(200)
    options = (ctypes.c_int * 2)(5, 6)  # the buffer of errors and its size
    values = (ctypes.c_void_p * 2)(ctypes.addressof(log), 200)
    result = code(device, "cuModuleLoadDataEx", ctypes.byref(handle), b"no PTX", 2, options, values)
    assert result == 218 and b"unknown directive 'no'" in log.value
    assert code(device, "cuModuleLoadData", ctypes.byref(handle), b"\x7fELF") == 209


def test_linker(device: Device, module: Module) -> None:
    state, image, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_size_t()
    handle, log = ctypes.c_void_p(), ctypes.create_string_buffer(200)
    options = (ctypes.c_int * 2)(5, 6)
    values = (ctypes.c_void_p * 2)(ctypes.addressof(log), 200)
    ptx = (
        b".version 7.5\n.target sm_80\n.address_size 64\n.visible .entry nothing()\n{\nret;\n}\n\0"
    )

    def add(text: bytes) -> int:
        rest = (ctypes.c_size_t(len(text)), b"name", 0, None, None)
        return code(device, "cuLinkAddData_v2", state, 1, text, *rest)

    device.call("cuLinkCreate_v2", 2, options, values, ctypes.byref(state))
    assert add(b"no PTX\0") == 218 and b"unknown directive 'no'" in log.value
    assert add(b"without an end") == 1
    assert code(device, "cuLinkComplete", state, ctypes.byref(image), ctypes.byref(size)) == 200
    assert add(ptx) == 0
    device.call("cuLinkComplete", state, ctypes.byref(image), ctypes.byref(size))
    kept = ctypes.string_at(image, size.value)
    device.call("cuLinkDestroy", state)
    device.call("cuModuleLoadData", ctypes.byref(handle), kept)
    device.call("cuModuleGetFunction", ctypes.byref(ctypes.c_void_p()), handle, b"nothing")
    device.call("cuModuleUnload", handle)


def test_failure_sticks(device: Device, kernels: Load, module: Module) -> None:
    x = device.upload(np.zeros(256, np.float32))
    kernels("planted_bugs.cu").launch("misaligned", (1,), (256,), [x, x])
    for _ in range(2):
        with pytest.raises(DeviceError, match="MISALIGNED_ADDRESS"):
            device.synchronize()
    with pytest.raises(DeviceError, match="MISALIGNED_ADDRESS"):
        device.empty(1)
    device.reset()
    add(module, x, 1)
    device.synchronize()


# ---- streams


def download(device: Device, x: Array, stream: Stream) -> np.ndarray:
    """Queues a copy to the host; the values are there after the stream's work."""
    values = np.full(x.shape, -1, x.dtype)
    pointer = values.ctypes.data_as(ctypes.c_void_p)
    device.call(
        "cuMemcpyDtoHAsync_v2",
        pointer,
        ctypes.c_uint64(x.pointer),
        ctypes.c_size_t(x.nbytes),
        stream.handle,
    )
    return values


def test_lazy_streams_show_a_missing_wait(device: Device, module: Module) -> None:
    x, stream = device.upload(np.zeros(8, np.float32)), Stream(device)
    add(module, x, 1, stream)
    values = download(device, x, stream)
    assert (values == -1).all() and device.statistic("waiting") == 2
    stream.synchronize()
    assert (values == 1).all() and device.statistic("waiting") == 0
    device.set_streams("eager")
    add(module, x, 1, stream)
    assert (download(device, x, stream) == 2).all()
    stream.destroy()


def event(device: Device) -> ctypes.c_void_p:
    """A new event."""
    handle = ctypes.c_void_p()
    device.call("cuEventCreate", ctypes.byref(handle), 0)
    return handle


@pytest.mark.parametrize("mode", ["lazy", "eager", "random"])
def test_events_order_streams(device: Device, module: Module, mode: str) -> None:
    device.set_streams(mode)
    for seed in range(1, 9):
        device.set("seed", seed)
        x = device.upload(np.ones(8, np.float32))
        first, second = Stream(device), Stream(device)
        mark = event(device)
        add(module, x, 2, first)
        device.call("cuEventRecord", mark, first.handle)
        device.call("cuStreamWaitEvent", second.handle, mark, 0)
        module.launch("twice", (1,), (8,), [x, 8], stream=second)
        values = download(device, x, second)
        second.synchronize()
        assert (values == 6).all()
        assert code(device, "cuEventQuery", mark) == 0
        device.call("cuEventDestroy_v2", mark)
        first.destroy()
        second.destroy()


def test_streams_without_events_are_not_ordered(device: Device, module: Module) -> None:
    """Waiting for one stream runs nothing of another."""
    x = device.upload(np.ones(8, np.float32))
    first, second = Stream(device), Stream(device)
    add(module, x, 2, first)
    module.launch("twice", (1,), (8,), [x, 8], stream=second)
    values = download(device, x, second)
    second.synchronize()
    assert (values == 2).all()
    first.destroy()
    second.destroy()


def test_null_stream_waits_for_blocking_streams(device: Device, module: Module) -> None:
    x = device.upload(np.ones(8, np.float32))
    blocking = ctypes.c_void_p()
    device.call("cuStreamCreate", ctypes.byref(blocking), 0)
    stream = Stream.__new__(Stream)
    stream.device, stream.handle = device, blocking
    add(module, x, 2, stream)
    module.launch("twice", (1,), (8,), [x, 8])
    add(module, x, 1, stream)
    stream.synchronize()
    assert (x.numpy() == 7).all()
    stream.destroy()


def test_host_function(device: Device) -> None:
    stream, seen = Stream(device), []
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: seen.append(data))
    device.call("cuLaunchHostFunc", stream.handle, function, ctypes.c_void_p(5))
    assert seen == []
    stream.synchronize()
    assert seen == [5]
    stream.destroy()


# ---- graphs


def begin(device: Device, stream: Stream, mode: int = 2) -> None:
    """Begins a capture; 2 leaves other calls alone, 0 forbids what cannot be captured."""
    device.call("cuStreamBeginCapture_v2", stream.handle, mode)


def end(device: Device, stream: Stream) -> ctypes.c_void_p:
    """Ends a capture and makes its graph ready to run."""
    graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
    device.call("cuStreamEndCapture", stream.handle, ctypes.byref(graph))
    device.call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
    count = ctypes.c_size_t()
    device.call("cuGraphGetNodes", graph, None, ctypes.byref(count))
    assert count.value > 0
    device.call("cuGraphDestroy", graph)
    return ready


def test_graph_replays_what_was_captured(device: Device, module: Module) -> None:
    x, stream = device.upload(np.zeros(8, np.float32)), Stream(device)
    launches = device.statistic("launches")
    begin(device, stream)
    add(module, x, 1, stream)
    module.launch("twice", (1,), (8,), [x, 8], stream=stream)
    graph = end(device, stream)
    device.synchronize()
    assert device.statistic("launches") == launches
    for _ in range(3):
        device.call("cuGraphLaunch", graph, stream.handle)
    stream.synchronize()
    assert (x.numpy() == 14).all() and device.statistic("launches") == launches + 6
    device.call("cuGraphExecDestroy", graph)
    stream.destroy()


@pytest.mark.parametrize("joined", [True, False])
def test_graph_over_two_streams(device: Device, module: Module, joined: bool) -> None:
    x, y = device.upload(np.ones(8, np.float32)), device.upload(np.ones(8, np.float32))
    first, second = Stream(device), Stream(device)
    fork, join = event(device), event(device)
    begin(device, first)
    add(module, x, 1, first)
    device.call("cuEventRecord", fork, first.handle)
    device.call("cuStreamWaitEvent", second.handle, fork, 0)
    add(module, y, 5, second)
    add(module, x, 1, first)
    if not joined:
        graph = ctypes.c_void_p()
        assert code(device, "cuStreamEndCapture", first.handle, ctypes.byref(graph)) == 904
        return
    device.call("cuEventRecord", join, second.handle)
    device.call("cuStreamWaitEvent", first.handle, join, 0)
    module.launch("twice", (1,), (8,), [x, 8], stream=first)
    module.launch("twice", (1,), (8,), [y, 8], stream=first)
    ready = end(device, first)
    for seed in range(1, 6):
        device.set("seed", seed)
        x.fill_from(np.ones(8, np.float32))
        y.fill_from(np.ones(8, np.float32))
        device.call("cuGraphLaunch", ready, first.handle)
        first.synchronize()
        assert (x.numpy() == 6).all() and (y.numpy() == 12).all()


def test_what_a_capture_forbids(device: Device, module: Module) -> None:
    x, stream, other = device.upload(np.zeros(8, np.float32)), Stream(device), Stream(device)
    graph = ctypes.c_void_p()
    begin(device, stream)
    add(module, x, 1, stream)
    assert code(device, "cuStreamSynchronize", stream.handle) == 900
    assert code(device, "cuStreamEndCapture", stream.handle, ctypes.byref(graph)) == 901
    mark = event(device)
    device.call("cuEventRecord", mark, other.handle)
    begin(device, stream)
    assert code(device, "cuStreamWaitEvent", stream.handle, mark, 0) == 905
    assert code(device, "cuStreamEndCapture", stream.handle, ctypes.byref(graph)) == 901
    begin(device, stream, mode=0)
    address = ctypes.c_uint64()
    assert code(device, "cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(4)) == 900
    assert code(device, "cuStreamEndCapture", other.handle, ctypes.byref(graph)) == 903
    device.call("cuStreamEndCapture", stream.handle, ctypes.byref(graph))
    assert code(device, "cuStreamEndCapture", stream.handle, ctypes.byref(graph)) == 903
    assert Path(device.path).name == "libcuda_soft.so"

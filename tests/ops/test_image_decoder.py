"""ImageDecoder: files in every format, read by Pillow, and bytes that are no image."""

import io
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

import tiercel


def session(**attributes):
    graph = helper.make_graph(
        [helper.make_node("ImageDecoder", ["x"], ["y"], name="it", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [None, None, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return tiercel.InferenceSession(model.SerializeToString())


def encoded(pixels, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "ppm"])
def test_formats_without_loss(kind, pixels):
    file = encoded(pixels, kind)
    [y] = session().run(None, {"x": file})
    np.testing.assert_array_equal(y, pixels)
    [y] = session(pixel_format="BGR").run(None, {"x": file})
    np.testing.assert_array_equal(y, pixels[:, :, ::-1])
    [y] = session(pixel_format="Grayscale").run(None, {"x": file})
    assert y.shape == (7, 5, 1)


def test_a_photograph():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (64, 64, 3)).copy()
    [y] = session().run(None, {"x": encoded(ramp, "jpeg")})
    assert np.abs(y.astype(int) - ramp).max() <= 4


def test_bytes_that_are_no_image(pixels):
    with pytest.raises(tiercel.InvalidArgument, match='"it".*no image file'):
        session().run(None, {"x": np.zeros(10, np.uint8)})
    with pytest.raises(tiercel.InvalidArgument, match='"it".*cannot be read'):
        session().run(None, {"x": encoded(pixels, "png")[:-30]})


def test_without_pillow():
    """At load, with what to install."""
    code = (
        "import importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'PIL' else f(n, *a)\n"
        "import tiercel\n"
        "from onnx import TensorProto as T, helper as h\n"
        "g = h.make_graph([h.make_node('ImageDecoder', ['x'], ['y'])], 'g',\n"
        "  [h.make_tensor_value_info('x', T.UINT8, [None])],\n"
        "  [h.make_tensor_value_info('y', T.UINT8, [None] * 3)])\n"
        "m = h.make_model(g, opset_imports=[h.make_opsetid('', 21)])\n"
        "try: tiercel.InferenceSession(m.SerializeToString())\n"
        "except tiercel.NotImplemented as e: print(e)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "install Pillow" in out.stdout

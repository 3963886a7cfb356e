"""Image files for the operator ImageDecoder, read by Pillow."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import _core


def decode(file: bytes, pixel_format: str) -> np.ndarray[Any, Any]:
    """uint8 [height, width, channels] of the file's first image, as ONNX's ImageDecoder says.

    `pixel_format`: "RGB", "BGR" or "Grayscale". Raises ValueError when Pillow does not know the
    bytes as an image, or when the image is so large that Pillow takes it for an attack.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file)) as image:
            pixels = np.array(image.convert("L" if pixel_format == "Grayscale" else "RGB"))
    except UnidentifiedImageError:
        raise ValueError(f"the {len(file)} bytes are no image file that Pillow knows") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the image file cannot be read: {error}") from None
    if pixel_format == "Grayscale":
        return pixels[:, :, None]
    return pixels[:, :, ::-1] if pixel_format == "BGR" else pixels


if find_spec("PIL") is not None:
    _core.set_image_decoder(decode)

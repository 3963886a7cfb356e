"""The kernel language: vector types, access to the call, and declarations (kernels/README.md)."""

from _lang.decorators import inline, kernel, namespace, parts, tile
from _lang.dot import dot
from _lang.dtypes import BYTES, FLOATS, INTEGERS, NUMBERS, WIDE, WIDE_FLOATS

__all__ = [
    "BYTES",
    "FLOATS",
    "INTEGERS",
    "NUMBERS",
    "WIDE",
    "WIDE_FLOATS",
    "dot",
    "inline",
    "kernel",
    "namespace",
    "parts",
    "tile",
]

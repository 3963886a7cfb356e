"""Translates PTX, as NVRTC writes it, to C++ for the software device."""

from .errors import PtxError, UnsupportedInstruction
from .module import translate

__all__ = ["PtxError", "UnsupportedInstruction", "translate"]

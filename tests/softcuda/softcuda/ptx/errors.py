"""What can be wrong with a PTX text."""

from __future__ import annotations


class PtxError(ValueError):
    """A text that is not PTX as this translator reads it: says the line and what it expected."""


class UnsupportedInstruction(PtxError):
    """An instruction or qualifier that the software device does not know; names it and its line."""

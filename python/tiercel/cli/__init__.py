"""The command line: tiercel inspect | run | explain | compile | bench."""

from .main import main

__all__ = ["main"]

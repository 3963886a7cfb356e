"""The command line: tiercel inspect | run | explain | bench."""

from .main import main

__all__ = ["main"]

"""Puts the software CUDA device on the path of the tests below."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "softcuda"))

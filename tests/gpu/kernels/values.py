"""Random arrays, number formats and comparisons of the tests of CUDA kernels."""

import ml_dtypes
import numpy as np

TYPES = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i32": np.int32,
    "i64": np.int64,
    "s8": np.int8,
    "u8": np.uint8,
    "bool": np.bool_,
}
# One rounding of the result, and sums in another order.
TOLERANCE = {"f32": 2e-5, "f64": 1e-12, "f16": 2e-3, "bf16": 1.6e-2, "tf32": 4e-3}
FLOATS = ("f32", "f16", "bf16")


def random(rng, shape, name="f32"):
    """Values of mean 0 and spread 1, or integers from -8 to 8 (0 to 16 if unsigned)."""
    dtype = np.dtype(TYPES[name])
    if name in TOLERANCE:
        return rng.standard_normal(shape).astype(dtype)
    low = 0 if name in ("u8", "bool") else -8
    return rng.integers(low, low + (2 if name == "bool" else 17), shape).astype(dtype)


def wide(x):
    """The float64 of a float array; integers stay."""
    return x.astype(np.float64) if x.dtype.kind not in "iub" else x


def near(got, want, name="f32", scale=1.0):
    """Compare with the tolerance of a type, times `scale`."""
    if name not in TOLERANCE:
        np.testing.assert_array_equal(got, want)
        return
    tolerance = TOLERANCE[name] * scale
    np.testing.assert_allclose(wide(got), wide(want), rtol=tolerance, atol=tolerance)


def ceil_div(a, b):
    """Quotient rounded up."""
    return -(-a // b)


def lanes_of_few(n):
    """Threads a row of the kernels that give a warp several rows, of at most 256 items."""
    return 4 if n <= 32 else 8 if n <= 64 else 16 if n <= 128 else 32

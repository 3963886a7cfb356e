"""SparseTensor: values with their places, in ONNX's COO form or in CSR."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .devices import OrtDevice
from .errors import invalid_argument, not_implemented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray


class OrtSparseFormat(IntEnum):
    """How the places of values are stored."""

    ORT_SPARSE_UNDEFINED = 0
    ORT_SPARSE_COO = 1
    ORT_SPARSE_CSRC = 2
    ORT_SPARSE_BLOCK_SPARSE = 4


class SparseCooView:
    """Places of a tensor in COO form."""

    def __init__(self, indices: Array) -> None:
        self._indices = indices

    def indices(self) -> Array:
        """Linear indices [nnz] or coordinates [nnz, rank], int64."""
        return self._indices


class SparseCsrView:
    """Places of a matrix in CSR form."""

    def __init__(self, inner: Array, outer: Array) -> None:
        self._inner, self._outer = inner, outer

    def inner(self) -> Array:
        """The column of each value."""
        return self._inner

    def outer(self) -> Array:
        """Where each row begins among the values, and the number of values."""
        return self._outer


def _check_on_host(device: OrtDevice) -> None:
    if device.device_name() != "cpu":
        raise not_implemented(
            f"sparse tensors are in host memory, not on {device.device_name()}: expected cpu"
        )


class SparseTensor:
    """A sparse tensor: values, their indices, and the dense shape."""

    def __init__(
        self, values: Array, indices: Array, shape: Sequence[int], outer: Array | None = None
    ) -> None:
        self._values = np.asarray(values)
        self._indices = np.asarray(indices, np.int64)
        self._outer = None if outer is None else np.asarray(outer, np.int64)
        self._shape = [int(extent) for extent in shape]

    @staticmethod
    def sparse_coo_from_numpy(
        dense_shape: Sequence[int], values: Array, coo_indices: Array, ort_device: OrtDevice
    ) -> SparseTensor:
        """From `values` [nnz] and linear indices [nnz] or coordinates [nnz, rank]."""
        _check_on_host(ort_device)
        return SparseTensor(values, coo_indices, dense_shape)

    @staticmethod
    def sparse_csr_from_numpy(
        dense_shape: Sequence[int],
        values: Array,
        inner_indices: Array,
        outer_indices: Array,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """From `values` [nnz], their columns [nnz], and where each row begins [rows + 1]."""
        _check_on_host(ort_device)
        if len(dense_shape) != 2 or len(outer_indices) != int(dense_shape[0]) + 1:
            raise invalid_argument(
                f"CSR: expected a matrix and one more outer index than it has rows, "
                f"got shape {list(dense_shape)} and {len(outer_indices)} outer indices"
            )
        return SparseTensor(values, inner_indices, dense_shape, outer_indices)

    @staticmethod
    def _from_parts(values: Array, indices: Array, shape: tuple[int, ...]) -> SparseTensor:
        return SparseTensor(values, indices, shape)

    def format(self) -> OrtSparseFormat:
        """COO or CSR."""
        if self._outer is None:
            return OrtSparseFormat.ORT_SPARSE_COO
        return OrtSparseFormat.ORT_SPARSE_CSRC

    def values(self) -> Array:
        """The stored values [nnz]."""
        return self._values

    def as_coo_view(self) -> SparseCooView:
        """The places, for a tensor in COO form; RuntimeError for another."""
        if self._outer is not None:
            raise RuntimeError("This sparse tensor does not contain COO format")
        return SparseCooView(self._indices)

    def as_csrc_view(self) -> SparseCsrView:
        """The places, for a matrix in CSR form; RuntimeError for another."""
        if self._outer is None:
            raise RuntimeError("This sparse tensor does not contain CSR(C) format")
        return SparseCsrView(self._indices, self._outer)

    def as_blocksparse_view(self) -> Any:
        """RuntimeError: no tensor here is in block sparse form."""
        raise RuntimeError("This sparse tensor does not contain BlockSparse format")

    def to_cuda(self, ort_device: OrtDevice) -> SparseTensor:
        """Not available: raises NotImplemented."""
        raise not_implemented("SparseTensor.to_cuda: sparse tensors live in host memory")

    def indices(self) -> Array:
        """Linear indices [nnz] or coordinates [nnz, rank], int64."""
        if self._outer is None:
            return self._indices
        rows = np.repeat(np.arange(self._shape[0]), np.diff(self._outer))
        return np.asarray(rows * self._shape[1] + self._indices, np.int64)

    def dense_shape(self) -> list[int]:
        """The extents of the dense tensor."""
        return list(self._shape)

    def data_type(self) -> str:
        """For example "sparse_tensor(float)"."""
        return self._ortvalue.type

    def device_name(self) -> str:
        """Always "cpu"."""
        return "cpu"

    def to_dense(self) -> Array:
        """The dense array, zeros where nothing is stored."""
        dense = np.zeros(self._shape, self._values.dtype)
        indices = self.indices()
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = self._values
        else:
            dense[tuple(indices.T)] = self._values
        return dense

    @property
    def _ortvalue(self) -> _core.OrtValue:
        values = _core.OrtValue.from_object(self._values)
        return _core.OrtValue.from_sparse(
            values, _core.OrtValue.from_object(self.indices()), self._shape
        )

"""IOBinding: inputs and outputs fixed to memory before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from .devices import device_of
from .errors import invalid_argument
from .sparse import Array
from .values import OrtValue, OrtValueVector, element_type_of

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .session import InferenceSession


class IOBinding:
    """Binds a session's inputs to values and its outputs to memory or to a device.

    Bound arrays are used in place when they are contiguous. The caller keeps memory that was bound
    by its address alive.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self._inputs: dict[str, _core.OrtValue] = {}
        self._outputs: dict[str, _core.OrtValue | tuple[str, int] | None] = {}
        self._results: list[_core.OrtValue] = []
        self._input_names = {
            arg.name for arg in (*session.get_inputs(), *session.get_overridable_initializers())
        }
        self._output_names = {arg.name for arg in session.get_outputs()}

    def _check(self, name: str, names: set[str], what: str) -> None:
        if name not in names:
            raise invalid_argument(f"Invalid {what} name: {name}; the model has {sorted(names)}")

    def bind_cpu_input(self, name: str, arr_on_cpu: Array) -> None:
        """Binds an array; its memory is read at each run."""
        self._check(name, self._input_names, "input")
        self._inputs[name] = _core.OrtValue.from_object(
            arr_on_cpu, self._session._element_type(name)
        )

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: DTypeLike | int,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Binds memory of the host ("cpu") or of a GPU ("cuda") by its address.

        What the memory holds must be there when the session runs: work on other streams is not
        waited for.
        """
        device = device_of(device_type, device_id)
        self._check(name, self._input_names, "input")
        self._inputs[name] = _core.OrtValue.from_pointer(
            buffer_ptr, list(shape), element_type_of(element_type), *device
        )

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Binds a value."""
        self._check(name, self._input_names, "input")
        self._inputs[name] = ortvalue._ortvalue

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: DTypeLike | int | None = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Binds an output to a device, in whose memory it stays, or to memory by its address."""
        device = device_of(device_type, device_id)
        self._check(name, self._output_names, "output")
        if buffer_ptr is None:
            if device[0] != "cpu":
                _core.device_synchronize(*device)  # raises where there is no such device
            self._outputs[name] = None if device[0] == "cpu" else device
            return
        if element_type is None or shape is None:
            raise ValueError(
                "`element_type` and `shape` are to be provided if pre-allocated memory is provided"
            )
        self._outputs[name] = _core.OrtValue.from_pointer(
            buffer_ptr, list(shape), element_type_of(element_type), *device
        )

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Binds an output to the memory of a tensor of the right type and shape."""
        self._check(name, self._output_names, "output")
        self._outputs[name] = ortvalue._ortvalue

    def synchronize_inputs(self) -> None:
        """Waits until bound values that were copied to a GPU are there."""
        for device in {value.device for value in self._inputs.values()} - {("cpu", 0)}:
            _core.device_synchronize(*device)

    def synchronize_outputs(self) -> None:
        """Nothing to wait for: a run is over when it returns."""

    def get_outputs(self) -> list[OrtValue]:
        """Outputs of the last run, in the order of binding."""
        return [OrtValue(value) for value in self._results]

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        """The same as an OrtValueVector."""
        return OrtValueVector(self.get_outputs())

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Outputs of the last run as numpy arrays."""
        return [value.numpy() for value in self._results]

    def clear_binding_inputs(self) -> None:
        """Forgets all bound inputs."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forgets all bound outputs and results."""
        self._outputs.clear()
        self._results = []

    def _run(self, run_options: _core.RunOptions | None) -> None:
        if not self._outputs:
            raise invalid_argument("no output is bound: call bind_output for each wanted output")
        self._results = self._session._sess.run_values(
            list(self._outputs), self._inputs, self._outputs, run_options
        )


# ONNX Runtime's name for the part of IOBinding below Python.
SessionIOBinding = IOBinding

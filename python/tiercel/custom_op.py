"""custom_op: a Python function as an operator of every session, compiled by numba."""

from __future__ import annotations

import inspect
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import _core
from .errors import invalid_argument

Shape = tuple["int | str | None", ...]
_ATTRIBUTES = {int: "int", bool: "int", float: "float", str: "string"}
_LISTS = {int: "ints", float: "floats", str: "strings"}


def custom_op(
    domain: str,
    name: str,
    *,
    compile: bool | None = None,
    deterministic: bool = True,
    cuda: Any = None,
) -> Callable[[Callable[..., Any]], CustomOp]:
    """Makes the decorated function the operator ``domain.name``, in every session made afterwards.

    The annotations are the schema. A parameter ``x: NDArray[np.float32]`` is an input; with a
    ``TypeVar`` of numpy types in place of ``np.float32`` all inputs and outputs of that ``TypeVar``
    have one element type; ``| None`` makes it optional. A parameter that is ``int``, ``float``,
    ``str``, ``bool``, or a ``list`` of the first three is an attribute (a list arrives as a tuple).
    The function returns an array, or a tuple of arrays for several outputs; results of another
    element type of the same kind are cast to the annotated one. Inputs are read-only and have the
    rank that the model gives them.

    ``compile=None`` compiles by numba when it is installed and else runs the function in Python;
    ``True`` insists on numba; ``False`` never compiles, which admits strings, types of ml_dtypes
    and all of Python. Compiled functions run without Python and without the GIL. A function
    that is a numba dispatcher already is used with its own options.

    ``deterministic=False``: nodes are never merged nor computed when a model is loaded.

    ``cuda``: the same operator for CUDAExecutionProvider, as CUDA C++ or PTX with one kernel, or a
    ``cupy.RawKernel``. A thread computes one element of output 0. The arguments are pointers to all
    inputs (null where absent) and outputs; the attributes, which are numbers; the number of
    elements of output 0; and, where the kernel has one more, a ``const long long*`` to the extents
    of all inputs and outputs. CUDA C++ needs NVRTC (``pip install tiercel[cuda]``). Nodes run so
    where the shape function gives the extents, and by the function elsewhere. An input or output
    that may be of several element types is an error.

    Raises InvalidArgument for annotations that say no schema and for names of built-in operators.
    A session raises NotImplemented when the function does not compile for its inputs.
    """
    if compile and find_spec("numba") is None:
        raise invalid_argument(
            f"custom operator {domain}.{name}: compile=True needs numba: pip install tiercel[jit]"
        )

    def decorate(function: Callable[..., Any]) -> CustomOp:
        wanted = find_spec("numba") is not None if compile is None else compile
        made = CustomOp(function, domain, name, wanted)
        made._register(deterministic)
        if cuda is not None:
            made._register_kernel(cuda)
        return made

    return decorate


class CustomOp:
    """A function that is an operator; calling it calls the function."""

    def __init__(
        self, function: Callable[..., Any], domain: str, name: str, compiled: bool
    ) -> None:
        self.domain, self.name, self.compiled = domain, name, compiled
        self._given = function
        self._function = getattr(function, "py_func", function)
        self._shape: Callable[..., Any] | None = None
        self._natives: dict[Any, Any] = {}
        self.__doc__ = function.__doc__
        self._read_signature()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<custom operator {self.domain}.{self.name}>"

    def shape(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorates the shape function: called like the operator, with a shape for each input.

        A shape is a tuple of int, str (a symbol) or None (unknown), or None when the rank is
        unknown. It returns the shape of the output, or a tuple or list of one for each output.
        What it says is checked whenever the operator has run.
        """
        self._shape = function
        return function

    # -- the schema

    def _fail(self, message: str) -> typing.NoReturn:
        raise invalid_argument(f"custom operator {self.domain}.{self.name}: {message}")

    def _read_signature(self) -> None:
        hints = typing.get_type_hints(self._function)
        self._parameters = list(inspect.signature(self._function).parameters.values())
        self._types: dict[str, list[Any]] = {}
        self._inputs: list[tuple[str, str, bool]] = []
        self._attributes: list[tuple[str, str, bool]] = []
        for parameter in self._parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._fail(f"parameter *{parameter.name} is not supported; name each input")
            if parameter.name not in hints:
                self._fail(f"parameter {parameter.name} has no annotation")
            self._add_parameter(parameter, hints[parameter.name])
        if "return" not in hints:
            self._fail("the result has no annotation; expected NDArray[...] or a tuple of them")
        self._returns_tuple = typing.get_origin(hints["return"]) is tuple
        results = typing.get_args(hints["return"]) if self._returns_tuple else [hints["return"]]
        self._outputs = [
            (f"output_{i}", self._type_parameter(result, f"output_{i}"), False)
            for i, result in enumerate(results)
        ]

    def _add_parameter(self, parameter: inspect.Parameter, hint: Any) -> None:
        parts = _union_parts(hint)
        optional = type(None) in parts
        arrays = [part for part in parts if _is_array(part)]
        if arrays:
            if len(parts) - optional != 1:
                self._fail(f"parameter {parameter.name}: use a TypeVar for several element types")
            kind = self._type_parameter(arrays[0], parameter.name)
            self._inputs.append((parameter.name, kind, optional))
            return
        plain = [part for part in parts if part is not type(None)]
        found = _attribute_kind(plain[0]) if len(plain) == 1 else None
        if found is None:
            self._fail(
                f"parameter {parameter.name}: {hint} is neither an array (NDArray[np.float32]) nor "
                "an attribute (int, float, str, bool, list[int], list[float], list[str])"
            )
        required = parameter.default is parameter.empty
        self._attributes.append((parameter.name, found, required))

    def _type_parameter(self, hint: Any, port: str) -> str:
        """Type parameter of an input or output; its element types enter the schema."""
        hint = _resolved(hint)
        if not _is_array(hint):
            self._fail(f"{port}: {hint} is no array; expected NDArray[np.float32] or the like")
        element = typing.get_args(typing.get_args(hint)[1])[0]
        if isinstance(element, typing.TypeVar):
            if not element.__constraints__:
                self._fail(f"{port}: TypeVar {element.__name__} names no element types")
            self._types[element.__name__] = [np.dtype(c) for c in element.__constraints__]
            return element.__name__
        try:
            dtype = np.dtype(element)
        except TypeError:
            self._fail(f"{port}: {element} is no numpy type")
        self._types[port] = [dtype]
        return port

    def _register(self, deterministic: bool) -> None:
        if not self.domain and not self.name:
            self._fail("it needs a name")
        _core.add_custom_op(
            self,
            self.domain,
            self.name,
            self._inputs,
            self._outputs,
            self._types,
            self._attributes,
            deterministic,
        )

    def _register_kernel(self, kernel: Any) -> None:
        from .cuda.custom_kernel import ptx_and_entry

        defaults: dict[str, int | float] = {}
        for name, kind, _ in self._attributes:
            if kind not in ("int", "float"):
                self._fail(f"attribute {name} is no number: a kernel of a GPU cannot take it")
            given = {p.name: p.default for p in self._parameters}[name]
            number = 0 if given is inspect.Parameter.empty else given
            defaults[name] = float(number) if kind == "float" else int(number)
        ptx, entry = ptx_and_entry(kernel, f"{self.domain}.{self.name}")
        for port, kind, _ in (*self._inputs, *self._outputs):
            if len(self._types[kind]) > 1:
                names = ", ".join(str(dtype) for dtype in self._types[kind])
                self._fail(f"{port} is one of {names}: a kernel of a GPU has one element type")
        counts = len(self._inputs), len(self._outputs)
        _core.add_custom_kernel(self.domain, self.name, ptx, entry, list(defaults.items()), *counts)

    # -- what the core asks

    def complete_attributes(self, given: dict[str, Any]) -> dict[str, Any]:
        """Attributes of a node with the defaults of the function; lists as tuples."""
        out: dict[str, Any] = {}
        for name, _, _ in self._attributes:
            if name in given:
                value = given.pop(name)
                out[name] = tuple(value) if isinstance(value, list) else value
        if given:
            expected = ", ".join(name for name, _, _ in self._attributes) or "none"
            raise ValueError(f"unknown attribute {', '.join(given)}; expected {expected}")
        for parameter in self._parameters:
            if parameter.name not in out and parameter.default is not parameter.empty:
                default = parameter.default
                out[parameter.name] = tuple(default) if isinstance(default, list) else default
        return {name: out[name] for name, _, _ in self._attributes}

    def _arguments(self, inputs: Sequence[Any], attributes: dict[str, Any]) -> dict[str, Any]:
        values = dict(zip((name for name, _, _ in self._inputs), inputs, strict=True))
        values.update(attributes)
        return {parameter.name: values[parameter.name] for parameter in self._parameters}

    def _apply(self, function: Callable[..., Any], values: dict[str, Any]) -> Any:
        keywords = {p.name: values[p.name] for p in self._parameters if p.kind == p.KEYWORD_ONLY}
        return function(*(v for k, v in values.items() if k not in keywords), **keywords)

    def infer_shapes(
        self, attributes: dict[str, Any], shapes: list[Shape | None]
    ) -> list[Shape | None]:
        """Shapes of the outputs, None where the rank is unknown."""
        count = len(self._outputs)
        if self._shape is None:
            return [None] * count
        padded = shapes + [None] * (len(self._inputs) - len(shapes))
        found = self._apply(self._shape, self._arguments(padded, attributes))
        many = [found] if count == 1 and not _is_list_of_shapes(found) else list(found)
        if len(many) != count:
            raise ValueError(f"the shape function gives {len(many)} shapes for {count} outputs")
        return [None if shape is None else tuple(shape) for shape in many]

    def native(
        self, attributes: dict[str, Any], signature: list[tuple[np.dtype[Any], int] | None]
    ) -> int:
        """Address of native code for inputs of these dtypes and ranks; 0: it runs in Python."""
        if not self.compiled:
            return 0
        from .custom_op_native import compile_native

        key = (tuple(attributes.items()), tuple(signature))
        if key not in self._natives:
            arguments = self._arguments(signature, attributes)
            inputs = [name for name, _, _ in self._inputs]
            results = [self._result_dtype(kind, signature) for _, kind, _ in self._outputs]
            self._natives[key] = compile_native(self._given, arguments, inputs, results)
        return int(self._natives[key].address)

    def _result_dtype(
        self, kind: str, signature: list[tuple[np.dtype[Any], int] | None]
    ) -> np.dtype[Any]:
        for (_, other, _), known in zip(self._inputs, signature, strict=True):
            if other == kind and known is not None:
                return known[0]
        declared: np.dtype[Any] = self._types[kind][0]
        return declared

    def call(
        self, attributes: dict[str, Any], inputs: list[Any], dtypes: list[np.dtype[Any]]
    ) -> list[np.ndarray[Any, Any]]:
        """The function's own results as arrays of the declared types, in memory of their own."""
        result = self._apply(self._function, self._arguments(inputs, attributes))
        many = list(result) if self._returns_tuple else [result]
        if len(many) != len(dtypes):
            raise ValueError(f"the function returns {len(many)} arrays for {len(dtypes)} outputs")
        return [_cast(array, dtype) for array, dtype in zip(many, dtypes, strict=True)]


def describe(error: BaseException) -> str:
    """What was raised and where, for the message of the node."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _union_parts(hint: Any) -> tuple[Any, ...]:
    hint = _resolved(hint)
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return tuple(map(_resolved, typing.get_args(hint))) if union else (hint,)


def _resolved(hint: Any) -> Any:
    """What an alias stands for, made by a ``type`` statement: numpy's NDArray is one since 2.5."""
    value = getattr(typing.get_origin(hint) or hint, "__value__", None)
    if value is None:
        return hint
    arguments = typing.get_args(hint)
    return _resolved(value[arguments] if arguments else value)


def _is_array(hint: Any) -> bool:
    return typing.get_origin(hint) is np.ndarray and len(typing.get_args(hint)) == 2


def _attribute_kind(hint: Any) -> str | None:
    if isinstance(hint, type) and hint in _ATTRIBUTES:
        return _ATTRIBUTES[hint]
    if typing.get_origin(hint) not in (list, Sequence, tuple):
        return None
    return _LISTS.get(typing.get_args(hint)[0])


def _is_list_of_shapes(found: Any) -> bool:
    return isinstance(found, list | tuple) and any(isinstance(x, list | tuple) for x in found)


def _cast(result: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    array = np.asarray(result)
    if dtype.kind != "O" and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"the function returns {array.dtype}; its annotation says {dtype}")
    return np.array(array, dtype=dtype, order="C")

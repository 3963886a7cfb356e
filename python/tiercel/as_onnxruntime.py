"""Makes `import onnxruntime` give tiercel: `python -m tiercel.as_onnxruntime script.py args`.

In a program of your own, call :func:`install` before the first import of a package that uses
ONNX Runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Iterable, Sequence
from email.message import Message
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder, PackageMetadata
from pathlib import Path
from types import ModuleType
from typing import Any

from tiercel.environment import compatibility

# The release of ONNX Runtime whose Python API this package follows.
API_VERSION = "1.32.0"

_NAME = "onnxruntime"
_OWN_VALUES = {"__version__": API_VERSION, "get_version_string": lambda: API_VERSION}


class _Alias(ModuleType):
    """A module that passes every look-up on to its tiercel counterpart."""

    _target: ModuleType

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def __dir__(self) -> list[str]:
        return dir(self._target)


class _AliasLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        alias = _Alias(spec.name)
        alias._target = importlib.import_module("tiercel" + spec.name[len(_NAME) :])
        alias.__doc__ = alias._target.__doc__
        return alias

    def exec_module(self, module: ModuleType) -> None:
        exported = getattr(module, "_target", None)
        if names := getattr(exported, "__all__", None):
            module.__dict__["__all__"] = list(names)
        if module.__name__ == _NAME:
            module.__dict__.update(_OWN_VALUES)


class _Release(Distribution):
    """What importlib.metadata says of the package "onnxruntime"."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {API_VERSION}\n"

    def locate_file(self, path: Any) -> Any:
        return Path(__file__).parent / path

    @property
    def metadata(self) -> PackageMetadata:
        message = Message()
        message["Name"], message["Version"] = _NAME, API_VERSION
        return message  # type: ignore[return-value]


class _Finder(DistributionFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME and not fullname.startswith(_NAME + "."):
            return None
        own = "tiercel" + fullname[len(_NAME) :]
        found = importlib.util.find_spec(own)
        if found is None:
            return None
        package = found.submodule_search_locations is not None
        return ModuleSpec(fullname, _AliasLoader(), is_package=package)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        wanted = getattr(context, "name", None)
        return [_Release()] if wanted == _NAME else []


def install() -> None:
    """From now on `import onnxruntime` gives tiercel, in this process.

    RuntimeError when ONNX Runtime itself has been imported already.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if _NAME in sys.modules:
        raise RuntimeError("onnxruntime is imported already: call install() before that")
    sys.meta_path.insert(0, _Finder())
    compatibility["missing provider warns"] = True


def uninstall() -> None:
    """Undoes install() for imports to come."""
    compatibility["missing provider warns"] = False
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for name in [n for n, m in sys.modules.items() if isinstance(m, _Alias)]:
        del sys.modules[name]


def main(arguments: Sequence[str]) -> None:
    """Runs a script (or, after -m, a module) with `import onnxruntime` giving tiercel."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        print("usage: python -m tiercel.as_onnxruntime (SCRIPT | -m MODULE) [ARGUMENTS]")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    install()
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = list(arguments)
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])

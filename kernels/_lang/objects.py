"""Objects of LLVM IR texts, and the blocks that objects share: each is one object, named by what it
says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from _lang import emit
from _lang.isas import TARGETS

_NAME = r'@(?:"([^"]+)"|([\w.$]+))'
_DECLARED = re.compile(rf"^declare .*?{_NAME}\(", re.M)
_DEFINED = re.compile(rf"^(?:define .*?{_NAME}\(|{_NAME} = )", re.M)
_ANY = re.compile(_NAME)
# Outlined blocks with less text stay with their callers: LLVM may inline them.
_SHARED = 20000


@dataclass(frozen=True)
class Unit:
    """What becomes one object: its symbol, its IR texts and the shared blocks that it calls."""

    symbol: str
    texts: tuple[str, ...]
    calls: tuple[Unit, ...]

    def emit(self, isa: str) -> bytes:
        return emitted(self.texts, isa)

    def blocks(self) -> Iterator[Unit]:
        """Every shared block below it; some more than once."""
        for block in self.calls:
            yield block
            yield from block.blocks()


def unit(texts: Iterable[str], isa: str) -> Unit:
    """The texts with the building blocks that they call."""
    given = list(texts)
    kept, called = _gathered(given)
    outside = {name for text in given for name in _names(_DEFINED, text) if name[:2] != "_Z"}
    return _closed(kept, called, outside, isa)


@cache
def _shared(symbol: str, isa: str) -> Unit:
    """An outlined block as an object of its own. Its name follows from its text and from the names
    of those that it calls, so that it is the same in every process.
    """
    kept, called = _gathered([emit.block_text(symbol)])
    draft = _closed(kept, called, {symbol}, isa)
    texts = [text.replace(f"@{symbol}(", "@(") for text in draft.texts]
    facts = "\n".join([*texts, isa, emitter()])
    digest = hashlib.sha256(facts.encode()).hexdigest()[:24]
    name = f"tcl_block_{symbol.split('_', 3)[3]}_{isa}_{digest}"
    return Unit(name, tuple(t.replace("@(", f"@{name}(") for t in texts), draft.calls)


@cache
def emitter() -> str:
    """What an object depends on besides its text."""
    return Path(__file__).read_text() + repr((llvmlite.__version__, TARGETS))


def _closed(kept: list[str], called: list[str], outside: set[str], isa: str) -> Unit:
    """A unit whose inner symbols are numbered in order: those that numba makes count what a process
    compiled so far.
    """
    calls = [_shared(symbol, isa) for symbol in called]
    names = {symbol: block.symbol for symbol, block in zip(called, calls, strict=True)}
    for text in kept:
        for name in _names(_DEFINED, text):
            if name not in outside:
                names.setdefault(name, f"inner.{len(names)}")

    def renamed(match: re.Match[str]) -> str:
        name = names.get(match[1] or match[2])
        return f"@{name}" if name else match[0]

    texts = [_ANY.sub(renamed, re.sub(r"^; ModuleID.*\n", "", text)) for text in kept]
    texts = [t.replace(" = common global", " = internal global") for t in texts]
    return Unit("", tuple(texts), tuple(calls))


def _names(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for groups in pattern.findall(text):
        yield next(filter(None, groups))


def _gathered(texts: list[str]) -> tuple[list[str], list[str]]:
    """The texts and those of the building blocks below them; the symbols of shared blocks."""
    kept: list[str] = []
    seen: set[str] = set()
    called: list[str] = []
    waiting = list(texts)
    while waiting:
        text = waiting.pop(0)
        kept.append(text)
        for symbol in _names(_DECLARED, text):
            if symbol in seen or not emit.is_block(symbol):
                continue
            seen.add(symbol)
            if _is_shared(symbol):
                called.append(symbol)
            else:
                waiting.append(emit.block_text(symbol))
    return kept, called


@cache
def _is_shared(symbol: str) -> bool:
    if not symbol.startswith("tcl_block_"):
        return False
    kept, called = _gathered([emit.block_text(symbol)])
    return bool(called) or sum(map(len, kept)) >= _SHARED


@cache
def target_machine(isa: str) -> Any:
    """The code generator of one instruction set."""
    # Register tiles are written in the order in which they fit the registers; another order spills.
    llvm.set_option("tiercel", "-enable-misched=false")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = llvm.get_default_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        reloc="pic", codemodel="default", opt=3, **TARGETS[isa]
    )


def emitted(texts: Iterable[str], isa: str) -> bytes:
    """One object of several IR modules; of their functions it exports those of C."""
    machine = target_machine(isa)
    first, *rest = texts
    module = llvm.parse_assembly(first)
    for text in rest:
        module.link_in(llvm.parse_assembly(text))
    for function in module.functions:
        if function.name.startswith("inner.") and not function.is_declaration:
            function.linkage = "internal"
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))

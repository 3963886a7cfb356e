"""PTX text as statements: the lexer, and what an instruction, a variable and a function are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import PtxError

TOKEN = re.compile(
    r"""(?P<skip>\s+)
      | (?P<string>"[^"]*")
      | (?P<number>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|0[xX][0-9a-fA-F]+U?|\d+U?)
      | (?P<name>[%$_.A-Za-z](?:[\w$.%]|::)*)
      | (?P<mark>[{}\[\](),;:@!|+\-=<>])""",
    re.VERBOSE,
)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A piece of text and the line it stands in."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """All tokens of a PTX text, without comments.

    Raises:
        PtxError: A character that begins no token.
    """
    text = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
    found: list[Token] = []
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise PtxError(f"line {line}: no PTX token begins with {text[at : at + 20]!r}")
        kind, piece = match.lastgroup or "", match.group(0)
        if kind != "skip":
            found.append(Token(kind, piece, line))
        line += piece.count("\n")
        at = match.end()
    return found


@dataclass(frozen=True)
class Address:
    """``[base+offset]``; the base is a register, a variable or a number."""

    base: str
    offset: int


@dataclass(frozen=True)
class Vector:
    """``{a, b, …}``."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """``a|b``: a result and a predicate beside it."""

    first: str
    second: str


@dataclass(frozen=True)
class Arguments:
    """``(a, b, …)`` of a call."""

    items: tuple[str, ...]


Operand = str | Address | Vector | Pair | Arguments


@dataclass(frozen=True)
class Place:
    """Where a statement stands: the CUDA source's file and line, when known, and the PTX line."""

    file: str
    line: int
    ptx_line: int


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``@!guard name.qualifier.type operands;``."""

    opcode: str
    operands: tuple[Operand, ...]
    place: Place
    guard: str | None = None
    negated: bool = False

    @property
    def parts(self) -> list[str]:
        """The opcode cut at its points."""
        return self.opcode.split(".")

    @property
    def name(self) -> str:
        """The first part: what is done."""
        return self.parts[0]

    @property
    def type(self) -> str:
        """The last part: the type it is done in."""
        return self.parts[-1]


@dataclass(frozen=True)
class Label:
    """A place to branch to."""

    name: str


@dataclass(frozen=True)
class Variable:
    """A declared variable: its space, element type, bytes and initial values.

    A count of -1 says that the size is known when the kernel is launched (dynamic shared memory).
    """

    space: str
    type: str
    name: str
    count: int
    align: int
    initial: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True)
class BranchTargets:
    """The labels of an indexed branch, under a name."""

    name: str
    labels: tuple[str, ...]


Statement = Instruction | Label | BranchTargets


@dataclass
class Function:
    """A kernel (``entry``) or a device function."""

    name: str
    entry: bool
    parameters: list[Variable]
    results: list[Variable]
    registers: dict[str, str] = field(default_factory=dict)  # name: type
    variables: list[Variable] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    max_threads: int = 0
    defined: bool = True


@dataclass
class ParsedModule:
    """All that a PTX text declares."""

    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)

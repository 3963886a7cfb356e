"""Reads a PTX module: variables, functions, and the instructions of each."""

from __future__ import annotations

import re
from dataclasses import replace

from .errors import PtxError
from .syntax import (
    Address,
    Arguments,
    BranchTargets,
    Function,
    Instruction,
    Label,
    Operand,
    Pair,
    ParsedModule,
    Place,
    Token,
    Variable,
    Vector,
    tokens,
)

SPACES = {".global", ".const", ".shared", ".local", ".param", ".reg"}
LINKAGE = {".visible", ".extern", ".weak", ".common"}
LIMITS = {".maxntid", ".reqntid", ".minnctapersm", ".maxnreg", ".maxnctapersm", ".noreturn"}


class Reader:
    """A place in the tokens, and the small readers that move it."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.tokens.append(Token("end", "", self.tokens[-1].line if self.tokens else 1))
        self.at = 0

    @property
    def now(self) -> Token:
        """The token that is read next."""
        return self.tokens[self.at]

    def next(self) -> Token:
        """Takes one token."""
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, text: str) -> bool:
        """Takes the next token if it is this one."""
        if self.now.text != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        """Takes the next token, which must be this one."""
        if not self.accept(text):
            raise PtxError(f"line {self.now.line}: expected {text!r}, got {self.now.text!r}")

    def number(self) -> int:
        """A whole number, signed."""
        sign = -1 if self.accept("-") else 1
        return sign * int(self.next().text.rstrip("U"), 0)

    def skip_past(self, text: str) -> None:
        """Skips up to and past a token."""
        while self.now.kind != "end" and self.next().text != text:
            pass


class Parser:
    """Parses one module."""

    def __init__(self, text: str) -> None:
        self.reader = Reader(text)
        self.module = ParsedModule()
        self.files = dict(re.findall(r'^\s*\.file\s+(\d+)\s+"([^"]+)"', text, re.MULTILINE))
        self.place = Place("", 0, 0)
        self.scopes: list[tuple[int, dict[str, str]]] = []
        self.scope_count = 0

    def parse(self) -> ParsedModule:
        """The whole module."""
        r = self.reader
        while r.now.kind != "end":
            self.top_level()
        return self.module

    def top_level(self) -> None:
        """One directive of the module."""
        r = self.reader
        token = r.next()
        text = token.text
        if text in LINKAGE:
            return
        if text in (".version", ".target", ".address_size"):
            while r.now.line == token.line and r.now.kind != "end":
                r.next()
        elif text == ".file":
            r.next()
            r.next()
            while r.accept(","):
                r.number()
        elif text == ".section":
            r.skip_past("}")
        elif text == ".alias":
            r.skip_past(";")
        elif text in (".entry", ".func"):
            self.function(text == ".entry")
        elif text in SPACES:
            self.module.variables.extend(self.variables(text[1:], token.line))
        elif text != ";":
            raise PtxError(f"line {token.line}: unknown directive {text!r}")

    # ---- declarations

    def variables(self, space: str, line: int) -> list[Variable]:
        """``.align 4 .b8 name[16] = {…}, other;`` after the space."""
        found = [self.variable(space, line)]
        while self.reader.accept(","):
            first = found[0]
            found.append(self.declarator(space, first.type, first.align, line))
        self.reader.expect(";")
        return found

    def variable(self, space: str, line: int) -> Variable:
        """One declaration: attributes, type, name, extent, initial values."""
        r = self.reader
        align, kind, lanes = 0, "", 1
        while r.now.text.startswith("."):
            text = r.next().text
            if text == ".align":
                align = r.number()
            elif text in (".v2", ".v4"):
                lanes = int(text[2])
            elif text in (".ptr", ".const", ".global", ".shared", ".local"):
                continue
            elif text == ".attribute":
                r.skip_past(")")
            else:
                kind = text[1:]
        size = size_of(kind, line)
        found = self.declarator(space, kind, align or size * lanes, line)
        return found if lanes == 1 else replace(found, count=found.count * lanes)

    def declarator(self, space: str, kind: str, align: int, line: int) -> Variable:
        """A name with its extents and initial values."""
        r = self.reader
        name = r.next().text
        count = 1
        initial: tuple[str, ...] = ()
        while r.accept("["):
            count = -1 if r.now.text == "]" else count * r.number()
            r.expect("]")
        if r.accept("="):
            initial = self.initial_values()
        return Variable(space, kind, name, count, align, initial, line)

    def initial_values(self) -> tuple[str, ...]:
        """``{1, 2}`` or one value; symbols and their addresses stay as text."""
        r = self.reader
        values: list[str] = []
        depth = 0
        while True:
            if r.accept("{"):
                depth += 1
            elif r.accept("}"):
                depth -= 1
            elif not r.accept(","):
                text = "-" + r.next().text if r.accept("-") else r.next().text
                values.append(text)
            if depth == 0:
                return tuple(values)

    def parameters(self) -> list[Variable]:
        """``(.param .u64 a, …)``."""
        r = self.reader
        found: list[Variable] = []
        while not r.accept(")"):
            space = r.next()
            if space.text not in (".param", ".reg"):
                raise PtxError(f"line {space.line}: expected '.param', got {space.text!r}")
            found.append(self.variable(space.text[1:], space.line))
            r.accept(",")
        return found

    # ---- functions

    def function(self, entry: bool) -> None:
        """A kernel or device function with its body, or a declaration without one."""
        r = self.reader
        results = self.parameters() if r.accept("(") else []
        name = r.next().text
        found = Function(name, entry, self.parameters() if r.accept("(") else [], results)
        while r.now.text in LIMITS:
            limit = r.next().text
            extents = []
            while r.now.kind == "number":
                extents.append(r.number())
                r.accept(",")
            if limit in (".maxntid", ".reqntid"):
                found.max_threads = 1
                for extent in extents:
                    found.max_threads *= extent
        if r.accept(";"):
            found.defined = False
        else:
            r.expect("{")
            self.place = Place("", 0, 0)
            self.scopes = [(0, {})]
            while self.scopes:
                self.statement(found)
        self.module.functions.append(found)

    def statement(self, function: Function) -> None:
        """One statement of a body; an inner scope renames what it declares."""
        r = self.reader
        token = r.now
        if token.kind == "end":
            raise PtxError(f"line {token.line}: the text ends inside {function.name}")
        if r.accept("{"):
            self.open_scope()
        elif r.accept("}"):
            self.scopes.pop()
        elif r.accept(";"):
            return
        elif token.text == ".loc":
            self.location()
        elif token.text == ".pragma":
            r.skip_past(";")
        elif token.text == ".reg":
            r.next()
            self.registers(function)
        elif token.text in SPACES:
            r.next()
            for variable in self.variables(token.text[1:], token.line):
                own = self.declare(variable.name)
                function.variables.append(replace(variable, name=own))
        elif r.tokens[r.at + 1].text == ":":
            self.label(function)
        else:
            function.statements.append(self.instruction())

    def location(self) -> None:
        """``.loc file line column, function_name …, inlined_at …``."""
        r = self.reader
        line = r.next().line
        file, source = r.next().text, r.number()
        self.place = Place(self.files.get(file, "").rsplit("/", 1)[-1], source, 0)
        while r.now.line == line and r.now.text not in ("}", "{"):
            r.next()

    def open_scope(self) -> None:
        """An inner scope: its labels are known before the branches to them."""
        self.scope_count += 1
        self.scopes.append((self.scope_count, {}))
        depth, at = 0, self.reader.at
        while depth >= 0 and self.reader.tokens[at].kind != "end":
            token = self.reader.tokens[at]
            depth += (token.text == "{") - (token.text == "}")
            if depth == 0 and token.text == ":":
                self.declare(self.reader.tokens[at - 1].text)
            at += 1

    def declare(self, name: str) -> str:
        """The name that a declaration gets, unique in its function."""
        number, names = self.scopes[-1]
        names[name] = f"{name}${number}" if number else name
        return names[name]

    def resolve(self, name: str) -> str:
        """The unique name of what a name means here."""
        for _, names in reversed(self.scopes):
            if name in names:
                return names[name]
        return name

    def registers(self, function: Function) -> None:
        """``.b32 %r<10>, %x;`` after ``.reg``."""
        r = self.reader
        kind = r.next().text[1:]
        while True:
            name = r.next().text
            names = [name]
            if r.accept("<"):
                names = [f"{name}{i}" for i in range(r.number())]
                r.expect(">")
            for each in names:
                function.registers[self.declare(each)] = kind
            if not r.accept(","):
                break
        r.expect(";")

    def label(self, function: Function) -> None:
        """A label, or the list of labels that bears a name."""
        r = self.reader
        name = self.resolve(r.next().text)
        r.expect(":")
        if r.accept(".branchtargets"):
            labels = [r.next().text]
            while r.accept(","):
                labels.append(r.next().text)
            r.expect(";")
            function.statements.append(BranchTargets(name, tuple(labels)))
        elif r.now.text == ".callprototype":
            r.skip_past(";")
        else:
            function.statements.append(Label(name))

    # ---- instructions

    def instruction(self) -> Instruction:
        """``@guard opcode operand, …;``."""
        r = self.reader
        guard, negated = None, False
        if r.accept("@"):
            negated = r.accept("!")
            guard = self.resolve(r.next().text)
        opcode = r.next()
        place = replace(self.place, ptx_line=opcode.line)
        operands: list[Operand] = []
        while not r.accept(";"):
            operands.append(self.operand())
            r.accept(",")
            if r.now.kind == "end":
                raise PtxError(f"line {opcode.line}: {opcode.text} has no end")
        return Instruction(opcode.text, tuple(operands), place, guard, negated)

    def operand(self) -> Operand:
        """A register, number, address, vector, pair, or the arguments of a call."""
        r = self.reader
        if r.accept("{"):
            return Vector(self.items("}"))
        if r.accept("("):
            return Arguments(self.items(")"))
        if r.accept("["):
            base, offset = self.resolve(r.next().text), 0
            while r.now.text in ("+", "-"):
                r.accept("+")
                offset += r.number()
            r.expect("]")
            return Address(base, offset)
        first = self.simple()
        return Pair(first, self.simple()) if r.accept("|") else first

    def items(self, end: str) -> tuple[str, ...]:
        """Simple operands up to a closing mark."""
        found = []
        while not self.reader.accept(end):
            found.append(self.simple())
            self.reader.accept(",")
        return tuple(found)

    def simple(self) -> str:
        """A name or number, with ``-`` or ``!`` before it, or ``name+number``."""
        r = self.reader
        sign = "-" if r.accept("-") else "!" if r.accept("!") else ""
        text = r.next().text
        if r.now.text == "+" and r.accept("+"):
            return f"{sign}{self.resolve(text)}+{r.number()}"
        return sign + self.resolve(text)


SIZES = {"pred": 1, "f16x2": 4, "bf16x2": 4}


def size_of(kind: str, line: int) -> int:
    """Bytes of a PTX type."""
    if kind in SIZES:
        return SIZES[kind]
    match = re.fullmatch(r"(?:b|u|s|f|bf|tf)(8|16|32|64)", kind)
    if match is None:
        raise PtxError(f"line {line}: unknown type {kind!r}")
    return int(match.group(1)) // 8


def parse(text: str) -> ParsedModule:
    """Reads a PTX module.

    Raises:
        PtxError: The text is not PTX, or a form that NVRTC does not write; says the line.
    """
    return Parser(text).parse()

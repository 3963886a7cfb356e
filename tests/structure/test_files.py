"""Every file keeps the limits: length, first line, names, and nothing left undone."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = {".py", ".pyi", ".cpp", ".h", ".c", ".cu"}
MAX_LINES, MAX_FUNCTION, MAX_COLUMNS = 500, 60, 100


def tracked() -> list[Path]:
    """Files under version control, or everything outside build folders."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = [name for name in listing.stdout.split("\0") if name]
    if not names:
        skipped = {".git", ".venv", "build", ".cache", "__pycache__"}
        files = (path for path in ROOT.rglob("*") if path.is_file())
        names = [str(f.relative_to(ROOT)) for f in files if not skipped & set(f.parts)]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


CODE_FILES = [path for path in tracked() if path.suffix in CODE]
IDS = [str(path.relative_to(ROOT)) for path in CODE_FILES]


@pytest.mark.parametrize("path", CODE_FILES, ids=IDS)
def test_length_and_columns(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MAX_LINES
    long = [number for number, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]
    assert not long, f"lines longer than {MAX_COLUMNS} columns"


@pytest.mark.parametrize("path", CODE_FILES, ids=IDS)
def test_first_line_says_what_the_file_is_for(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#!")]
    assert lines, "empty file"
    starts = ('"""', 'r"""') if path.suffix in (".py", ".pyi") else ("// ", "/* ")
    assert lines[0].startswith(starts)
    assert len(lines[0].split()) >= 4


def test_names() -> None:
    forbidden = re.compile(r"(^|_)(utils?|helpers?|common|misc)(_|$)")
    assert not [str(path) for path in tracked() if forbidden.search(path.stem)]


@pytest.mark.parametrize("path", CODE_FILES, ids=IDS)
def test_nothing_left_undone(path: Path) -> None:
    if path == Path(__file__):
        return
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError", path.read_text())


def python_functions(tree: ast.AST) -> list[tuple[str, int]]:
    """Name and length of every function; a function inside another counts on its own."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        inner: set[int] = set()
        for child in ast.walk(node):
            if child is not node and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                inner.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
        lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        found.append((node.name, len(lines - inner)))
    return found


def cpp_functions(text: str) -> list[tuple[str, int]]:
    """Line and length of every function at namespace level, by clang-format's own layout.

    A function that is one table, ``OpList name() { return {…}; }``, is data and may be longer.
    """
    found = []
    start = None
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"[A-Za-z_\[].*[(]", line) and not line.endswith(";"):
            start = number
        elif start and line.endswith(";") and "{" not in "".join(lines[start - 1 : number]):
            start = None  # a declaration over several lines
        elif start is not None and line.startswith("}"):
            if line.rstrip() == "}" and not lines[start].strip().startswith("return {"):
                found.append((f"line {start}", number - start + 1))
            start = None
    return found


@pytest.mark.parametrize("path", CODE_FILES, ids=IDS)
def test_function_length(path: Path) -> None:
    text = path.read_text()
    if path.suffix in (".py", ".pyi"):
        functions = python_functions(ast.parse(text))
    else:
        functions = cpp_functions(text)
    assert not [entry for entry in functions if entry[1] > MAX_FUNCTION]


def test_documents_are_there() -> None:
    for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY"):
        assert (ROOT / f"{name}.md").read_text().startswith("# ")
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_readme_shows_what_it_promises() -> None:
    text = (ROOT / "README.md").read_text()
    for needle in (
        "make demo",
        "make test",
        "pip install",
        "import tiercel as ort",
        "tiercel bench",
    ):
        assert needle in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link

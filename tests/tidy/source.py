"""Owns what the tidy tests look at: the project's files, and the facts of each function in them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("shardd", "s3d")
CODE = (*PACKAGES, "bench", "tests")
SCRIPTS = ("bin", ".ci")


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method: where it is and how big. `positional` counts what a caller may pass by place."""

    place: str
    name: str
    lines: int
    parameters: int
    positional: int


def python_files(*folders: str) -> list[Path]:
    """The Python files of these folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def shown(path: Path) -> str:
    """A path as a person writes it: from the project's folder."""
    return str(path.relative_to(ROOT))


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), str(path))


def functions(*folders: str) -> Iterator[Function]:
    """Every function of these folders, methods and inner functions too."""
    for path in python_files(*folders):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _function(path, node)


def _function(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    arguments = node.args
    by_place = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    if by_place[:1] in (["self"], ["cls"]):
        by_place = by_place[1:]
    return Function(
        place=f"{shown(path)}:{node.lineno}",
        name=node.name,
        lines=(node.end_lineno or node.lineno) - node.lineno + 1,
        parameters=len(by_place) + len(arguments.kwonlyargs),
        positional=len(by_place),
    )

"""Owns the rules about words: what each file owns, names that say nothing, errors caught too widely, tasks dropped."""

import ast
import re
from pathlib import Path

import pytest

from tests.tidy.source import CODE, PACKAGES, ROOT, SCRIPTS, python_files, shown, text_of, tree_of

BANNED = re.compile(r"(?:^|_)(utils?|helpers?|managers?|misc|stuff)(?:_|$)|^common$")
# The two outer doors, where anything at all becomes an answer and a log line.
DOORS = {"s3d/app.py", "shardd/service.py"}
# What a machine of ours looks like is nobody else's business, and must not be needed anywhere.
FOREIGN = re.compile(r"/work/|/root/|/home/\w|pythonhosted|pypi\.org|--index-url|--find-links|TODO|FIXME")
THIS = Path(__file__)


@pytest.mark.parametrize("path", python_files(*PACKAGES, "bench", "tests"), ids=shown)
def test_each_file_says_what_it_owns(path: Path) -> None:
    if not text_of(path).strip():
        assert path.name == "__init__.py"
        return
    said = ast.get_docstring(tree_of(path)) or ""
    assert said, "no docstring"
    if path.is_relative_to(ROOT / "tests"):
        return
    assert said.startswith("Owns "), said.partition("\n")[0]


def test_names_say_something() -> None:
    found = [shown(path) for path in python_files(*CODE) if BANNED.search(path.stem)]
    for path in python_files(*CODE):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower()
                if BANNED.search(words):
                    found.append(f"{shown(path)}:{node.lineno} {node.name}")
    assert not found


def test_only_the_outer_doors_catch_everything() -> None:
    found = []
    for path in python_files(*PACKAGES):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
                found.append(f"{shown(path)}:{node.lineno}")
    assert [place for place in found if place.partition(":")[0] not in DOORS] == []
    assert len(found) <= len(DOORS), found


def _is_broad(kind: ast.expr | None) -> bool:
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_no_task_is_dropped() -> None:
    """A task that nobody holds may vanish, and its error with it."""
    found = []
    for path in python_files(*PACKAGES):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                called = ast.unparse(node.value.func)
                if called.endswith("ensure_future") or (
                    called.endswith("create_task") and not _is_group(called)
                ):
                    found.append(f"{shown(path)}:{node.lineno} {called}")
    assert not found


def _is_group(called: str) -> bool:
    return any(word in called for word in ("group", "tasks."))


def test_nothing_of_a_developers_machine_is_in_the_files() -> None:
    found = []
    paths = [path for folder in (*CODE, *SCRIPTS) for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths += [path for path in ROOT.iterdir() if path.is_file() and path.name not in (".git", "LICENSE")]
    for path in paths:
        if path == THIS or path.suffix in (".pyc", ".bin", ".golden"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{shown(path)}:{number} {line.strip()[:100]}")
    assert not found

"""Only one module each writes the record of an execution and its end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

OPERATORS = Path(__file__).parents[2] / "operators" / "sagebridge_operators"
WRITES = {
    "create",
    "delete_object",
    "put",
    "put_object",
    "remove",
    "rename",
    "replace",
    "unlink",
    "write",
    "write_bytes",
    "write_text",
}
"""Methods that change stored objects, in a folder or in S3."""


def modules() -> dict[str, ast.Module]:
    """The AST of every module without docstrings, by path below the package."""
    found = {}
    for path in sorted(OPERATORS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [one for one in body if not is_text(one)]  # type: ignore[attr-defined]
        found[str(path.relative_to(OPERATORS))] = tree
    return found


def is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def texts(tree: ast.AST) -> Iterator[str]:
    """The string constants below a node, including those of f-strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def holds(tree: ast.AST, word: str) -> bool:
    return any(word in text for text in texts(tree))


def writes(tree: ast.AST, word: str) -> bool:
    """Whether a writing call contains the word, or a function that returns it."""
    keys = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Return) and holds(one, word) for one in ast.walk(node))
    }
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in WRITES
        and any(holds(given, word) or keys & called(given) for given in call.args)
        for call in ast.walk(tree)
    )


def called(tree: ast.AST) -> set[str]:
    """The names of all functions called below a node."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {func.id for func in calls if isinstance(func, ast.Name)}


@pytest.mark.parametrize(
    ("file", "writers", "readers"),
    [
        ("execution.json", {"opening.py"}, {"records.py"}),
        ("end.json", {"ending.py", "opening.py"}, {"records.py"}),
    ],
)
def test_only_opening_and_ending_write(file: str, writers: set[str], readers: set[str]) -> None:
    """A module without the file's name cannot write it; records.py only reads it."""
    known = {name for name, tree in modules().items() if holds(tree, file)}
    writing = {name for name, tree in modules().items() if writes(tree, file)}
    assert known == {f"lifecycle/{name}" for name in writers | readers}
    assert writing == {f"lifecycle/{name}" for name in writers}


def test_only_the_lifecycle_writes_objects() -> None:
    """No other module builds keys and writes records."""
    changing = {
        name
        for name, tree in modules().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in WRITES
        and isinstance(call.func.value, ast.Attribute)
        and call.func.value.attr == "objects"
    }
    known = "answers ending for_each_slots opening records user_code/step_context"
    assert changing == {f"lifecycle/{name}.py" for name in known.split()}


def test_writers_are_private_to_their_modules() -> None:
    private = {"_write_end": "lifecycle/ending.py"}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in private:
                assert name == private[node.attr]

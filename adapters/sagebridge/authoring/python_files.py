"""Python files as sources: ``file.py#name``, and the flow functions in a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagebridge.errors import SourceError

FlowFunction = ast.FunctionDef | ast.AsyncFunctionDef


def split_source(source: Any) -> tuple[str, str | None]:
    """Split ``file.py#name`` into file and name; an existing file can have ``#`` in its name.

    Raises :class:`SourceError` for a string of several lines, which cannot be a file name.
    """
    text = str(source)
    if "\n" in text:
        raise SourceError("<text>", "not a file name", "write the Python source to a file first")
    if Path(text).exists() or "#" not in text:
        return text, None
    file, _, wanted = text.rpartition("#")
    return file, wanted


def flow_functions(tree: ast.Module) -> Iterator[FlowFunction]:
    """The functions in a file that are decorated with Prefect's ``@flow``."""
    names = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module in ("prefect", "prefect.flows")
        for alias in node.names
        if alias.name == "flow"
    }
    modules = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "prefect"
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            _is_flow(decorator, names, modules) for decorator in node.decorator_list
        ):
            yield node


def _is_flow(node: ast.expr, names: set[str], modules: set[str]) -> bool:
    match node.func if isinstance(node, ast.Call) else node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(value=ast.Name(id=module), attr="flow"):
            return module in modules
    return False

"""Python files as sources: ``file.py#name``, and the flows and SDK pipelines in a file."""

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


def sdk_pipelines(tree: ast.Module) -> list[str]:
    """The names of pipelines in a file that uses the SageMaker SDK, found without executing it.

    They are variables, and functions that return a pipeline, each with its required arguments as in
    ``get_pipeline --arg region=VALUE``.
    """
    if not any(_imports_sdk(node) for node in ast.walk(tree)):
        return []
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    makers = {"Pipeline", *(one.name for one in functions if _returns_pipeline(one))}
    variables = _assigned(tree.body, makers)
    calls = (
        " ".join((one.name, *(f"--arg {name}=VALUE" for name in _required(one))))
        for one in functions
        if one.name in makers
    )
    return [*dict.fromkeys((*variables, *calls))]


def _imports_sdk(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(one.name.partition(".")[0] == "sagemaker" for one in names)
        case ast.ImportFrom(module=str(module), level=0):
            return module.partition(".")[0] == "sagemaker"
    return False


def _assigned(body: list[ast.stmt], makers: set[str]) -> list[str]:
    """The variables that are assigned the result of a call of one of the makers."""
    found = []
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=function)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=function)):
                pass
            case _:
                continue
        if _last_name(function) in makers:
            found.append(name)
    return found


def _returns_pipeline(function: ast.FunctionDef) -> bool:
    if function.returns is not None and _last_name(function.returns) == "Pipeline":
        return True
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
    own = _assigned(statements, {"Pipeline"})
    values = [node.value for node in statements if isinstance(node, ast.Return)]
    return any(
        (isinstance(value, ast.Name) and value.id in own)
        or (isinstance(value, ast.Call) and _last_name(value.func) == "Pipeline")
        for value in values
    )


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return name
    return ""


def _required(function: ast.FunctionDef) -> list[str]:
    """The arguments without a default."""
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    required = plain[: len(plain) - len(given.defaults)]
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return [one.arg for one in (*required, *(arg for arg, default in keywords if default is None))]

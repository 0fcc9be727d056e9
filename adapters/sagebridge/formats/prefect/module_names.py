"""The module-level names of a flow file: imports, helper functions, constants."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from sagebridge.authoring.pipeline_builder import PipelineBuilder
from sagebridge.formats.prefect.importable_names import PACKAGE, Module, importable_names
from sagebridge.formats.prefect.source_interpreter import (
    PLAIN,
    FlowSyntaxError,
    Interpreter,
    UnsupportedSyntax,
)

_CHANGEABLE = (list, dict, ast.FunctionDef)


def module_names(tree: ast.Module, builder: PipelineBuilder) -> dict[str, Any]:
    """The module-level names; the value of an unsupported one is the UnsupportedSyntax to raise."""
    importable = importable_names(builder)
    names: dict[str, Any] = {}
    interpreter = Interpreter(builder, names)
    for node in tree.body:
        match node:
            case ast.ImportFrom(module=module, names=aliases):
                for alias in aliases:
                    known = module == PACKAGE and alias.name in importable
                    names[alias.asname or alias.name] = (
                        importable[alias.name]
                        if known
                        else UnsupportedSyntax(node, f"{module}.{alias.name}")
                    )
            case ast.Import(names=aliases):
                for alias in aliases:
                    name = alias.asname or alias.name.partition(".")[0]
                    known = alias.name == PACKAGE and alias.asname is not None
                    names[name] = (
                        Module(importable)
                        if known
                        else UnsupportedSyntax(node, f"module {alias.name}")
                    )
            case ast.FunctionDef(name=name):
                names[name] = node
            case ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                names[name] = UnsupportedSyntax(node, f"the name {name!r}")
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    names[name] = interpreter.value(value, {})
                except (UnsupportedSyntax, FlowSyntaxError) as error:
                    if _may_change(value, names):
                        _forget_constants(node, names)
                    names[name] = UnsupportedSyntax(node, str(error))
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                pass
            case ast.Expr(value=value) if not _may_change(value, names):
                pass
            case _:
                _forget_constants(node, names)
    return names


def _may_change(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether an expression calls a function of the file or passes a list or dict to a function."""
    calls = any(isinstance(one, ast.Call) for one in ast.walk(node))
    return calls and any(isinstance(names.get(one), _CHANGEABLE) for one in _mentioned(node))


def _forget_constants(node: ast.stmt, names: dict[str, Any]) -> None:
    """Mark all constants as unknown after an unsupported statement."""
    beyond = UnsupportedSyntax(node, "a name that an unsupported statement may have changed")
    constants = [name for name, value in names.items() if isinstance(value, PLAIN)]
    names.update(dict.fromkeys((*constants, *_mentioned(node)), beyond))


def _mentioned(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))

"""Calls that print or log."""

from __future__ import annotations

import ast
import logging
from typing import TYPE_CHECKING

from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import RunTimeValueUsed, is_symbol
from sagebridge.formats.prefect.source.purity import LOG_METHODS, UNKNOWN, resolved

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.expressions import Expressions

_AROUND = (
    *(ast.If, ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
    *(ast.ExceptHandler, ast.match_case),
)


def printed(node: ast.AST, frame: Frame, known: Expressions) -> list[tuple[int, str]] | None:
    """The line and description of each output of a statement that only prints or logs.

    It may do so in branches and loops; None for any other statement.
    """
    match node:
        case ast.Expr(value=ast.Call() as call) if what := output(call, frame, known):
            return [(node.lineno, what)]
    if not isinstance(node, _AROUND):
        has_effect = isinstance(node, ast.stmt) or not known.purity.of(node, frame.scope)
        return None if has_effect and not isinstance(node, ast.Pass) else []
    found = list[tuple[int, str]]()
    for child in ast.iter_child_nodes(node):
        if (inner := printed(child, frame, known)) is None:
            return None
        found += inner
    return found


def output(node: ast.Call, frame: Frame, known: Expressions) -> str:
    """The description of a call that prints or logs; empty for any other."""
    function = resolved(node.func, frame.scope)
    if function is print:
        return "" if any(one.arg == "file" for one in node.keywords) else "print()"
    if isinstance(node.func, ast.Attribute) and node.func.attr in LOG_METHODS:
        owner = node.func.value
        if known.engine.calls(owner, frame.scope):
            return ""
        with_logger = resolved(owner, frame.scope)
        if with_logger is UNKNOWN and known.purity.of(owner, frame.scope):
            try:
                with_logger = known.native(owner, frame)
            except (RunTimeValueUsed, Exception):  # noqa: BLE001
                return ""
        if is_symbol(with_logger):
            return ""
        if isinstance(with_logger, logging.Logger | logging.LoggerAdapter):
            return f"logger.{node.func.attr}()"
    match node.func:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=stream)):
            if stream in ("stdout", "stderr"):
                return f"{node.func.attr}() to the terminal"
    if getattr(function, "__module__", "") in ("_warnings", "warnings"):
        return "warnings.warn()"
    return ""

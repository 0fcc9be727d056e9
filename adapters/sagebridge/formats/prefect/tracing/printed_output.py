"""Calls that print or log."""

from __future__ import annotations

import ast
import logging
from typing import TYPE_CHECKING

from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import RunTimeValueUsed, is_symbol
from sagebridge.formats.prefect.source.purity import UNKNOWN, resolved

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.expressions import Expressions

_LOG_METHODS = frozenset(
    ("critical", "debug", "error", "exception", "fatal", "info", "log", "warn", "warning")
)


def output(node: ast.Call, frame: Frame, known: Expressions) -> str:
    """The description of a call that prints or logs; empty for any other."""
    function = resolved(node.func, frame.scope)
    if function is print:
        return "" if any(one.arg == "file" for one in node.keywords) else "print()"
    if isinstance(node.func, ast.Attribute) and node.func.attr in _LOG_METHODS:
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

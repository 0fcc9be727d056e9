"""Calls that print, and values that cannot be the result of a step."""

from __future__ import annotations

import ast
import logging
from typing import TYPE_CHECKING

from sagebridge.formats.prefect.recording.code_steps import Frame
from sagebridge.formats.prefect.recording.symbols import RunTimeValueUsed, type_of
from sagebridge.formats.prefect.source.names import loaded_names
from sagebridge.formats.prefect.source.purity import UNKNOWN, resolved

if TYPE_CHECKING:
    from sagebridge.formats.prefect.tracing.expressions import Expressions

_LOG_METHODS = frozenset(
    ("critical", "debug", "error", "exception", "fatal", "info", "log", "warn", "warning")
)
_CLIENTS = frozenset(("boto3", "botocore", "httpx", "requests", "sqlalchemy", "psycopg2", "redis"))
"""Packages whose objects cannot be the result of a step."""
OF_BLOCK = "of a block"
"""The type of a value of a block, which is not stored as the result of a step."""


def handle_type(node: ast.expr, frame: Frame) -> str | None:
    """The type of a value that cannot pass from step to step, such as a client; None for others."""
    secret = any(type_of(frame.scope.get(name)) == OF_BLOCK for name in loaded_names(node))
    for one in ast.walk(node):
        function = resolved(one.func, frame.scope) if isinstance(one, ast.Call) else UNKNOWN
        owner = getattr(function, "__self__", None)
        if isinstance(owner, type) and hasattr(owner, "load") and hasattr(owner, "model_fields"):
            secret = True
    if secret:
        return OF_BLOCK
    if isinstance(node, ast.Call):
        function = resolved(node.func, frame.scope)
        module = getattr(function, "__module__", None) or ""
        if function is not UNKNOWN and module.partition(".")[0] in _CLIENTS:
            return ""
    return None


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
        if isinstance(with_logger, logging.Logger | logging.LoggerAdapter):
            return f"logger.{node.func.attr}()"
    match node.func:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="sys"), attr=stream)):
            if stream in ("stdout", "stderr"):
                return f"{node.func.attr}() to the terminal"
    if getattr(function, "__module__", "") in ("_warnings", "warnings"):
        return "warnings.warn()"
    return ""

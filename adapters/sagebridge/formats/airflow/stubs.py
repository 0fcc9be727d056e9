"""Stubs for the tasks of a DAG that are dropped."""

from __future__ import annotations

import ast
import linecache
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

from sagebridge.formats.python.function_source import function_text
from sagebridge.model.code_steps import STUB, StubStep, quoted_source, stub_arguments
from sagebridge.model.pipeline import Step


def stub_of(task: Any, name: str, reason: str, file: str, line: int) -> StubStep:
    """The stub of a task that a line of the file created.

    It quotes the function of a Python task, otherwise the call that created the task.
    """
    function = getattr(task, "python_callable", None)
    own = isinstance(function, FunctionType) and function.__code__.co_filename == file
    text = function_text(function) if own else ""
    lines = quoted_source(text or _call_at(file, line))
    kind = getattr(task, "operator_name", type(task).__name__)
    if kind not in reason:
        reason = f"{kind}: {reason}"
    given = stub_arguments(reason, f"{Path(file).name}:{line}", lines)
    return StubStep.of(Step(name, STUB, arguments=given), str(line))


@cache
def _last_lines(file: str) -> dict[int, int]:
    """The last line of the longest call that begins on each line of a file."""
    found: dict[int, int] = {}
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        if isinstance(node, ast.Call):
            found[node.lineno] = max(node.end_lineno or 0, found.get(node.lineno, 0))
    return found


def _call_at(file: str, line: int) -> str:
    with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        last = _last_lines(file).get(line, line)
        return "".join(linecache.getlines(file)[line - 1 : last])
    return ""

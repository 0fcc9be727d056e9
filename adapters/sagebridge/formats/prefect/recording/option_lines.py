"""Where the options of a flow are in its file."""

from __future__ import annotations

import ast
from typing import Any

from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.python.argument_lines import ArgumentLines, call_lines, decorator_lines


def option_lines(file: UserFile, flow: Any, here: int) -> ArgumentLines:
    """Where a flow has its options: in its decorator, or in the last ``with_options``."""
    definition = file.definition(flow.fn)
    if definition is None:
        return ArgumentLines(here)
    found = decorator_lines(definition)
    if file.names.get(definition.name) is flow:
        return found
    for call in ast.walk(file.tree):
        match call:
            case ast.Call(func=ast.Attribute(ast.Name(id=name), "with_options")) if (
                name == definition.name and _has_options(flow, call)
            ):
                own = call_lines(call)
                found = ArgumentLines(own.line, {**found.arguments, **own.arguments})
                if call.lineno <= here <= (call.end_lineno or here):
                    break
    return found


def _has_options(flow: Any, call: ast.Call) -> bool:
    """Whether a flow has the constants that a call of ``with_options`` sets."""
    given = {one.arg: one.value.value for one in call.keywords if type(one.value) is ast.Constant}
    return all(getattr(flow, name or "", value) == value for name, value in given.items())

"""The execution of a traced file's module, in which values of the Prefect server are unknown."""

from __future__ import annotations

import ast

from sagebridge.formats.prefect.recording.symbols import (
    RunTimeValueUsed,
    Symbol,
)
from sagebridge.formats.prefect.source.names import stored_names
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.formats.python.import_guard import SideEffectError


def execute_module(file: UserFile) -> None:
    """Execute a file. A value that is made from one of the server is computed by steps."""
    for statement in file.tree.body:
        try:
            exec(file.compiled(statement), vars(file.module))  # noqa: S102 - importing a file executes it
        except RunTimeValueUsed:
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                _raise(statement, file)
            for name in stored_names(statement):
                code_ = ast.Name(name, ast.Load())
                setattr(file.module, name, Symbol(None, "", code_))


def _raise(statement: ast.stmt, file: UserFile) -> None:
    what = "tests or iterates over a value of the Prefect server"
    error = SideEffectError(what)
    node = ast.copy_location(ast.Raise(ast.Name("error", ast.Load())), statement)
    exec(file.compiled(node), {"error": error})  # noqa: S102 - the error is at the line of the statement

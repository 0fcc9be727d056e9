"""Python functions and shell commands of a DAG, carried as source where they stand on their own."""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import textwrap
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from sagebridge.formats.airflow.values import Unsayable, Values
from sagebridge.model.carried import PYTHON, SHELL
from sagebridge.model.names import shown
from sagebridge.model.pipeline import Step
from sagebridge.model.values import Object

_CONTEXT = frozenset(
    (
        "conn",
        "context",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "logical_date",
        "macros",
        "params",
        "run_id",
        "task",
        "task_instance",
        "ti",
        "ts",
        "ts_nodash",
        "var",
    )
)
"""Arguments that Airflow fills in when a function has them."""


class NotSelfContained(Exception):
    """A function or command that is no whole without its file; the text says why."""


def python_step(operator: Any, name: str, values: Values, origin: str) -> Step:
    """A PythonOperator or @task function with its source. Raises :class:`NotSelfContained`."""
    function = operator.python_callable
    source = self_contained(function, decorated=hasattr(operator, "custom_operator_name"))
    given = inspect.signature(function).parameters
    filled = sorted(_CONTEXT.intersection(given).difference(operator.op_kwargs))
    if filled or any(one.kind is one.VAR_KEYWORD for one in given.values()):
        raise NotSelfContained(f"takes Airflow's context ({', '.join(filled) or '**kwargs'})")
    arguments = {"args": list(operator.op_args), "kwargs": dict(operator.op_kwargs)}
    return Step(
        name,
        PYTHON,
        arguments=_sayable(arguments, values),
        extra=Object({"Callable": function.__name__, "Source": source, "Origin": origin}),
    )


def shell_step(operator: Any, name: str, values: Values, origin: str) -> Step:
    """A BashOperator with its command. Raises :class:`NotSelfContained`."""
    command = operator.bash_command
    if not isinstance(command, str):
        raise NotSelfContained("has a command that is known only when the DAG runs")
    if command.endswith((".sh", ".bash")):
        raise NotSelfContained(f"runs a file beside it, {command.split()[-1]}")
    if operator.cwd:
        raise NotSelfContained("runs in a folder of its own (cwd)")
    arguments: dict[str, Any] = {"command": command}
    if operator.env:
        arguments["env"] = operator.env
    return Step(
        name, SHELL, arguments=_sayable(arguments, values), extra=Object({"Origin": origin})
    )


def _sayable(arguments: Mapping[str, Any], values: Values) -> Object:
    try:
        found = values.of(arguments)
    except Unsayable as unknown:
        raise NotSelfContained(f"is given {unknown.what}") from None
    assert isinstance(found, Object)
    return found


def self_contained(function: Any, *, decorated: bool) -> str:
    """The source of a function that needs nothing of its module, without Airflow's decorator.

    Raises :class:`NotSelfContained`.
    """
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise NotSelfContained("is no function with a name")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        raise NotSelfContained("has no source that can be read") from None
    (definition,) = tree.body
    if not isinstance(definition, ast.FunctionDef):
        raise NotSelfContained("is no plain function")
    if len(definition.decorator_list) > int(decorated):
        raise NotSelfContained("has a decorator of its own")
    definition.decorator_list = []
    source = ast.unparse(tree)
    used = sorted(set(_free(symtable.symtable(source, "source", "exec"))))
    if used:
        raise NotSelfContained(f"uses {', '.join(map(shown, used))} of its module")
    return source


def _free(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that a source takes from elsewhere, builtins apart."""
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}

    def inside(scope: symtable.SymbolTable, top: bool) -> Iterator[str]:
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            outer = symbol.is_global() or (top and not symbol.is_assigned())
            if outer and symbol.is_referenced() and name not in own and not hasattr(builtins, name):
                yield name
        for child in scope.get_children():
            yield from inside(child, top=False)

    yield from inside(table, top=True)

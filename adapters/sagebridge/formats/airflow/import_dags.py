"""Import DAG files in a subprocess and print the pipelines of their DAGs.

``python -m sagebridge.formats.airflow.import_dags`` speaks the protocol of
:mod:`sagebridge.formats.python.import_process`. It imports Airflow once for all files.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from sagebridge.errors import ModelTypeError, PythonFileError
from sagebridge.formats.airflow.old_files import accept_old_arguments, check_imports, migrated
from sagebridge.formats.python.argument_lines import ArgumentLines, dag_lines
from sagebridge.formats.python.file_readings import NO_DAG
from sagebridge.formats.python.import_inputs import other_value, read_input
from sagebridge.formats.python.import_process import (
    Answer,
    describe,
    execute,
    new_module,
    serve,
    set_environment,
)
from sagebridge.model.expressions import strings_forbidden

_PRELOAD = "sagebridge.preload"
"""Entry point group of packages to import before forking, as most DAG files import them."""
_NO_DAG_FIX = (
    "assign a DAG to a module variable, open it in `with DAG(…)`, or call the function decorated "
    "with @dag"
)


class SourceLines:
    """The line of a DAG file that created each DAG and task."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.dags: list[Any] = []
        self._instructions: dict[int, tuple[CodeType, int]] = {}
        self._lines: dict[CodeType, tuple[list[int], list[int | None]]] = {}

    def line(self, item: object) -> int:
        """The innermost line of the file that created ``item``; 1 if another file created it."""
        if id(item) not in self._instructions:
            return 1
        code, instruction = self._instructions[id(item)]
        if code not in self._lines:
            spans = [(start, line) for start, _, line in code.co_lines()]
            self._lines[code] = [start for start, _ in spans], [line for _, line in spans]
        starts, lines = self._lines[code]
        return lines[bisect_right(starts, instruction) - 1] or 1

    def arguments(self, dag: object) -> ArgumentLines:
        """The lines of the arguments of a DAG."""
        line = self.line(dag)
        try:
            return dag_lines(Path(self.file).read_text("utf-8"), line)
        except (OSError, ValueError):
            return ArgumentLines(line)

    def record(self, item: object) -> None:
        """Note the current instruction of the file. :meth:`line` finds its line later, if needed.

        ``frame.f_lineno`` would scan the line table of the whole module for every task.
        """
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and (
            frame.f_code.co_filename != self.file or frame.f_code.co_name == "__init__"
        ):  # the __init__ of a custom operator calls that of its base class
            frame = frame.f_back
        if frame is not None:
            self._instructions[id(item)] = frame.f_code, frame.f_lasti

    @contextmanager
    def record_all(self) -> Iterator[None]:
        """Record each DAG and task as Airflow creates it.

        Airflow has no hook for this, so methods of ``DAG`` (airflow/sdk/definitions/dag.py) are
        replaced. ``DAG.__hash__`` is one of them: it covers all tasks and is called for each edge,
        so that the import of a DAG would take quadratic time.
        """
        from airflow import sdk

        DAG: Any = sdk.DAG  # noqa: N806 - a class
        begin, add, hashed = DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__

        def record_dag(dag: Any) -> None:
            self.record(dag)
            self.dags.append(dag)
            begin(dag)

        def record_task(dag: Any, task: Any) -> None:
            self.record(task)
            add(dag, task)

        DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = (
            record_dag,
            record_task,
            object.__hash__,
        )
        try:
            yield
        finally:
            DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = begin, add, hashed


def _import_airflow(home: str) -> None:
    """Import everything that creating and reading a DAG needs, once for all files.

    Airflow runs with an empty ``home``, without the configuration or database of this machine.
    """
    settings = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # airflow/__init__.py skips its settings, and so the database, if this is set.
        "_AIRFLOW__AS_LIBRARY": "1",
    }
    set_environment(("AIRFLOW__", "AIRFLOW_CONFIG"), settings)
    from airflow.sdk import DAG

    from sagebridge.formats.airflow import dag_reader  # noqa: F401

    for operators in entry_points(group=_PRELOAD, name="airflow"):
        with suppress(ImportError):
            operators.load()
    DAG("warm", schedule=None)
    accept_old_arguments()
    _replace_settings()


def _replace_settings() -> None:
    """Record Variables and Connections that a file reads on import."""
    from airflow.sdk import Connection, Variable

    sdk: Any = Variable
    sdk.get = _variable(sdk.get)
    owner: Any = Connection
    get = owner.get

    def connection(conn_id: str) -> Any:
        return read_input(
            f"the Airflow Connection {conn_id!r}",
            conn_id,
            lambda: get(conn_id),
            vary=_other_connection,
            is_default=False,
            fix=f"set the environment variable AIRFLOW_CONN_{conn_id.upper()}",
            code="connection",
        )

    owner.get = connection


def _variable(get: Callable[..., Any]) -> Callable[..., Any]:
    def variable(key: str, *args: Any, **kwargs: Any) -> Any:
        return read_input(
            f"the Airflow Variable {key!r}",
            key,
            lambda: get(key, *args, **kwargs),
            fix=f"set the environment variable AIRFLOW_VAR_{key.upper()}",
            code="variable",
        )

    return variable


def _other_connection(known: Any) -> Any:
    from airflow.sdk import Connection

    names = ("host", "login", "password", "schema", "port", "extra")
    values = {name: other_value(getattr(known, name, None)) for name in names[:4]}
    kind = getattr(known, "conn_type", None) or "generic"
    return Connection(getattr(known, "conn_id", "other"), kind, **values)


def _replace_old_variable(source: bytes) -> None:
    """As :func:`_replace_settings`, for a file that uses the old name of the class.

    Its module imports the database layer, which takes longer than reading most files.
    """
    if b"airflow.models" in source and b"Variable" in source:
        from airflow.models import variable

        owner: Any = variable.Variable
        owner.get = _variable(owner.get)


def _read(file: Path) -> list[Answer]:
    with suppress(OSError):
        _replace_old_variable(file.read_bytes())
    lines = SourceLines(file)
    with lines.record_all(), strings_forbidden():
        bound = {id(item) for item in _import(file)}
    dags = [dag for dag in lines.dags if id(dag) in bound]
    if not dags:
        raise PythonFileError(str(file), None, NO_DAG, _NO_DAG_FIX)
    from sagebridge.formats.airflow.starter_dags import started_dag

    targets = {id(dag): started_dag(dag) for dag in dags}
    mains = {dag.dag_id: dag for dag in dags if not targets[id(dag)]}
    return [
        _describe(dag, lines, [one for one in dags if targets[id(one)] == dag.dag_id])
        for dag in dags
        if targets[id(dag)] not in mains
    ]


def _describe(dag: Any, lines: SourceLines, starters: Sequence[Any]) -> Answer:
    from sagebridge.formats.airflow.dag_reader import read_dag
    from sagebridge.formats.airflow.starter_dags import with_starters

    line = lines.line(dag)
    try:
        pipeline, losses, steps = read_dag(dag, lines)
        pipeline, others = with_starters(pipeline, starters)
    except ModelTypeError as error:
        raise PythonFileError(lines.file, line, str(error)) from None
    added = (lost.at(str(lines.line(one)), f"the DAG {one.dag_id}: ") for one, lost in others)
    answer = describe(dag.dag_id, line, pipeline, (*losses, *added), steps)
    return answer | {"tasks": list(_tasks(dag, lines))}


def _tasks(dag: Any, lines: SourceLines) -> Iterator[tuple[str, str, int]]:
    """Id, id without task groups and line of each task, apart from tasks that only watch steps."""
    for task_id, task in dag.task_dict.items():
        own = type(task).__module__.startswith("sagebridge_operators.")
        if not own or hasattr(task, "step"):
            group = getattr(task.task_group, "node_id", None)
            label = task.step.name if own else task_id.removeprefix(f"{group}.")
            yield task_id, label, lines.line(task)


def _import(file: Path) -> list[Any]:
    """The module variables of a file, and the DAGs that it opens with ``with``.

    ``DagContext`` collects the latter. It is internal, but Airflow's own parser uses it in the same
    way (airflow/dag_processing/importers/python_importer.py).
    """
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    module = new_module(file)
    DagContext.current_autoregister_module_name = module.__name__
    try:
        execute(module, file, migrated(file))
    except ImportError as error:
        check_imports(file, error)
        raise
    finally:
        DagContext.current_autoregister_module_name = None
    registered = (dag for dag, owner in DagContext.autoregistered_dags if owner is module)
    return [*vars(module).values(), *registered]


if __name__ == "__main__":
    serve(_import_airflow, _read)

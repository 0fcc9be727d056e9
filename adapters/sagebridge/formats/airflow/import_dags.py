"""Imports DAG files in a process of their own and prints the pipelines that their DAGs make.

``python -m sagebridge.formats.airflow.import_dags`` is a process of
:mod:`sagebridge.formats.python.import_process`, which imports Airflow once for all its files.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from sagebridge.errors import PythonFileError
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
"""Entry points of packages that most DAG files import, so that all forks share them."""
_NO_DAG = (
    "bind a DAG to a name of the module, open it in `with DAG(…)`, or call the function that @dag "
    "decorates"
)


class SourceLines:
    """The line of a DAG file on which each DAG and task was made."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        self.made: list[Any] = []
        self._instructions: dict[int, tuple[CodeType, int]] = {}
        self._lines: dict[CodeType, tuple[list[int], list[int | None]]] = {}

    def line(self, item: object) -> int:
        """The innermost line of the file that made ``item``; 1 where it came from elsewhere."""
        if id(item) not in self._instructions:
            return 1
        code, instruction = self._instructions[id(item)]
        if code not in self._lines:
            spans = [(start, line) for start, _, line in code.co_lines()]
            self._lines[code] = [start for start, _ in spans], [line for _, line in spans]
        starts, lines = self._lines[code]
        return lines[bisect_right(starts, instruction) - 1] or 1

    def record(self, item: object) -> None:
        """Keeps the instruction: a frame finds its line by a walk over all its code."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.file:
            frame = frame.f_back
        if frame is not None:
            self._instructions[id(item)] = frame.f_code, frame.f_lasti

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Has Airflow tell of each DAG and task that is made, in time that grows with their number.

        Airflow's own hash of a DAG, taken at each edge, goes through all its tasks.
        """
        from airflow import sdk

        DAG: Any = sdk.DAG  # noqa: N806 - a class
        begin, add, hashed = DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__

        def begun(dag: Any) -> None:
            self.record(dag)
            self.made.append(dag)
            begin(dag)

        def added(dag: Any, task: Any) -> None:
            self.record(task)
            add(dag, task)

        DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = begun, added, object.__hash__
        try:
            yield
        finally:
            DAG.__attrs_post_init__, DAG.add_task, DAG.__hash__ = begin, add, hashed


def _import_airflow(home: str) -> None:
    """Imports, once for all files, what making and reading a DAG takes.

    Airflow is private and empty: it uses no configuration, database or DAGs of this machine.
    """
    settings = {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "_AIRFLOW__AS_LIBRARY": "1",
    }
    set_environment(("AIRFLOW__", "AIRFLOW_CONFIG"), settings)
    from airflow.sdk import DAG

    from sagebridge.formats.airflow import dag_reader  # noqa: F401

    for operators in entry_points(group=_PRELOAD, name="airflow"):
        with suppress(ImportError):
            operators.load()
    DAG("warm", schedule=None)


def _read(file: Path) -> list[Answer]:
    from sagebridge.formats.airflow.dag_reader import read_dag

    lines = SourceLines(file)
    with lines.recorded(), strings_forbidden():
        bound = {id(item) for item in _import(file)}
    dags = [dag for dag in lines.made if id(dag) in bound]
    if not dags:
        raise PythonFileError(str(file), None, "holds no DAG", _NO_DAG)
    return [describe(dag.dag_id, lines.line(dag), *read_dag(dag, lines)) for dag in dags]


def _import(file: Path) -> list[Any]:
    """What a file binds to names, and the DAGs that Airflow registers: those opened by ``with``."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    module = new_module(file)
    DagContext.current_autoregister_module_name = module.__name__
    try:
        execute(module, file)
    finally:
        DagContext.current_autoregister_module_name = None
    registered = (dag for dag, owner in DagContext.autoregistered_dags if owner is module)
    return [*vars(module).values(), *registered]


if __name__ == "__main__":
    serve(_import_airflow, _read)

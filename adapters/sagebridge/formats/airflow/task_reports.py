"""The losses of one DAG, each at its line, and the parameters that replace run-time values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sagebridge.formats.airflow.task_values import RunTimeValue, as_template, identifier
from sagebridge.formats.python.argument_lines import ArgumentLines
from sagebridge.model.display import free_name, shown
from sagebridge.model.expressions import parameter
from sagebridge.model.losses import Loss, Severity
from sagebridge.model.parameters import Parameter
from sagebridge.model.values import Value

TARGET = "pipeline"
_SET_PARAMETER = "set the parameter"


class LineNumbers(Protocol):
    file: str

    def line(self, item: object) -> int: ...
    def arguments(self, dag: object) -> ArgumentLines: ...


@dataclass(frozen=True, slots=True)
class _RunTimeParameter:
    parameter: Parameter
    loss: Loss


@dataclass(slots=True)
class Reports:
    """The losses of a DAG.

    Attributes:
        tasks: its tasks, by id.
        names: the name of the step of each task.
        taken: the names of its params.
    """

    dag: Any
    lines: LineNumbers
    tasks: Mapping[str, Any]
    names: Mapping[str, str]
    taken: frozenset[str]
    losses: dict[Loss, None] = field(default_factory=dict)
    run_time: dict[tuple[str, str], _RunTimeParameter] = field(default_factory=dict)

    def line(self, item: Any) -> int:
        """The line of the DAG or a task; one of a mapped operator's iterations has its line."""
        return self.lines.line(self.tasks.get(getattr(item, "task_id", ""), item))

    def add(self, item: Any, code: str, severity: Severity, what: str, advice: str = "") -> None:
        """Report a loss of the DAG or of a task."""
        self.losses[self._loss(item, code, severity, what, advice)] = None

    def ordered(self) -> tuple[Loss, ...]:
        """The losses by line."""
        return tuple(sorted(self.losses, key=lambda loss: int(loss.place)))

    def run_time_value(self, task: Any, unknown: RunTimeValue) -> Value:
        """A template, or for numbers a reference to a parameter that replaces the value."""
        if unknown.template and unknown.type == "String":
            return as_template(unknown)
        key = (unknown.text, unknown.type)
        if key not in self.run_time:
            taken = {one.parameter.name for one in self.run_time.values()} | self.taken
            wanted = identifier(unknown.text)
            name = free_name(wanted, taken, wanted[:60])
            description = f"Replaces {unknown.what} ({unknown.text})"
            added = Parameter(name, unknown.type, description=description)
            what = f"{unknown.what} ({unknown.text}) becomes the parameter {shown(name)}"
            loss = self._loss(task, unknown.code, "changed", what, _SET_PARAMETER)
            self.run_time[key] = _RunTimeParameter(added, loss)
        return parameter(self.run_time[key].parameter.name)

    def added_parameters(self, used: frozenset[str]) -> Iterator[Parameter]:
        """The added parameters that are ``used``; reports each."""
        for one in self.run_time.values():
            if one.parameter.name in used:
                self.losses[one.loss] = None
                yield one.parameter

    def _loss(self, item: Any, code: str, severity: Severity, what: str, advice: str) -> Loss:
        if item is self.dag:
            place = str(self.lines.arguments(item).of_text(code, what))
            return Loss(code, severity, place, f"the DAG: {what}", TARGET, advice)
        place = str(self.line(item))
        step = self.names.get(item.task_id, "")
        return Loss(code, severity, place, f"task {item.task_id}: {what}", TARGET, advice, step)

"""Sensors that wait for the job of another task, which its step does itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagebridge.formats.airflow.operator_classes import JOB_SENSORS
from sagebridge.formats.airflow.task_values import RunTimeValue, Values
from sagebridge.model.expressions import references

_DAYS = 7 * 24 * 3600
"""The default ``timeout`` of a sensor (airflow/sdk/bases/sensor.py), in seconds."""


def own_limits(sensor: Any) -> Iterator[tuple[str, Any]]:
    """The limits of a sensor that the step of the job does not have."""
    if (limit := getattr(sensor, "timeout", _DAYS)) != _DAYS:
        yield "timeout", limit
    if getattr(sensor, "soft_fail", False):
        yield "soft_fail", True


@dataclass(slots=True)
class JobSensors:
    """Finds the jobs that sensors wait for.

    Attributes:
        jobs: the task and the name of each job.
        owners: the task of each step.
    """

    tasks: Mapping[str, Any]
    values: Values
    jobs: list[tuple[str, Any]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)

    def add(self, task_id: str, names: Sequence[Any], steps: Sequence[str]) -> None:
        """Note the jobs and steps of a task."""
        self.jobs += [(task_id, name) for name in names]
        self.owners.update(dict.fromkeys(steps, task_id))

    def awaited(self, sensor: Any) -> set[str]:
        """The ids of the tasks whose jobs a sensor waits for."""
        waits_for = getattr(sensor, JOB_SENSORS.get(type(sensor).__name__, ""), None)
        if waits_for is None:
            return set()
        found = {task_id for task_id, name in self.jobs if waits_for == name}
        try:
            steps = {get.name for get in references(self.values.of(waits_for)) if get.step}
        except RunTimeValue:
            return found
        return found | {self.owners[step] for step in steps if step in self.owners}

    def is_awaited(self, task: Any) -> bool:
        """Whether each downstream task is a sensor that waits for the job of this task."""
        after = [self.tasks[one] for one in task.downstream_task_ids]
        return bool(after) and all(task.task_id in self.awaited(one) for one in after)

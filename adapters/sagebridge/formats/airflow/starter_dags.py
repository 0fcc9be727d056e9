"""DAGs with a single task that starts another DAG of the file: its schedules and event triggers.

sagebridge writes such a DAG for each schedule with parameters and each event trigger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagebridge.authoring.dag_pipeline import is_constant
from sagebridge.formats.airflow import dag_options
from sagebridge.formats.airflow.dag_schedules import ScheduleReading, read_schedules
from sagebridge.formats.airflow.option_table import RETRY_DETAILS
from sagebridge.formats.airflow.task_settings import dag_settings
from sagebridge.formats.python.engine_losses import Unsupported
from sagebridge.model.display import free_name
from sagebridge.model.event_triggers import EventTrigger
from sagebridge.model.pipeline import Pipeline
from sagebridge.model.values import ABSENT

_PARAMETERS = {"StartPipelineOperator": "parameters", "TriggerDagRunOperator": "conf"}
"""The argument of each operator with the parameters of the started run."""


def started_dag(dag: Any) -> str:
    """The id of the DAG that this DAG starts on its schedule; empty if it does anything else."""
    if len(dag.tasks) != 1 or type(dag.tasks[0]).__name__ not in _PARAMETERS:
        return ""
    task = dag.tasks[0]
    parameters = _parameters(task)
    # No value of a StartPipelineOperator is a template.
    plain = "conf" not in vars(task) or is_constant([parameters, task.trigger_dag_id])
    scalar = all(isinstance(one, bool | int | float | str) for one in parameters.values())
    has_event = isinstance(getattr(task, "event_trigger", None), EventTrigger)
    is_starter = plain and scalar and (has_event or read_schedules(dag).carried)
    return str(task.trigger_dag_id) if is_starter else ""


def with_starters(
    pipeline: Pipeline, starters: Sequence[Any]
) -> tuple[Pipeline, list[tuple[Any, Unsupported]]]:
    """A pipeline with the schedules and event triggers of DAGs that start it.

    Each loss comes with its DAG.
    """
    schedules, triggers, losses = list(pipeline.schedules), list(pipeline.event_triggers), []
    for dag in starters:
        found = _reading(dag)
        schedules += found.schedules
        triggers += found.triggers
        losses += [(dag, loss) for loss in _losses(dag, found)]
    taken: set[str] = set()
    return replace(
        pipeline,
        schedules=tuple(_named(one, taken) for one in schedules),
        event_triggers=tuple(_named(one, taken) for one in triggers),
    ), losses


def _named(one: Any, taken: set[str]) -> Any:
    """A schedule or event trigger with a free name."""
    name = free_name(one.name, taken, separator="-")
    taken.add(name)
    return one if name == one.name else replace(one, name=name)


def _parameters(task: Any) -> Mapping[str, Any]:
    found = getattr(task, _PARAMETERS[type(task).__name__], None)
    return found if isinstance(found, Mapping) else {}


def _reading(dag: Any) -> ScheduleReading:
    (task,) = dag.tasks
    found = read_schedules(dag, dag.dag_id.removeprefix(f"{task.trigger_dag_id}."))
    if isinstance(trigger := getattr(task, "event_trigger", None), EventTrigger):
        losses = tuple(one for one in found.losses if one.severity != "info")
        return ScheduleReading((), (_present(trigger, found),), losses)
    parameters: Any = _parameters(task)
    return found._replace(
        schedules=tuple(replace(one, parameters=parameters) for one in found.schedules),
        triggers=tuple(replace(one, parameters=parameters) for one in found.triggers),
    )


def _present(trigger: EventTrigger, found: ScheduleReading) -> EventTrigger:
    """An event trigger with the queue that starts its DAG; disabled if none does."""
    if found.triggers:
        (queue, *_) = found.triggers
        return replace(trigger, queue=queue.queue, enabled=queue.enabled)
    return trigger if trigger.queue is ABSENT else replace(trigger, enabled=False)


def _losses(dag: Any, found: ScheduleReading) -> Iterator[Unsupported]:
    (task,) = dag.tasks
    yield from dag_options.of_dag(dag, found)
    if names := sorted(dag_settings(dag).given.keys() - {"tags"}):
        what = f"settings of the DAG that starts it have no effect: {', '.join(names)}"
        yield Unsupported("engine-option", "changed", what)
    # Retries only repeat the start of a run. There is no step that could wait for its end.
    reads = {*dag_options.own_arguments(task), "conf", "trigger_dag_id", "retries", *RETRY_DETAILS}
    reads.add("wait_for_completion")
    yield from dag_options.of_task(task, reads)

"""What one live task of a DAG is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT


def label(task: Any) -> str:
    """A task's id without the id of its group."""
    group = getattr(task.task_group, "node_id", None)
    return str(task.task_id.removeprefix(f"{group}."))


def is_mapped(task: Any) -> bool:
    """Whether a task or one of its task groups is expanded at run time, other than a ForEach."""
    if hasattr(task, "partial_kwargs"):
        return True
    return any(not hasattr(group, "for_each") for group in task.iter_mapped_task_groups())


def is_sagebridge(task: Any) -> bool:
    return isinstance(getattr(task, "step", None), Step)


def with_documentation(step: Step, task: Any) -> Step:
    """The step with ``doc_md`` and display name of its task, unless it has its own."""
    if task.doc_md and step.description is ABSENT:
        step = replace(step, description=task.doc_md)
    if task.task_display_name != task.task_id and step.display_name is ABSENT:
        step = replace(step, display_name=task.task_display_name)
    return step


def are_ids(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def reached(tasks: Mapping[str, Any], task: Any, chosen: Sequence[str]) -> tuple[str, ...]:
    """The direct downstream tasks of a branch that run if it chooses these task ids."""
    kept, pending = set(chosen), [one for one in chosen if one in tasks]
    while pending:
        for after in tasks[pending.pop()].downstream_task_ids - kept:
            kept.add(after)
            pending.append(after)
    return tuple(one for one in tasks if one in kept & task.downstream_task_ids)

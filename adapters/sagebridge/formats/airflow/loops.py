"""The ForEach operators of a DAG: which tasks are in which body.

A ForEach has several tasks: one before the mapped group of its body and one after it. For the tasks
around it they are one task, with the dependencies of them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagebridge.model.graph import needed_steps
from sagebridge.model.pipeline import Step, Steps


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as those around it see it; ``operator`` is the task itself.

    ``trigger_rule`` of a ForEach is that of its first task.
    """

    operator: Any
    upstream_task_ids: frozenset[str]
    downstream_task_ids: frozenset[str]
    trigger_rule: Any
    ignore_downstream_trigger_rules: Any


class Loops:
    """The bodies of a DAG. A ForEach has the id of its last task, a mapped group its own.

    Attributes:
        bodies: by ForEach, the ids of the tasks directly in its body.
    """

    def __init__(self, tasks: Mapping[str, Any], groups: Collection[str]) -> None:
        self.tasks = tasks
        self.first = {
            task.for_each.task_id: task_id for task_id, task in tasks.items() if is_items_task(task)
        }
        self.bodies: dict[str, list[str]] = {one: [] for one in (*self.first, *groups)}
        self._owners = {task_id: _owner(task, groups) for task_id, task in tasks.items()}
        self._owners |= dict.fromkeys(groups)
        self._ends = {first: last for last, first in self.first.items()}
        for task_id, owner in self._owners.items():
            if owner is not None:
                self.bodies[owner].append(task_id)

    def tasks_in(self, loop: str | None) -> dict[str, Any]:
        """The tasks in a body, or outside all of them, in the order of the DAG."""
        if not self.bodies:
            return dict(self.tasks)
        levels = [one for task_id in self.tasks for one in self._at_level({task_id}, loop)]
        return {one: self._view(one, loop) for one in dict.fromkeys(levels)}

    def _view(self, task_id: str, loop: str | None) -> TaskView:
        parts = [self.tasks[one] for one in self._parts(task_id)]
        task, first = parts[0], self.first.get(task_id, task_id)
        up = {one for part in parts for one in part.upstream_task_ids}
        down = {one for part in parts for one in part.downstream_task_ids}
        # A reference to a step of a body is invalid, but not a dependency on the whole ForEach.
        steps = [part.step for part in parts if _has_step(part)]
        named = {name for step in steps for name in needed_steps(step)}
        up = {one for one in up if self._name(one) not in named or self._owners[one] == loop}
        return TaskView(
            task,
            frozenset(self._at_level(up, loop)) - {task_id},
            frozenset(self._at_level(down, loop)) - {task_id},
            self.tasks[first].trigger_rule if first in self.tasks else "all_success",
            getattr(task, "ignore_downstream_trigger_rules", None),
        )

    def _parts(self, task_id: str) -> Iterator[str]:
        """A task, and the tasks of its body."""
        if task_id in self.tasks:
            yield task_id
        if task_id in self.first:
            yield self.first[task_id]
        for one in self.bodies.get(task_id, ()):
            yield from self._parts(one)

    def _at_level(self, task_ids: set[str], loop: str | None) -> Iterator[str]:
        """For each task: itself or the ForEach around it that is at this level, if there is one."""
        for task_id in task_ids & self.tasks.keys():
            one: str | None = self._ends.get(task_id, task_id)
            while one is not None and self._owners[one] != loop:
                one = self._owners[one]
            if one is not None:
                yield one

    def _name(self, task_id: str) -> str:
        task: Any = self.tasks.get(task_id)
        return str(task.step.name) if _has_step(task) else ""


def with_body(step: Step, body: Steps) -> Step:
    """A ForEach with this body, unless it has none."""
    return step.with_inner(lambda _: body)


def is_items_task(task: Any) -> bool:
    """Whether a task is the first one of a ForEach."""
    return hasattr(task, "for_each")


def _has_step(task: Any) -> bool:
    return isinstance(getattr(task, "step", None), Step)


def _owner(task: Any, groups: Collection[str]) -> str | None:
    """The innermost ForEach or mapped group whose body contains a task."""
    group = task.task_group
    while group is not None:
        if (loop := getattr(group, "for_each", None)) is not None:
            return str(loop.task_id)
        if group.group_id in groups:
            return str(group.group_id)
        group = group.parent_group
    return None

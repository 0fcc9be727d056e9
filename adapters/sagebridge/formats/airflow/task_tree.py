"""The steps of a DAG in their branches, each with its dependencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sagebridge.model.branches import (
    Branch,
    BranchGate,
    BranchPlacement,
    Side,
    place_tasks,
    trigger_of,
)
from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.dependencies import COMPLETED, FAILED, with_trigger
from sagebridge.model.display import shown
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import needed_steps
from sagebridge.model.losses import Severity
from sagebridge.model.pipeline import ConditionStep, Step, Steps, step_references, walk
from sagebridge.model.values import ABSENT, Absent


@dataclass(slots=True)
class TaskSteps:
    """What a task becomes.

    Attributes:
        steps: its steps; empty if the task is dropped or has no step.
        gates: the branches that its Condition steps open.
        from_sagebridge: whether it is a sagebridge operator, which carries its step.
    """

    operator: Any
    steps: list[Step] = field(default_factory=list)
    gates: list[BranchGate] = field(default_factory=list)
    from_sagebridge: bool = False


class TreeLoss(NamedTuple):
    """A loss of a task, without its line."""

    task_id: str
    code: str
    severity: Severity
    what: str
    advice: str


class TaskTree:
    """The tasks of a DAG in file order, with what each becomes.

    ``losses`` are those found only by looking at all tasks together.
    """

    def __init__(self, tasks: Mapping[str, Any], roles: Mapping[str, TaskSteps]) -> None:
        self.roles, self.tasks = roles, tasks
        self.rules = {task_id: trigger_rule(task) for task_id, task in tasks.items()}
        self.losses: list[TreeLoss] = []
        position = {task_id: at for at, task_id in enumerate(tasks)}
        self.upstream = {
            task_id: sorted(task.upstream_task_ids & position.keys(), key=position.__getitem__)
            for task_id, task in tasks.items()
        }
        gates = {task_id: role.gates for task_id, role in roles.items()}
        self.triggers = dict(self._triggers())
        placement = place_tasks(in_order(tasks), self.upstream, gates, self.rules, self.triggers)
        self._drop_unreachable(placement)
        self._drop_unclear()
        self.inside = placement.inside
        self.before = {task_id: self._dependencies(task_id) for task_id in tasks}
        self._report_used()
        self.members: dict[Branch | None, list[str]] = {}
        for task_id in tasks:
            self.members.setdefault(self.inside.get(task_id), []).append(task_id)

    def steps(self) -> list[Step]:
        """The top-level steps; Condition steps contain the steps of their branches."""
        for task_id, role in self.roles.items():
            self._add_dependencies(role, self.before[task_id])
        return self._steps_in(None)

    def _triggers(self) -> Iterator[tuple[str, str]]:
        """By task: the trigger of its dependencies."""
        for task_id, before in self.upstream.items():
            trigger = trigger_of(self.rules[task_id], is_one=len(before) == 1)
            yield task_id, (before and trigger) or COMPLETED

    def _drop_unclear(self) -> None:
        """Drop tasks that run after the failure of any of several steps."""
        for task_id, trigger in self.triggers.items():
            role = self.roles[task_id]
            if trigger != FAILED or not role.steps:
                continue
            for one in self.upstream[task_id]:
                is_step = self.roles[one].steps or self.roles[one].gates
                if not is_step and len(self.upstream[one]) != 1:
                    what = (
                        f"trigger rule {self.rules[task_id]} after {one}, which becomes no step, "
                        "has no counterpart in a pipeline, so the task is dropped"
                    )
                    advice = "make it depend on the steps themselves"
                    self.losses.append(TreeLoss(task_id, "trigger-rule", "dropped", what, advice))
                    role.steps, role.gates = [], []
                    break

    def _report_used(self) -> None:
        """Report triggers of steps whose outputs a step uses, which needs their success."""
        for task_id, before in self.before.items():
            if any(isinstance(step, CarriedStep) for step in self.roles[task_id].steps):
                continue  # the value of a step without result is None
            used = {one.step for step in self.roles[task_id].steps for one in step_references(step)}
            for name, trigger in before.items():
                if trigger != COMPLETED and name in used:
                    what = (
                        f"trigger rule {self.rules[task_id]} has no effect for {shown(name)}: its "
                        "step uses outputs of that step, so it runs only after success"
                    )
                    advice = "do not use outputs of steps that may fail"
                    self.losses.append(TreeLoss(task_id, "trigger-rule", "changed", what, advice))

    def _drop_unreachable(self, placement: BranchPlacement) -> None:
        for task_id in self.tasks:
            role = self.roles[task_id]
            if task_id in placement.never and (role.steps or role.gates):
                reason, advice = placement.never[task_id]
                what = f"{reason}, so the task is dropped"
                self.losses.append(TreeLoss(task_id, "never-chosen", "dropped", what, advice))
                role.steps, role.gates = [], []
        for task_id, count in placement.several.items():
            what = (
                f"{count} conditions decide whether it runs; "
                "its step is in the branch of the first and depends on the others"
            )
            advice = "combine the conditions into one"
            self.losses.append(TreeLoss(task_id, "several-branches", "changed", what, advice))

    def _dependencies(self, task_id: str) -> dict[str, str]:
        """The steps that a task depends on, with their triggers.

        A task without a step passes on its dependencies.

        The Condition step of the branch that contains the task is implied and not listed.
        """
        inside = self.inside.get(task_id)
        found: dict[str, str] = {}
        seen = {task_id}
        pending = [(one, self.triggers[task_id]) for one in reversed(self.upstream[task_id])]
        while pending:
            one, trigger = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            role = self.roles[one]
            if inside is not None and inside[0] in [gate.step for gate in role.gates]:
                continue
            if role.gates:
                found.update(dict.fromkeys((gate.step for gate in role.gates), trigger))
            elif role.steps:
                found[role.steps[-1].name] = trigger
            else:
                passed = self.triggers[one] if trigger == COMPLETED else trigger
                pending += [(before, passed) for before in reversed(self.upstream[one])]
        return found

    @staticmethod
    def _add_dependencies(role: TaskSteps, before: Mapping[str, str]) -> None:
        """Add dependencies to the first step of a task, or to each of its Condition steps.

        An operator with several steps runs them one after the other, so each depends on the
        previous one. A step of code has a trigger rule instead of triggers.
        """
        if role.steps and isinstance(role.steps[0], CarriedStep):
            before = dict.fromkeys(before, COMPLETED)
        for position, step in enumerate(role.steps):
            first = position == 0 or role.gates
            needed = before if first else {role.steps[position - 1].name: COMPLETED}
            known = {name for one in _needing(step) for name in (one.name, *needed_steps(one))}
            added = [with_trigger(name, needed[name]) for name in needed if name not in known]
            own = [
                with_trigger(one, needed.get(one, COMPLETED)) if isinstance(one, str) else one
                for one in step.depends_on or ()
            ]
            if added or own:
                role.steps[position] = replace(step, depends_on=(*own, *added))

    def _steps_in(self, branch: Branch | None) -> list[Step]:
        """The steps in one branch, or at the top level, in the order of their tasks."""
        return [
            self._with_branches(self.roles[task_id], step)
            for task_id in self.members.get(branch, ())
            for step in self.roles[task_id].steps
        ]

    def _with_branches(self, role: TaskSteps, step: Step) -> Step:
        if not isinstance(step, ConditionStep):
            return step
        gate = next(one for one in role.gates if one.step == step.name)
        return replace(
            step,
            if_steps=self._branch(role, step.if_steps, gate.step, "if", gate.if_ids),
            else_steps=self._branch(role, step.else_steps, gate.step, "else", gate.else_ids),
        )

    def _branch(
        self, role: TaskSteps, own: Steps | Absent, gate: str, side: Side, ids: Sequence[str]
    ) -> Steps | Absent:
        if not role.from_sagebridge:
            return (*self._steps_in((gate, side)), *(own or ()))
        if own is ABSENT:
            return ABSENT
        listed = (self.roles[one] for one in ids)
        return tuple(self._with_branches(one, one.steps[0]) for one in listed if one.steps)


def _needing(step: Step) -> Iterator[Step]:
    """The steps whose needs are those of a step: itself, and the body of a ForEach."""
    return walk((step,)) if isinstance(step, ForEachStep) else iter((step,))


def trigger_rule(task: Any) -> str:
    """The trigger rule of a task, if its step does not imply it."""
    if hasattr(task, "watched") or getattr(task, "follows_triggers", False):
        return "all_success"
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def in_order(tasks: Mapping[str, Any]) -> list[str]:
    """Task ids in file order, but each after its upstream tasks."""
    found: dict[str, None] = {}
    path: set[str] = set()

    def visit(task_id: str) -> None:
        stack = [(task_id, iter(sorted(tasks[task_id].upstream_task_ids)))]
        path.add(task_id)
        while stack:
            here, before = stack[-1]
            following = next((one for one in before if one not in path and one in tasks), None)
            if following is None:
                found[here] = None
                stack.pop()
            else:
                path.add(following)
                stack.append((following, iter(sorted(tasks[following].upstream_task_ids))))

    for task_id in tasks:
        if task_id not in path:
            visit(task_id)
    return list(found)

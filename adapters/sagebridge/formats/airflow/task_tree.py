"""The steps of a DAG's tasks in their branches, each with what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.formats.airflow.branches import (
    AFTER_FAILURE,
    Branch,
    BranchGate,
    BranchPlacement,
    Side,
    placed,
)
from sagebridge.model.display import shown
from sagebridge.model.losses import Severity
from sagebridge.model.pipeline import ConditionStep, Step, Steps, step_references
from sagebridge.model.values import ABSENT, Absent


@dataclass(slots=True)
class TaskSteps:
    """What a task becomes: ``steps`` (none where it is left out) and the ``gates`` it opens."""

    operator: Any
    steps: list[Step] = field(default_factory=list)
    gates: list[BranchGate] = field(default_factory=list)
    ours: bool = False


class TaskTree:
    """The tasks of a DAG, in its order, by what they become.

    ``losses`` are (task id, code, severity, what) that only the whole shows.
    """

    def __init__(self, tasks: Mapping[str, Any], roles: Mapping[str, TaskSteps]) -> None:
        self.roles, self.tasks = roles, tasks
        self.rules = {task_id: trigger_rule(task) for task_id, task in tasks.items()}
        self.losses: list[tuple[str, str, Severity, str]] = []
        position = {task_id: at for at, task_id in enumerate(tasks)}
        self.upstream = {
            task_id: sorted(task.upstream_task_ids & position.keys(), key=position.__getitem__)
            for task_id, task in tasks.items()
        }
        gates = {task_id: role.gates for task_id, role in roles.items()}
        places = placed(in_order(tasks), self.upstream, gates, self.rules)
        self._leave_out(places)
        self.inside = places.inside
        self.before = {task_id: self._before(task_id) for task_id in tasks}
        self._tell_rules()
        self.members: dict[Branch | None, list[str]] = {}
        for task_id in tasks:
            self.members.setdefault(self.inside.get(task_id), []).append(task_id)

    def steps(self) -> list[Step]:
        """The steps outside of all branches, each with its branches and what it waits for."""
        for task_id, role in self.roles.items():
            self._wait(role, self.before[task_id])
        return self._listed(None)

    def _leave_out(self, places: BranchPlacement) -> None:
        for task_id in self.tasks:
            role = self.roles[task_id]
            if task_id in places.never and (role.steps or role.gates):
                self.losses.append((task_id, "never-chosen", "dropped", places.never[task_id]))
                role.steps, role.gates = [], []
        for task_id, count in places.several.items():
            what = f"{count} branches decide on it: it stands in the first and waits for the others"
            self.losses.append((task_id, "several-branches", "changed", what))

    def _tell_rules(self) -> None:
        special = {one for one, rule in self.rules.items() if rule != "all_success"}
        if not special:
            return
        needed, counting = self._needed(), self._counting()
        for task_id, rule in self.rules.items():
            counts = task_id in special & counting and self.upstream[task_id]
            if rule in AFTER_FAILURE or not counts:
                continue
            what = f"trigger rule {rule}: a step runs only after all that it waits for succeeded"
            ifs, elses = (
                {step for step, way in needed[task_id] if way == side} for side in ("if", "else")
            )
            for step in sorted(ifs & elses)[:1]:
                what = f"{what}, so it never runs: it waits for both ways of {shown(step)}"
            self.losses.append((task_id, "trigger-rule", "changed", what))

    def _counting(self) -> set[str]:
        """The tasks that are steps, or that a step follows."""
        counting: set[str] = set()
        for task_id in reversed(in_order(self.tasks)):
            after = self.tasks[task_id].downstream_task_ids
            if self.roles[task_id].steps or not counting.isdisjoint(after):
                counting.add(task_id)
        return counting

    def _needed(self) -> dict[str, frozenset[Branch]]:
        """The branches that have to be taken for the steps of each task to run."""
        owners = {step.name: task_id for task_id, one in self.roles.items() for step in one.steps}
        needed: dict[str, frozenset[Branch]] = {}
        for task_id in in_order(self.tasks):
            branch, before = self.inside.get(task_id), list(self.before[task_id])
            if branch is not None:
                before.append(branch[0])
            inherited = (needed.get(owners.get(name, ""), frozenset()) for name in before)
            own = frozenset() if branch is None else frozenset((branch,))
            needed[task_id] = own.union(*inherited)
        return needed

    def _before(self, task_id: str) -> list[str]:
        """The steps that a task waits for, those of tasks that are left out passed on.

        The branch that it stands in says already that it waits for what decides on that.
        """
        inside = self.inside.get(task_id)
        found: dict[str, None] = {}
        seen = {task_id}
        pending = list(reversed(self.upstream[task_id]))
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            role = self.roles[one]
            if inside is not None and inside[0] in [gate.step for gate in role.gates]:
                continue
            if role.gates:
                found.update(dict.fromkeys(gate.step for gate in role.gates))
            elif role.steps:
                found[role.steps[-1].name] = None
            else:
                pending += reversed(self.upstream[one])
        return list(found)

    @staticmethod
    def _wait(role: TaskSteps, before: Sequence[str]) -> None:
        """Names in DependsOn what a task's first step, or each of its Conditions, waits for."""
        count = len(role.steps) if role.gates else 1
        for position, step in enumerate(role.steps[:count]):
            known = {one.step for one in step_references(step)} | {*step.dependencies, step.name}
            added = [name for name in before if name not in known]
            if added:
                role.steps[position] = replace(step, depends_on=(*(step.depends_on or ()), *added))

    def _listed(self, branch: Branch | None) -> list[Step]:
        """The steps in one branch, or outside of all, in the order of their tasks."""
        return [
            self._finished(self.roles[task_id], step)
            for task_id in self.members.get(branch, ())
            for step in self.roles[task_id].steps
        ]

    def _finished(self, role: TaskSteps, step: Step) -> Step:
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
        if not role.ours:
            return (*self._listed((gate, side)), *(own or ()))
        if own is ABSENT:
            return ABSENT
        listed = (self.roles[one] for one in ids)
        return tuple(self._finished(one, one.steps[0]) for one in listed if one.steps)


def trigger_rule(task: Any) -> str:
    return str(getattr(task.trigger_rule, "value", task.trigger_rule))


def in_order(tasks: Mapping[str, Any]) -> list[str]:
    """Task ids so that each comes after those upstream of it, else in the order of the file."""
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

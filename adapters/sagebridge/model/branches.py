"""Place each task of a DAG in the branch of a condition that decides whether it runs.

An Airflow branch skips its direct downstream tasks that are not chosen, and their dependants. A
step belongs to a branch if all its dependencies are in that branch or independent of the condition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sagebridge.model.dependencies import ANY, COMPLETED, FAILED

Side: TypeAlias = Literal["if", "else"]
Branch: TypeAlias = "tuple[str, Side]"
"""The name of a Condition step and one side of it."""


@dataclass(frozen=True, slots=True)
class BranchGate:
    """A Condition step and the direct downstream tasks in each of its branches.

    ``fixed`` is True for a sagebridge ConditionOperator: its lists are the complete branches.
    """

    step: str
    if_ids: tuple[str, ...]
    else_ids: tuple[str, ...]
    fixed: bool = False

    def sides(self, task_id: str) -> list[Branch]:
        """The branch that contains a task; empty if neither or both do."""
        sides: list[Branch] = []
        if task_id in self.if_ids:
            sides.append((self.step, "if"))
        if task_id in self.else_ids:
            sides.append((self.step, "else"))
        return sides if len(sides) == 1 else []


@dataclass(slots=True)
class BranchPlacement:
    """Where the tasks of a DAG are, by task id.

    Attributes:
        inside: the branch of each task that is in one.
        never: tasks that cannot run in a pipeline, with the reason and the advice of the loss.
        several: tasks that more than one branch decides on, with the number of branches.
    """

    inside: dict[str, Branch] = field(default_factory=dict)
    never: dict[str, tuple[str, str]] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)


AFTER_FAILURE = frozenset(("all_failed", "all_skipped", "one_failed"))
"""Trigger rules that hold only if an upstream task did not succeed."""
AFTER_ALL = frozenset(("all_done", "all_done_setup_success", "always", "none_failed"))
"""Trigger rules that hold even if all upstream tasks are skipped."""
AFTER_ONE = frozenset(
    ("all_done_min_one_success", "none_failed_min_one_success", "one_done", "one_success")
)
"""Trigger rules that hold if one upstream task is not skipped."""
_NO_BRANCH = (
    "no branch of its upstream condition leads to it",
    "if it should run, add it to if_task_ids or else_task_ids",
)
_NEVER_RUNS = (
    "it depends on a task that never runs in a pipeline",
    "if it should run, remove that dependency",
)


def trigger_of(rule: str, *, is_one: bool) -> str | None:
    """The trigger of each upstream task under a trigger rule; None for a rule without one.

    ``is_one``: the task has one upstream task. Completed for rules that are reported as losses.
    """
    if rule == "all_done":
        return ANY
    if rule == "all_failed" or (rule == "one_failed" and is_one):
        return FAILED
    return None if rule in AFTER_FAILURE else COMPLETED


def _is_skipped(rule: str, before: Collection[str], never: Collection[str]) -> bool:
    """Whether upstream tasks that never run keep a task with this trigger rule from running."""
    if rule in AFTER_ALL or rule in AFTER_FAILURE:
        return False
    among = (one in never for one in before)
    return bool(before) and (all(among) if rule in AFTER_ONE else any(among))


def place_tasks(
    order: Sequence[str],
    upstream: Mapping[str, Sequence[str]],
    gates: Mapping[str, Sequence[BranchGate]],
    rules: Mapping[str, str],
    triggers: Mapping[str, str],
) -> BranchPlacement:
    """Place each task.

    ``order`` lists the task ids, upstream tasks first; ``rules`` has their trigger rules, and
    ``triggers`` what these become.
    """
    placement = BranchPlacement()
    reach: dict[str, frozenset[Branch]] = {}
    whole: dict[Branch, frozenset[Branch]] = {}
    for task_id in order:
        before = [one for one in upstream[task_id] if one in reach]
        inherited = frozenset(branch for one in before for branch in reach[one])
        if triggers[task_id] != COMPLETED:  # it decides itself whether the step runs
            inherited = frozenset()
        free = [gate for one in before for gate in gates[one] if not gate.fixed]
        listed = [gate for one in before for gate in gates[one] if gate.fixed]
        fixed = [branch for gate in listed for branch in gate.sides(task_id)]
        direct = [branch for gate in free for branch in gate.sides(task_id)]
        if not fixed and _is_unchosen(task_id, before, gates):
            placement.never[task_id] = _NO_BRANCH
        elif _is_skipped(rules[task_id], before, placement.never):
            placement.never[task_id] = _NEVER_RUNS
        if fixed or direct:
            placement.inside[task_id] = (fixed or direct)[0]
        else:
            outer = next((one for one in inherited if whole.get(one) == inherited), None)
            if outer is not None:
                placement.inside[task_id] = outer
        if len(direct) > 1:
            placement.several[task_id] = len(direct)
        reach[task_id] = inherited | frozenset(direct)
        for gate in gates[task_id]:
            sides: tuple[Side, Side] = ("if", "else")
            for side in sides:
                whole[gate.step, side] = reach[task_id] | {(gate.step, side)}
    return placement


def _is_unchosen(
    task_id: str, before: Sequence[str], gates: Mapping[str, Sequence[BranchGate]]
) -> bool:
    """Whether an upstream condition lists a task in none of its branches."""
    for one in before:
        free = [gate for gate in gates[one] if not gate.fixed]
        if free and not any(task_id in (*gate.if_ids, *gate.else_ids) for gate in free):
            return True
    return False

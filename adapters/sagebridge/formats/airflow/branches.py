"""Which branch of which condition each task of a DAG stands in.

In Airflow a branch skips its direct followers that are not chosen, and what depends on them. A step
stands in a branch where all that it depends on stands there, or outside the condition's reach.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Side: TypeAlias = Literal["if", "else"]
Branch: TypeAlias = "tuple[str, Side]"
"""A Condition step's name and which of its branches."""


@dataclass(frozen=True, slots=True)
class BranchGate:
    """A Condition step and the tasks that each outcome lets run.

    ``fixed``: the file lists what stands in its branches, and nothing else does.
    """

    step: str
    if_ids: tuple[str, ...]
    else_ids: tuple[str, ...]
    fixed: bool = False

    def sides(self, task_id: str) -> list[Branch]:
        """The branches that let a task run; none where both do."""
        sides: list[Branch] = []
        if task_id in self.if_ids:
            sides.append((self.step, "if"))
        if task_id in self.else_ids:
            sides.append((self.step, "else"))
        return sides if len(sides) == 1 else []


@dataclass(slots=True)
class BranchPlacement:
    """``inside`` has the branch of each task that stands in one; ``never`` why one cannot run."""

    inside: dict[str, Branch] = field(default_factory=dict)
    never: dict[str, str] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)


AFTER_FAILURE = frozenset(("all_failed", "all_skipped", "one_failed"))
"""Trigger rules that hold only where something did not succeed."""
_AFTER_ALL = frozenset(("all_done", "all_done_setup_success", "always", "none_failed"))
_AFTER_ONE = frozenset(("none_failed_min_one_success", "one_done", "one_success"))


def _is_skipped(rule: str, before: Collection[str], never: Collection[str]) -> bool:
    """Whether a task of that trigger rule does not run because of those before it that never do."""
    if rule in AFTER_FAILURE:
        return bool(before)
    if rule in _AFTER_ALL:
        return False
    among = (one in never for one in before)
    return bool(before) and (all(among) if rule in _AFTER_ONE else any(among))


def placed(
    order: Sequence[str],
    upstream: Mapping[str, Sequence[str]],
    gates: Mapping[str, Sequence[BranchGate]],
    rules: Mapping[str, str],
) -> BranchPlacement:
    """The branch of each task. ``order`` has every task after those upstream of it.

    ``rules`` are their trigger rules.
    """
    places = BranchPlacement()
    reach: dict[str, frozenset[Branch]] = {}
    whole: dict[Branch, frozenset[Branch]] = {}
    for task_id in order:
        before = [one for one in upstream[task_id] if one in reach]
        inherited = frozenset(branch for one in before for branch in reach[one])
        free = [gate for one in before for gate in gates[one] if not gate.fixed]
        listed = [gate for one in before for gate in gates[one] if gate.fixed]
        fixed = [branch for gate in listed for branch in gate.sides(task_id)]
        direct = [branch for gate in free for branch in gate.sides(task_id)]
        if not fixed and _is_unchosen(task_id, before, gates):
            places.never[task_id] = "no way of the branch before it leads here"
        elif _is_skipped(rules[task_id], before, places.never):
            places.never[task_id] = "it runs only after a task that never runs in a pipeline"
        if fixed or direct:
            places.inside[task_id] = (fixed or direct)[0]
        else:
            outer = next((one for one in inherited if whole.get(one) == inherited), None)
            if outer is not None:
                places.inside[task_id] = outer
        if len(direct) > 1:
            places.several[task_id] = len(direct)
        reach[task_id] = inherited | frozenset(direct)
        for gate in gates[task_id]:
            sides: tuple[Side, Side] = ("if", "else")
            for side in sides:
                whole[gate.step, side] = reach[task_id] | {(gate.step, side)}
    return places


def _is_unchosen(
    task_id: str, before: Sequence[str], gates: Mapping[str, Sequence[BranchGate]]
) -> bool:
    """Whether a branch before a task lets it run in no case."""
    for one in before:
        free = [gate for gate in gates[one] if not gate.fixed]
        if free and not any(task_id in (*gate.if_ids, *gate.else_ids) for gate in free):
            return True
    return False

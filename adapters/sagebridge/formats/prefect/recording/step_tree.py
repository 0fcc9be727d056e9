"""The steps of a traced flow as a tree, and their dependencies by the order of the flow's calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.model.code_steps import CarriedStep
from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.pipeline import ConditionStep, Step, Steps, step_references, walk


@dataclass(slots=True)
class Node:
    """A step.

    Attributes:
        after: the steps that had ended before it.
        inner: its nested steps.
        ends: of a Condition: the steps in its branches that had ended with it.
    """

    step: Step
    after: tuple[str, ...] = ()
    inner: dict[str, list[Node]] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.step.name


def copied(nodes: Iterable[Node]) -> list[Node]:
    """A copy of a tree, which later steps do not change."""
    return [
        Node(
            one.step,
            one.after,
            {name: copied(inner) for name, inner in one.inner.items()},
            list(one.ends),
        )
        for one in nodes
    ]


def find(nodes: Iterable[Node], name: str) -> Node | None:
    """The node of a step at any depth."""
    for one in nodes:
        if one.name == name:
            return one
        for inner in one.inner.values():
            if (found := find(inner, name)) is not None:
                return found
    return None


def with_dependencies(nodes: list[Node]) -> Steps:
    """The steps of a tree: a task that had ended before another one started comes first."""
    return _Dependencies(nodes).steps(nodes)


class _Dependencies:
    def __init__(self, nodes: list[Node]) -> None:
        self.around: dict[str, tuple[str, ...]] = {}
        self.before: dict[str, set[str]] = {}
        self.steps_by_name: dict[str, Step] = {}
        self.ends: dict[str, list[str]] = {}
        self._place(nodes, ())

    def _place(self, nodes: Iterable[Node], around: tuple[str, ...]) -> None:
        for one in nodes:
            self.around[one.name] = around
            self.steps_by_name[one.name] = one.step
            if isinstance(one.step, ConditionStep):
                self.ends[one.name] = one.ends
            for inner in one.inner.values():
                self._place(inner, (*around, one.name))

    def steps(self, nodes: Iterable[Node]) -> Steps:
        return tuple(self._step(one) for one in nodes)

    def _step(self, node: Node) -> Step:
        step = self._with_dependencies(node)
        inner: dict[str, Any] = {
            name: (*(getattr(step, name) or ()), *self.steps(found))
            for name, found in node.inner.items()
            if found
        }
        if not inner:
            return step
        step = replace(step, **inner)
        # A step that depends on a Condition also runs after the steps of its branches.
        inside = {one.name for one in walk((step,))}
        self.before[step.name] |= inside | set(self._all_before(inside))
        return step

    def _all_before(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            yield from self.before.get(name, ())

    def _with_dependencies(self, node: Node) -> Step:
        step, around = node.step, self.around[node.name]
        referenced = {one.step for one in step_references(step) if one.step}
        own = tuple(
            dict.fromkeys(
                self._visible_name(one, around) if isinstance(one, str) else one
                for one in step.depends_on or ()
            )
        )
        implied = {*referenced, *replace(step, depends_on=own).dependencies, *around}
        # A step that runs after a failure of another one need not come after that one's success.
        tolerant = {name for name, trigger in step.triggers if trigger != COMPLETED} - referenced
        known = implied | set(self._all_before(implied - tolerant))
        wanted = dict.fromkeys(self._visible_name(one, around) for one in node.after)
        added: list[str] = []
        for name in reversed(list(wanted)):
            if name not in known and name != node.name:
                added.insert(0, name)
                known |= {name, *self.before.get(name, set())}
        self.before[node.name] = known - tolerant
        before = (*own, *added)
        ends = [one for name in before if isinstance(name, str) for one in self._last(name, around)]
        if not ends or not any(
            isinstance(self.steps_by_name[it], CarriedStep) for it in (step.name, *ends)
        ):
            return replace(step, depends_on=before) if before else step
        # Code after an if statement runs after the code of the branch that is taken.
        rule = step.engine.trigger_rule or ("" if tolerant else "none_failed")
        engine = replace(step.engine, trigger_rule=rule)
        return replace(step, depends_on=tuple(dict.fromkeys((*before, *ends))), engine=engine)

    def _last(self, name: str, around: tuple[str, ...]) -> Iterator[str]:
        """The steps with which the branches of a Condition end, if a step is not in them."""
        for one in self.ends.get(name, ()) if name not in around else ():
            yield one
            yield from self._last(one, around)

    def _visible_name(self, name: str, around: tuple[str, ...]) -> str:
        """The name to depend on: for a step in a branch, the outermost Condition around it."""
        outer = next((one for one in self.around.get(name, ()) if one not in around), None)
        return name if outer is None else outer

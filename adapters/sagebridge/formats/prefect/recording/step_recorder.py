"""What a trace records: steps, their names and order, and losses."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.errors import FlowError
from sagebridge.formats.prefect.recording.step_tree import Node, copied, find
from sagebridge.formats.prefect.recording.symbols import Symbol, definition_value, for_code
from sagebridge.formats.prefect.source.user_file import UserFile
from sagebridge.model.conditions import Condition
from sagebridge.model.dependencies import Dependency
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, Member
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.losses import Loss, Severity
from sagebridge.model.parameters import Parameter
from sagebridge.model.pipeline import ConditionStep, Step, step_references
from sagebridge.model.values import ABSENT, EMPTY

TARGET = "pipeline"
_MOST_ITERATIONS = 50
"""The most iterations of a ForEach at the same time; Prefect has no limit."""


@dataclass(frozen=True, slots=True)
class BranchTest:
    """A test of a run-time value.

    Attributes:
        conditions: those that must all hold.
        own: the condition step of the flow that it tests instead.
        line: its line.
        name: the name of the condition step, set when it is made.
    """

    conditions: tuple[Condition, ...]
    line: int
    own: str = ""
    name: list[str] | None = None

    def outcome(self) -> Get:
        assert self.name
        return Get("Steps", (Member(self.name[0]), Member("Outcome")))


@dataclass(slots=True)
class _State:
    """What a trace has found so far."""

    nodes: list[Node] = field(default_factory=list)
    steps: dict[str, Step] = field(default_factory=dict)
    ended: dict[str, None] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    iterated: set[str] = field(default_factory=set)
    losses: dict[Loss, None] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    own_tasks: list[str] = field(default_factory=list)
    parameters: dict[Any, Parameter] = field(default_factory=dict)
    dropped: dict[str, None] = field(default_factory=dict)
    blocks: list[tuple[str, str]] = field(default_factory=list)
    pure: dict[Any, tuple[tuple[str, list[Any]], ...]] = field(default_factory=dict)

    def saved(self) -> _State:
        found = _State(*(copy.copy(getattr(self, name)) for name in self.__slots__))
        found.nodes = copied(self.nodes)
        return found


class StepRecorder:
    """Records the steps of a flow; it can return to an earlier state."""

    def __init__(self, flow_name: str, file: UserFile, line: int) -> None:
        self.flow_name, self.file = flow_name, file
        self.state = _State()
        self.groups: list[str] = []
        self.tags: list[str] = []
        self._position = line

    @property
    def lines(self) -> dict[str, int]:
        return self.state.lines

    @property
    def own_tasks(self) -> list[str]:
        return self.state.own_tasks

    def saved(self) -> _State:
        return self.state.saved()

    def restore(self, state: _State) -> None:
        self.state = state.saved()

    def open_block(self) -> list[Node]:
        """The list that steps are added to."""
        nodes = self.state.nodes
        for step, name in self.state.blocks:
            node = find(nodes, step)
            if node is None:
                what = (
                    f"a with block of {step!r} is inside an if statement, but the condition is not"
                )
                raise FlowError(self.flow_name, what)
            nodes = node.inner.setdefault(name, [])
        return nodes

    def record_step(self, step: Step, line: int = 0, at: Any = None) -> None:
        """Add a step to the task group of its subflow; ``at`` is a place from :meth:`place`."""
        groups = self.groups if at is None else at[3]
        step = replace(step, engine=replace(step.engine, group=tuple(groups)))
        node = Node(step, tuple(self.state.ended))
        self.state.names.add(step.name)
        self.state.steps[step.name] = step
        self.lines.setdefault(step.name, line or self.line())
        if at is None:
            self.open_block().append(node)
            return
        blocks, position, after, *_ = at
        before, self.state.blocks = self.state.blocks, list(blocks)
        node.after = after
        self.open_block().insert(position, node)
        self.state.blocks = before

    def place(self) -> Any:
        """The current place in the tree, for a step that is made later."""
        where = tuple(self.state.blocks), len(self.open_block()), tuple(self.state.ended)
        return (*where, tuple(self.groups), tuple(self.tags))

    @contextmanager
    def block(self, step: str, name: str) -> Iterator[None]:
        """Add steps to a branch or body, apart from the order of the other steps."""
        blocks, before = list(self.state.blocks), dict(self.state.ended)
        inside = next((at for at, one in enumerate(blocks) if one[0] == step), len(blocks))
        self.state.blocks = [*blocks[:inside], (step, name)]
        try:
            yield
            if (node := find(self.state.nodes, step)) is not None:
                node.ends += [one for one in self.state.ended if one not in before]
        finally:
            self.state.blocks = blocks
            self.state.ended = before

    @contextmanager
    def condition(
        self, test: BranchTest, line: int
    ) -> Iterator[Callable[[bool], AbstractContextManager[None]]]:
        """Make a Condition; yields the context of each branch. An empty one is removed."""
        name = test.own
        if not name:
            name = self.name("Condition")
            assert test.name is not None
            test.name.append(name)
            step = ConditionStep(
                name,
                "Condition",
                arguments=EMPTY,
                conditions=test.conditions,
                if_steps=(),
                else_steps=(),
            )
            self.record_step(step, line)
        yield lambda met: self.block(name, "if_steps" if met else "else_steps")
        node = find(self.state.nodes, name)
        assert node is not None
        if any(node.inner.values()):
            self.state.ended[name] = None

    def drop_empty(self, test: BranchTest) -> None:
        """Remove a Condition without steps, whose outcome nothing uses."""
        name = test.own or (test.name or [""])[0]
        block = self.open_block()
        for node in block:
            if node.name == name and not test.own and not any(node.inner.values()):
                block.remove(node)
                self.state.names.discard(name)
                return

    @contextmanager
    def loop(
        self,
        items: Symbol,
        *,
        in_turn: bool,
        wanted: str = "for-each",
        before: Sequence[str | Dependency] = (),
    ) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Make a ForEach; yields its name, and a function for the name of its last step."""
        name = self.name(wanted)
        loop = ForEachStep(
            name,
            items=definition_value(for_code(items)),
            max_concurrency=1 if in_turn else _MOST_ITERATIONS,
            depends_on=before or ABSENT,
        )
        self.record_step(loop)
        with self.block(name, "body"):
            yield name, lambda: next((one.name for one in reversed(self.open_block())), None)
        if in_turn:
            self.state.ended[name] = None

    def line(self) -> int:
        """The line of the call that is made."""
        found = self.file.line()
        return self._position if found == 1 else found

    def position(self, line: int) -> None:
        self._position = line

    def here(self) -> str:
        """The current line, as the origin of a step."""
        return str(self.line())

    def name(self, wanted: str) -> str:
        """A free name for a step."""
        plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in wanted).strip("-")
        plain = plain[:60] or "step"
        name = free_name(plain, self.state.names, plain, "-")
        # "load-2" is the name of the third iteration of a step "load" in a ForEach.
        if any(block == "body" for _, block in self.state.blocks):
            numbered = re.compile(rf"{re.escape(name)}-\d+")
            if any(map(numbered.fullmatch, self.state.names)):
                name = free_name(f"{plain}-item", self.state.names, f"{plain}-item", "-")
            self.state.iterated.add(name)
        elif name.rpartition("-")[0] in self.state.iterated:
            name = free_name(f"{plain}-after", self.state.names, f"{plain}-after", "-")
        self.state.names.add(name)
        return name

    def report_change(self, code: str, what: str) -> None:
        self.report(code, "changed", what)

    def report(
        self,
        code: str,
        severity: Severity,
        what: str,
        advice: str = "",
        *,
        line: int | None = None,
        who: str = "",
        step: str = "",
    ) -> None:
        place = str(self.line() if line is None else line)
        text = f"{who}: {what}" if who else what
        self.state.losses[Loss(code, severity, place, text, TARGET, advice, step)] = None

    def report_unread(self, returned: Iterable[str]) -> None:
        """Report the tasks whose failure the flow does not see; ``returned`` are others."""
        seen = {*self.state.ended, *returned}
        for step in self.state.steps.values():
            seen.update(one.step for one in step_references(step) if one.step)
            seen.update(step.dependencies)
        for name in [one for one in self.state.started if one not in seen]:
            what = f"task {name}: its failure fails the run, though the flow does not wait for it"
            self.report("task-state", "changed", what, line=self.state.started[name], step=name)

    def located_losses(self) -> Iterator[Loss]:
        """The losses by line; one without a step gets the step that its line declares, if any."""
        steps = {str(line): name for name, line in reversed(self.lines.items())}
        for loss in sorted(self.state.losses, key=lambda one: int(one.place)):
            yield loss if loss.step else replace(loss, step=steps.get(loss.place, ""))

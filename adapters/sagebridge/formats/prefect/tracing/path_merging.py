"""Merge the paths through a flow into one list of steps.

A path is a list of steps and decisions in order. Paths are equal up to their first decision. After
it, those where it was met and those where it was not form the branches of one Condition, and equal
steps at the end of both branches come after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sagebridge.model.conditions import Condition
from sagebridge.model.dependencies import COMPLETED, Dependency
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, Key, Member
from sagebridge.model.pipeline import ConditionStep, Step, Steps, step_references, walk
from sagebridge.model.values import EMPTY, Strict, Value

WithBlock = tuple[str, str] | None
"""The step of a with block, and the field of that step with the steps inside the block."""
_IF, _ELSE = "if_steps", "else_steps"


@dataclass(frozen=True, slots=True, eq=False)
class FlowStep(Strict):
    """A step; ``after`` are the steps that had ended before it, ``inside`` is its with block."""

    step: Step
    after: tuple[str, ...] = field(default=(), compare=False)
    inside: WithBlock = None

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(frozen=True, slots=True)
class Decision:
    """A test and its assumed outcome; ``own`` if it is a condition step of the flow."""

    name: str
    conditions: tuple[Condition, ...]
    met: bool
    after: tuple[str, ...]
    inside: WithBlock = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class _Fork:
    """A Condition with the nodes of its branches, or a ForEach with those of its body."""

    condition: FlowStep
    yes: tuple[_Node, ...]
    no: tuple[_Node, ...]


_Node = FlowStep | _Fork
TracePath = Sequence[FlowStep | Decision]


def merge_paths(paths: Sequence[TracePath]) -> tuple[Steps, tuple[tuple[str, str], ...]]:
    """The steps of all paths, and the (old, new) names of steps that two branches share."""
    merger = _Merger()
    nodes = merger.nodes(paths)
    nodes = _move_into_blocks(nodes)
    return _Dependencies(nodes).steps(), tuple(merger.renamed)


class _Merger:
    def __init__(self) -> None:
        self.renamed: list[tuple[str, str]] = []

    def nodes(self, paths: Sequence[TracePath]) -> tuple[_Node, ...]:
        first = paths[0]
        at = next((at for at, one in enumerate(first) if isinstance(one, Decision)), len(first))
        before: list[_Node] = [one for one in first[:at] if isinstance(one, FlowStep)]
        if at == len(first):
            return tuple(before)
        decision = first[at]
        assert isinstance(decision, Decision)
        yes, no = (
            [path[at + 1 :] for path in paths if _met(path[at]) is met] for met in (True, False)
        )
        taken, untaken = self.nodes(yes or [()]), self.nodes(no or [()])
        taken, untaken, after = self._split_tail(taken, untaken)
        if decision.own:
            # The Condition is an earlier node; the remaining nodes move into its branches.
            before += [_in_block(one, (decision.name, _IF)) for one in taken]
            before += [_in_block(one, (decision.name, _ELSE)) for one in untaken]
        elif taken or untaken:
            step = ConditionStep(
                decision.name,
                "Condition",
                arguments=EMPTY,
                conditions=decision.conditions,
                if_steps=(),
                else_steps=(),
            )
            before.append(_Fork(FlowStep(step, decision.after, decision.inside), taken, untaken))
        return (*before, *after)

    def _split_tail(
        self, yes: tuple[_Node, ...], no: tuple[_Node, ...]
    ) -> tuple[tuple[_Node, ...], tuple[_Node, ...], tuple[_Node, ...]]:
        """Both branches without their common tail, and the tail."""
        count = 0
        while count < min(len(yes), len(no)) and _equal(yes[-1 - count], no[-1 - count]):
            count += 1
        while True:
            ends = len(yes) - count, len(no) - count
            clash = _names(yes[: ends[0]]) & _names(no[: ends[1]])
            tail = yes[ends[0] :]
            bad = [
                at for at, one in enumerate(tail) if not clash.isdisjoint(_referenced_names(one))
            ]
            if not bad:
                break
            count -= bad[-1] + 1
        own = no[: ends[1]]
        for name in sorted(clash):
            own = self._renamed(own, name, _names(yes) | _names(no))
        return yes[: ends[0]], own, tail

    def _renamed(
        self, nodes: tuple[_Node, ...], name: str, taken: Iterable[str]
    ) -> tuple[_Node, ...]:
        used = {*taken, *(new for _, new in self.renamed)}
        new = free_name(name, used, name[:60], "-")
        self.renamed.append((name, new))
        return tuple(_with_name(one, name, new) for one in nodes)


def _met(item: FlowStep | Decision) -> bool:
    assert isinstance(item, Decision)
    return item.met


def _equal(one: _Node, other: _Node) -> bool:
    match one, other:
        case FlowStep(), FlowStep():
            return one == other
        case _Fork(), _Fork():
            return (
                one.condition == other.condition
                and len(one.yes) == len(other.yes)
                and len(one.no) == len(other.no)
                and all(map(_equal, one.yes, other.yes))
                and all(map(_equal, one.no, other.no))
            )
    return False


def _flow_steps(nodes: Iterable[_Node]) -> Iterator[FlowStep]:
    for one in nodes:
        if isinstance(one, FlowStep):
            yield one
        else:
            yield one.condition
            yield from _flow_steps((*one.yes, *one.no))


def _names(nodes: Iterable[_Node]) -> set[str]:
    return {one.name for one in _flow_steps(nodes)}


def _referenced_names(node: _Node) -> set[str]:
    found: set[str] = set()
    for one in _flow_steps((node,)):
        found.update(get.step for get in step_references(one.step) if get.step)
        found.update(one.step.dependencies)
        found.update(one.inside[:1] if one.inside else ())
    return found


def _with_name(node: _Node, old: str, new: str) -> _Node:
    if isinstance(node, _Fork):
        flow_step = _with_name(node.condition, old, new)
        assert isinstance(flow_step, FlowStep)
        yes, no = (
            tuple(_with_name(one, old, new) for one in branch) for branch in (node.yes, node.no)
        )
        return _Fork(flow_step, yes, no)
    step = _with_reference(node.step, old, new)
    depends_on = tuple(_with_dependency(one, old, new) for one in step.depends_on or ())
    step = replace(
        step,
        name=new if step.name == old else step.name,
        depends_on=depends_on or step.depends_on,
    )
    after = tuple(new if one == old else one for one in node.after)
    inside = node.inside
    if inside is not None and inside[0] == old:
        inside = (new, inside[1])
    return FlowStep(step, after, inside)


def _with_dependency(item: str | Dependency, old: str, new: str) -> str | Dependency:
    if isinstance(item, str):
        return new if item == old else item
    return replace(item, step=new) if item.step == old else item


def _with_reference(step: Step, old: str, new: str) -> Step:
    """A step with references to ``old`` replaced by references to ``new``."""

    def change(node: Value) -> Value:
        match node:
            case Get(tokens=(Member() | Key(), *rest)) if node.name == old and node.step:
                return Get("Steps", (Member(new), *rest))
        return node

    return step.replaced(change)


def _in_block(node: _Node, inside: tuple[str, str]) -> _Node:
    if isinstance(node, _Fork):
        return replace(node, condition=_with_block(node.condition, inside))
    return _with_block(node, inside)


def _with_block(flow_step: FlowStep, inside: tuple[str, str]) -> FlowStep:
    return flow_step if flow_step.inside else replace(flow_step, inside=inside)


def _move_into_blocks(nodes: tuple[_Node, ...], here: WithBlock = None) -> tuple[_Node, ...]:
    """Move nodes in with blocks into the branches of their Conditions.

    Raises :class:`MisplacedBlock` if a Condition is not in the same branch.
    """
    names = {one.name for one in nodes if isinstance(one, FlowStep)}
    blocks: dict[tuple[str, str], list[_Node]] = {}
    kept: list[_Node] = []
    for node in nodes:
        inside = (node.condition if isinstance(node, _Fork) else node).inside
        if inside is None or inside == here:
            kept.append(node)
        elif inside[0] in names:
            blocks.setdefault(inside, []).append(node)
        else:
            raise MisplacedBlock(inside[0])
    return tuple(_fill_blocks(node, blocks, here) for node in kept)


def _fill_blocks(node: _Node, blocks: dict[tuple[str, str], list[_Node]], here: WithBlock) -> _Node:
    if isinstance(node, _Fork):
        return _Fork(
            node.condition, _move_into_blocks(node.yes, here), _move_into_blocks(node.no, here)
        )
    if not node.step.inner_fields:
        return node
    filled = [
        _move_into_blocks(_block_nodes(blocks, (node.name, name)), (node.name, name))
        for name in node.step.inner_fields
    ]
    return _Fork(node, filled[0], filled[-1] if len(filled) > 1 else ())


def _block_nodes(
    blocks: dict[tuple[str, str], list[_Node]], block: tuple[str, str]
) -> tuple[_Node, ...]:
    """The nodes of a with block and of the blocks of Conditions in it."""
    found: list[_Node] = []
    for node in blocks.get(block, ()):
        found.append(node)
        if isinstance(node, FlowStep):
            for name in node.step.inner_fields:
                found += _block_nodes(blocks, (node.name, name))
    return tuple(found)


class MisplacedBlock(Exception):
    """A with block in another branch than its Condition; the string is the Condition's name."""


class _Dependencies:
    """Adds DependsOn: a task that had ended before another one started comes first."""

    def __init__(self, nodes: tuple[_Node, ...]) -> None:
        self.nodes = nodes
        self.around: dict[str, tuple[str, ...]] = {}
        self._place(nodes, ())
        self.before: dict[str, set[str]] = {}

    def _place(self, nodes: Iterable[_Node], around: tuple[str, ...]) -> None:
        for one in nodes:
            flow_step = one if isinstance(one, FlowStep) else one.condition
            self.around[flow_step.name] = around
            if isinstance(one, _Fork):
                self._place((*one.yes, *one.no), (*around, flow_step.name))

    def steps(self) -> Steps:
        return self._steps(self.nodes)

    def _steps(self, nodes: Iterable[_Node]) -> Steps:
        return tuple(self._step(one) for one in nodes)

    def _step(self, node: _Node) -> Step:
        flow_step = node if isinstance(node, FlowStep) else node.condition
        step = self._with_dependencies(flow_step)
        if isinstance(node, _Fork):
            nodes = zip(step.inner_fields, (node.yes, node.no), strict=False)
            inner = {name: self._steps(there) for name, there in nodes}
            own: Any = {
                name: (*(getattr(step, name) or ()), *steps)
                for name, steps in inner.items()
                if steps
            }
            step = replace(step, **own)
            # A step that depends on a Condition also runs after the steps of its branches.
            inside = {one.name for one in walk((step,))}
            self.before[flow_step.name] |= inside | {
                one for name in inside for one in self.before.get(name, ())
            }
        return step

    def _with_dependencies(self, flow_step: FlowStep) -> Step:
        around = self.around[flow_step.name]
        step = flow_step.step
        referenced = [one.step for one in step_references(step) if one.step]
        own = tuple(
            dict.fromkeys(
                self._visible_name(one, around) if isinstance(one, str) else one
                for one in step.depends_on or ()
            )
        )
        implied = {*referenced, *replace(step, depends_on=own).dependencies, *around}
        # A step that runs after a failure of another one need not come after that one's success.
        tolerant = {name for name, trigger in step.triggers if trigger != COMPLETED} - {*referenced}
        sure = implied - tolerant
        known = set(implied).union(*(self.before.get(one, set()) for one in sure))
        wanted = dict.fromkeys(self._visible_name(one, around) for one in flow_step.after)
        added: list[str] = []
        for name in reversed(list(wanted)):
            if name not in known and name != flow_step.name:
                added.insert(0, name)
                known |= {name, *self.before.get(name, set())}
        self.before[flow_step.name] = known - tolerant
        depends_on = (*own, *added)
        return replace(step, depends_on=depends_on) if depends_on else step

    def _visible_name(self, name: str, around: tuple[str, ...]) -> str:
        """The name to depend on: for a step in a branch, the outermost Condition around it."""
        outer = next((one for one in self.around.get(name, ()) if one not in around), None)
        return name if outer is None else outer

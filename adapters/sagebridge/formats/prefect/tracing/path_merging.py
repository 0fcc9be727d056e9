"""The ways through a flow, each a list of what happened, put together as one list of steps.

A way is steps and decisions in their order. Ways agree up to their first decision; from there on
those that said yes and those that said no make the branches of one Condition, and the steps at the
end that both have alike come after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sagebridge.model.conditions import Condition
from sagebridge.model.display import free_name
from sagebridge.model.expressions import Get, Key, Member
from sagebridge.model.pipeline import ConditionStep, Step, Steps, step_references, walk
from sagebridge.model.values import EMPTY, Strict, Value
from sagebridge.model.visit import rebuild

Inside = tuple[str, bool] | None


@dataclass(frozen=True, slots=True, eq=False)
class FlowStep(Strict):
    """A step; ``after`` are the steps that had ended by then, ``inside`` its guarded block."""

    step: Step
    after: tuple[str, ...] = field(default=(), compare=False)
    inside: Inside = None

    @property
    def name(self) -> str:
        return self.step.name


@dataclass(frozen=True, slots=True)
class Decision:
    """A test that was taken to hold (``met``) or not; a Condition of the flow's own by its name."""

    name: str
    conditions: tuple[Condition, ...]
    met: bool
    after: tuple[str, ...]
    inside: Inside = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class _Fork:
    """A Condition and what its branches hold."""

    made: FlowStep
    yes: tuple[_Node, ...]
    no: tuple[_Node, ...]


_Node = FlowStep | _Fork
Way = Sequence[FlowStep | Decision]


def merged(ways: Sequence[Way]) -> tuple[Steps, tuple[tuple[str, str], ...]]:
    """The steps of all ways, and the (old, new) names of those that two branches both have."""
    merger = _Merger()
    nodes = merger.nodes(ways)
    nodes = _guarded(nodes)
    return _Waits(nodes).steps(), tuple(merger.renamed)


class _Merger:
    def __init__(self) -> None:
        self.renamed: list[tuple[str, str]] = []

    def nodes(self, ways: Sequence[Way]) -> tuple[_Node, ...]:
        first = ways[0]
        at = next((at for at, one in enumerate(first) if isinstance(one, Decision)), len(first))
        before: list[_Node] = [one for one in first[:at] if isinstance(one, FlowStep)]
        if at == len(first):
            return tuple(before)
        decided = first[at]
        assert isinstance(decided, Decision)
        yes, no = ([way[at + 1 :] for way in ways if _met(way[at]) is met] for met in (True, False))
        taken, untaken = self.nodes(yes or [()]), self.nodes(no or [()])
        taken, untaken, after = self._parted(taken, untaken)
        if decided.own:
            # The Condition was made before; what is left of the branches goes into it.
            before += [_inside(one, (decided.name, True)) for one in taken]
            before += [_inside(one, (decided.name, False)) for one in untaken]
        elif taken or untaken:
            step = ConditionStep(
                decided.name,
                "Condition",
                arguments=EMPTY,
                conditions=decided.conditions,
                if_steps=(),
                else_steps=(),
            )
            before.append(_Fork(FlowStep(step, decided.after, decided.inside), taken, untaken))
        return (*before, *after)

    def _parted(
        self, yes: tuple[_Node, ...], no: tuple[_Node, ...]
    ) -> tuple[tuple[_Node, ...], tuple[_Node, ...], tuple[_Node, ...]]:
        """The branches without the end that both have, and that end."""
        count = 0
        while count < min(len(yes), len(no)) and _alike(yes[-1 - count], no[-1 - count]):
            count += 1
        while True:
            ends = len(yes) - count, len(no) - count
            clash = _names(yes[: ends[0]]) & _names(no[: ends[1]])
            tail = yes[ends[0] :]
            bad = [at for at, one in enumerate(tail) if not clash.isdisjoint(_referred(one))]
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


def _alike(one: _Node, other: _Node) -> bool:
    match one, other:
        case FlowStep(), FlowStep():
            return one == other
        case _Fork(), _Fork():
            return (
                one.made == other.made
                and len(one.yes) == len(other.yes)
                and len(one.no) == len(other.no)
                and all(map(_alike, one.yes, other.yes))
                and all(map(_alike, one.no, other.no))
            )
    return False


def _all(nodes: Iterable[_Node]) -> Iterator[FlowStep]:
    for one in nodes:
        if isinstance(one, FlowStep):
            yield one
        else:
            yield one.made
            yield from _all((*one.yes, *one.no))


def _names(nodes: Iterable[_Node]) -> set[str]:
    return {one.name for one in _all(nodes)}


def _referred(node: _Node) -> set[str]:
    found: set[str] = set()
    for one in _all((node,)):
        found.update(get.step for get in step_references(one.step) if get.step)
        found.update(one.step.dependencies)
        found.update(one.inside[:1] if one.inside else ())
    return found


def _with_name(node: _Node, old: str, new: str) -> _Node:
    if isinstance(node, _Fork):
        made = _with_name(node.made, old, new)
        assert isinstance(made, FlowStep)
        yes, no = (
            tuple(_with_name(one, old, new) for one in branch) for branch in (node.yes, node.no)
        )
        return _Fork(made, yes, no)
    step = _changed(node.step, old, new)
    depends_on = tuple(
        new if one == old else one for one in (step.depends_on or ()) if isinstance(one, str)
    )
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


def _changed(step: Step, old: str, new: str) -> Step:
    """A step whose references to one step go to another."""

    def change(node: Value) -> Value:
        match node:
            case Get(root="Steps", tokens=(Member() | Key(), *rest)) if node.name == old:
                return Get("Steps", (Member(new), *rest))
        return node

    names = ("arguments", "extra", *(("conditions",) if isinstance(step, ConditionStep) else ()))
    return replace(step, **{name: rebuild(getattr(step, name), change) for name in names})


def _inside(node: _Node, inside: tuple[str, bool]) -> _Node:
    if isinstance(node, _Fork):
        return replace(node, made=_marked(node.made, inside))
    return _marked(node, inside)


def _marked(made: FlowStep, inside: tuple[str, bool]) -> FlowStep:
    return made if made.inside else replace(made, inside=inside)


def _guarded(nodes: tuple[_Node, ...], here: Inside = None) -> tuple[_Node, ...]:
    """What stands in a guarded block of a Condition of the flow's own, moved into it.

    Raises :class:`MisplacedBlock` where that Condition is not in the same branch.
    """
    made = {one.name for one in nodes if isinstance(one, FlowStep)}
    blocks: dict[tuple[str, bool], list[_Node]] = {}
    kept: list[_Node] = []
    for node in nodes:
        inside = (node.made if isinstance(node, _Fork) else node).inside
        if inside is None or inside == here:
            kept.append(node)
        elif inside[0] in made:
            blocks.setdefault(inside, []).append(node)
        else:
            raise MisplacedBlock(inside[0])
    return tuple(_filled(node, blocks, here) for node in kept)


def _filled(node: _Node, blocks: dict[tuple[str, bool], list[_Node]], here: Inside) -> _Node:
    if isinstance(node, _Fork):
        return _Fork(node.made, _guarded(node.yes, here), _guarded(node.no, here))
    if not isinstance(node.step, ConditionStep):
        return node
    yes, no = (
        _guarded(_nested(blocks, (node.name, met)), (node.name, met)) for met in (True, False)
    )
    return _Fork(node, yes, no)


def _nested(
    blocks: dict[tuple[str, bool], list[_Node]], block: tuple[str, bool]
) -> tuple[_Node, ...]:
    """What a block holds, and what the blocks of the Conditions in it hold."""
    found: list[_Node] = []
    for node in blocks.get(block, ()):
        found.append(node)
        if isinstance(node, FlowStep) and isinstance(node.step, ConditionStep):
            for met in (True, False):
                found += _nested(blocks, (node.name, met))
    return tuple(found)


class MisplacedBlock(Exception):
    """A guarded block inside of a test, though its Condition is outside; the text is its name."""


class _Waits:
    """DependsOn: that a task had ended before another one began is an order of its own."""

    def __init__(self, nodes: tuple[_Node, ...]) -> None:
        self.nodes = nodes
        self.around: dict[str, tuple[str, ...]] = {}
        self._place(nodes, ())
        self.before: dict[str, set[str]] = {}

    def _place(self, nodes: Iterable[_Node], around: tuple[str, ...]) -> None:
        for one in nodes:
            made = one if isinstance(one, FlowStep) else one.made
            self.around[made.name] = around
            if isinstance(one, _Fork):
                self._place((*one.yes, *one.no), (*around, made.name))

    def steps(self) -> Steps:
        return self._steps(self.nodes)

    def _steps(self, nodes: Iterable[_Node]) -> Steps:
        return tuple(self._step(one) for one in nodes)

    def _step(self, node: _Node) -> Step:
        made = node if isinstance(node, FlowStep) else node.made
        step = self._waiting(made)
        if isinstance(node, _Fork):
            assert isinstance(step, ConditionStep)
            yes, no = self._steps(node.yes), self._steps(node.no)
            if_steps = (*(step.if_steps or ()), *yes) if yes else step.if_steps
            else_steps = (*(step.else_steps or ()), *no) if no else step.else_steps
            step = replace(step, if_steps=if_steps, else_steps=else_steps)
            # What waits for a Condition waits for all that its branches hold.
            inside = {one.name for one in walk((step,))}
            self.before[made.name] |= inside | {
                one for name in inside for one in self.before.get(name, ())
            }
        return step

    def _waiting(self, made: FlowStep) -> Step:
        around = self.around[made.name]
        step = made.step
        said = [one.step for one in step_references(step) if one.step]
        own = tuple(
            dict.fromkeys(
                self._seen(one, around) if isinstance(one, str) else one
                for one in step.depends_on or ()
            )
        )
        implied = {*said, *replace(step, depends_on=own).dependencies, *around}
        known = set(implied).union(*(self.before.get(one, set()) for one in implied))
        wanted = dict.fromkeys(self._seen(one, around) for one in made.after)
        added: list[str] = []
        for name in reversed(list(wanted)):
            if name not in known and name != made.name:
                added.insert(0, name)
                known |= {name, *self.before.get(name, set())}
        self.before[made.name] = known
        depends_on = (*own, *added)
        return replace(step, depends_on=depends_on) if depends_on else step

    def _seen(self, name: str, around: tuple[str, ...]) -> str:
        """A step as another one can wait for it: what a Condition holds, by that Condition."""
        outer = next((one for one in self.around.get(name, ()) if one not in around), None)
        return name if outer is None else outer

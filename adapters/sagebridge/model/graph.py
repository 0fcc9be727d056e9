"""The dependencies of a pipeline as a networkx graph.

A step depends on the steps in its DependsOn, on the steps that its values refer to (for a
Condition: those of its conditions), and on the Condition that has it in a branch. A ForEach waits
for everything that the steps of its body need from outside; these steps depend on the ForEach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any

from sagebridge.model.dependencies import ANY, COMPLETED, TRIGGERS
from sagebridge.model.for_each import ForEachStep, body_owners
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, step_references, walk
from sagebridge.model.step_types import STEP_TYPES
from sagebridge.model.values import ABSENT, Value

if TYPE_CHECKING:
    import networkx as nx


def edges(
    steps: Sequence[Step], parent: str | None = None, reason: str = "branch"
) -> Iterator[tuple[str, str, str]]:
    """``(from, to, reason)``, with reason ``data``, ``depends_on``, ``branch`` or ``body``.

    A pair of steps can occur several times. ``parent`` contains the steps, for that ``reason``.
    """
    for step in steps:
        if parent is not None:
            yield parent, step.name, reason
        for name in step.dependencies:
            yield name, step.name, "depends_on"
        for reference in step_references(step):
            if reference.step is not None:
                yield reference.step, step.name, "data"
        for name in source_steps(step):
            if name not in step.dependencies:  # which may have a trigger
                yield name, step.name, "depends_on"
        if isinstance(step, ConditionStep):
            yield from edges(step.branches, step.name)
        elif isinstance(step, ForEachStep):
            inside = {step.name, *(one.name for one in walk(step.inner))}
            for source, target, why in edges(step.inner, step.name, "body"):
                yield source, target if source in inside else step.name, why


def needed_steps(step: Step) -> tuple[str, ...]:
    """The other steps that a step refers to, depends on or cleans up, without those inside it."""
    names = (one.step for one in step_references(step) if one.step)
    every = dict.fromkeys((*names, *step.dependencies, *source_steps(step)))
    return tuple(name for name in every if name != step.name)


def source_steps(step: Step) -> tuple[str, ...]:
    """The steps that the arguments of a step name, such as those whose output it deletes."""
    row = STEP_TYPES.get(step.type)
    if row is None or not row.source_steps:
        return ()
    found: Value = step.arguments
    for key in row.source_steps:
        found = found.get(key, ABSENT) if isinstance(found, Mapping) else ABSENT
    rows = found if isinstance(found, list | tuple) else ()
    names = [one.get("StepName") for one in rows if isinstance(one, Mapping)]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def graph(pipeline: Pipeline) -> nx.DiGraph[str]:
    """The step graph. Nodes have ``step``, edges ``reasons`` and ``triggers`` (frozensets).

    ``triggers`` are the outcomes that the edge needs: Completed for references and branches. Edges
    from unknown steps are skipped; ``validate`` reports them.
    """
    import networkx as nx

    result: nx.DiGraph[str] = nx.DiGraph()
    for step in walk(pipeline):
        result.add_node(step.name, step=step)
    for source, target, reason in edges(pipeline.steps):
        if source not in result:
            continue
        known: dict[str, Any] = result.get_edge_data(source, target, default={})
        result.add_edge(source, target, reasons=known.get("reasons", frozenset()) | {reason})
    for source, target, needed in triggers(pipeline.steps):
        if source in result:
            edge = result.edges[source, target]
            edge["triggers"] = edge.get("triggers", frozenset()) | {needed}
    return result


def triggers(steps: Sequence[Step]) -> Iterator[tuple[str, str, str]]:
    """``(from, to, trigger)`` of each edge. An unknown trigger counts as Completed."""
    given = {step.name: step.triggers for step in walk(steps)}
    for step in walk(steps):
        if isinstance(step, ForEachStep):  # it waits for what the steps of its body need
            inner = (one.triggers for one in walk(step.inner))
            given[step.name] = (*step.triggers, *chain.from_iterable(inner))
    for source, target, reason in edges(steps):
        known = given[target] if reason == "depends_on" else ()
        # A source of a Cleanup step may be missing in DependsOn.
        for trigger in [one for name, one in known if name == source] or [COMPLETED]:
            yield source, target, trigger if trigger in TRIGGERS else COMPLETED


def is_structured(pipeline: Pipeline) -> bool:
    """Whether every step has its own name and no step depends on itself, directly or not."""
    # Not networkx: every reading calls this, and importing networkx takes longer than reading.
    names = [step.name for step in walk(pipeline)]
    sorter = TopologicalSorter(dict.fromkeys(names, ()))
    for before, after, _ in edges(pipeline.steps):
        if before == after:
            return False
        sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError:
        return False
    return len(set(names)) == len(names)


def in_order(steps: Sequence[Step]) -> list[Step]:
    """The steps sorted by dependency, otherwise in the order of the definition."""
    if len(steps) < 2:
        return list(steps)
    owner = {inner.name: position for position, step in enumerate(steps) for inner in walk((step,))}
    waits: list[set[int]] = [set() for _ in steps]
    followers: list[set[int]] = [set() for _ in steps]
    for before, after, _ in edges(steps):
        first, second = owner.get(before), owner[after]
        if first is not None and first != second:
            waits[second].add(first)
            followers[first].add(second)
    ready = [position for position, before in enumerate(waits) if not before]
    order: list[int] = []
    while ready:
        order.append(heappop(ready))
        for follower in followers[order[-1]]:
            waits[follower].discard(order[-1])
            if not waits[follower]:
                heappush(ready, follower)
    in_a_cycle = sorted(set(range(len(steps))).difference(order))
    return [steps[position] for position in (*order, *in_a_cycle)]


def hidden_failures(pipeline: Pipeline) -> tuple[str, ...]:
    """Steps whose failure does not always make a last step fail.

    Airflow derives the state of a run from its last tasks. A failed step goes unnoticed if all its
    dependants are skipped in a branch that was not taken, for a reason unrelated to that step, or
    if they run anyway, because of a trigger.

    With trigger rules there are none: the last steps decide, as in Airflow.
    """
    if any(step.engine.trigger_rule for step in walk(pipeline)):
        return ()
    bodies = body_owners(pipeline)  # a ForEach fails with the steps of its body
    steps = [step for step in walk(pipeline) if step.name not in bodies]
    conditions = [step for step in steps if isinstance(step, ConditionStep)]
    needed = list(triggers(pipeline.steps))
    if not conditions and all(trigger == COMPLETED for _, _, trigger in needed):
        return ()
    names = [step.name for step in steps]
    followers: dict[str, set[str]] = {name: set() for name in names}
    branches: dict[str, Sequence[Collection[str]]] = {}
    branches.update((step.name, branches_of(step)) for step in conditions)
    gates: set[str] = set()
    for before, after, trigger in needed:
        if before not in followers or after not in followers:
            continue
        if trigger == COMPLETED:
            followers[before].add(after)
            continue
        gate = f"{before}\n{trigger}\n{after}"  # a node that does not fail and may skip
        gates.add(gate)
        followers[before].add(gate)
        followers[gate] = {after}
        if trigger != ANY:
            branches[gate] = ([after],)
    hidden = hidden_nodes(followers, branches, gates, gates)
    return tuple(name for name in names if name in hidden)


def branches_of(step: ConditionStep) -> tuple[list[str], ...]:
    """The names of the steps directly in each branch of a Condition."""
    return tuple([inner.name for inner in one or ()] for one in (step.if_steps, step.else_steps))


def hidden_nodes(
    followers: Mapping[str, Collection[str]],
    branches: Mapping[str, Sequence[Collection[str]]],
    tolerant: Collection[str] = (),
    unskipped: Collection[str] = (),
) -> set[str]:
    """The nodes whose failure does not always make a last node fail. Empty if there is a cycle.

    Args:
        followers: the direct followers of each node.
        branches: for each node that chooses a branch, the nodes directly in each branch.
        tolerant: nodes that do not fail when a node before them has failed.
        unskipped: nodes that run even if a node before them was skipped.
    """
    before: dict[str, set[str]] = {name: set() for name in followers}
    for name, after in followers.items():
        for one in after:
            before[one].add(name)
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:
        return set()
    needs = _branches_needed(order, before, branches, unskipped)
    shown: set[str] = set()
    for name in reversed(order):
        failing = [one for one in followers[name] if one not in tolerant]
        if not followers[name] or any(
            one in shown and all(need in needs[name] or need[0] == name for need in needs[one])
            for one in failing
        ):
            shown.add(name)
            continue
        reached = _reached(name, followers, tolerant)
        last = (one for one in reached if not followers[one])
        if any(
            all(need in needs[name] or need[0] in (name, *reached) for need in needs[one])
            for one in last
        ):
            shown.add(name)
    return set(order) - shown


def _branches_needed(
    order: Sequence[str],
    before: Mapping[str, Collection[str]],
    branches: Mapping[str, Sequence[Collection[str]]],
    unskipped: Collection[str],
) -> dict[str, set[tuple[str, int]]]:
    """For each node, the branches (node, position) that must be taken for it to run."""
    needs: dict[str, set[tuple[str, int]]] = {name: set() for name in order}
    for name, chosen in branches.items():
        for position, inner in enumerate(chosen):
            for one in inner:
                needs[one].add((name, position))
    for name in order:
        if name not in unskipped:
            needs[name].update(*(needs[one] for one in before[name]))
    return needs


def _reached(
    name: str, followers: Mapping[str, Collection[str]], tolerant: Collection[str]
) -> set[str]:
    """The nodes that fail because ``name`` has failed, unless they are skipped."""
    found: set[str] = set()
    left = [name]
    while left:
        for one in followers[left.pop()]:
            if one not in found and one not in tolerant:
                found.add(one)
                left.append(one)
    return found

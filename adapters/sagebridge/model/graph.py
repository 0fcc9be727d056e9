"""The dependencies of a pipeline as a networkx graph.

A step depends on the steps in its DependsOn, on the steps that its values refer to (for a
Condition: those of its conditions), and on the Condition that has it in a branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, step_references, walk

if TYPE_CHECKING:
    import networkx as nx


def edges(steps: Sequence[Step], condition: str | None = None) -> Iterator[tuple[str, str, str]]:
    """``(from, to, reason)``, with reason ``data``, ``depends_on`` or ``branch``.

    A pair of steps can occur several times.
    """
    for step in steps:
        if condition is not None:
            yield condition, step.name, "branch"
        for name in step.dependencies:
            yield name, step.name, "depends_on"
        for reference in step_references(step):
            if reference.step is not None:
                yield reference.step, step.name, "data"
        if isinstance(step, ConditionStep):
            yield from edges(step.branches, step.name)


def graph(pipeline: Pipeline) -> nx.DiGraph[str]:
    """The step graph. Nodes have ``step``, edges ``reasons`` (a frozenset).

    Edges from unknown steps are skipped; ``validate`` reports them.
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
    return result


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
    dependants are skipped in a branch that was not taken, for a reason unrelated to that step.
    """
    if not any(isinstance(step, ConditionStep) for step in walk(pipeline)):
        return ()
    import networkx as nx

    steps = graph(pipeline)
    if not nx.is_directed_acyclic_graph(steps):
        return ()
    order = list(nx.topological_sort(steps))
    needs = _branches_needed(pipeline, steps, order)
    shown: set[str] = set()
    for name in reversed(order):
        after = list(steps.successors(name))
        met = needs[name] | {(name, True), (name, False)}
        if not after or any(one in shown and needs[one] <= met for one in after):
            shown.add(name)
            continue
        followers = nx.descendants(steps, name)
        last = (one for one in followers if not steps.out_degree(one))
        if any(all(need in met or need[0] in followers for need in needs[one]) for one in last):
            shown.add(name)
    return tuple(step.name for step in walk(pipeline) if step.name not in shown)


def _branches_needed(
    pipeline: Pipeline, steps: nx.DiGraph[str], order: Sequence[str]
) -> dict[str, frozenset[tuple[str, bool]]]:
    """For each step, the branches (condition, True for if) that must be taken for it to run."""
    own: dict[str, tuple[str, bool]] = {}
    for step in walk(pipeline):
        if isinstance(step, ConditionStep):
            own |= {inner.name: (step.name, True) for inner in step.if_steps or ()}
            own |= {inner.name: (step.name, False) for inner in step.else_steps or ()}
    needs: dict[str, frozenset[tuple[str, bool]]] = {}
    for name in order:
        before = (needs[one] for one in steps.predecessors(name))
        needs[name] = frozenset().union(*before, [own[name]] if name in own else [])
    return needs

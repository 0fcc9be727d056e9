"""The dependencies of a pipeline as a networkx graph.

A step waits for each step that it names in DependsOn, for each that its values refer to (for a
Condition: its conditions only), and for the Condition in whose branch it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, step_references, walk

if TYPE_CHECKING:
    import networkx as nx


def edges(steps: Sequence[Step], condition: str | None = None) -> Iterator[tuple[str, str, str]]:
    """``(from, to, reason)``, reason being data, depends_on or branch; one pair may come often."""
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

    An edge from a name that is no step of the pipeline is left out; ``validate`` reports it.
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


def in_order(steps: Sequence[Step]) -> list[Step]:
    """Steps so that each comes after those it waits for, else in their written order."""
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

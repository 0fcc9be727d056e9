"""The dependencies of a pipeline as a networkx graph.

A step waits for each step that it names in DependsOn, for each that its values refer to (for a
Condition: its conditions only), and for the Condition in whose branch it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

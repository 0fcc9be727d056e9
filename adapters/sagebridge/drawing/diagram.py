"""The nodes and edges of a pipeline's picture, independent of the output format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sagebridge.model.dependencies import COMPLETED
from sagebridge.model.for_each import ForEachStep
from sagebridge.model.graph import edges, triggers
from sagebridge.model.losses import Loss
from sagebridge.model.pipeline import ConditionStep, Pipeline, Step, Steps, walk
from sagebridge.model.pointers import losses_by_step

Kind = Literal["step", "condition", "fail", "loop"]
Line = Literal["data", "depends_on", "if", "else", "each"]
LABELS: Mapping[str, str] = {"if": "if", "else": "else", "each": "each item"}
"""The labels of lines that have one."""
_LINES: Mapping[str, Line] = {"if_steps": "if", "else_steps": "else", "body": "each"}
"""The lines to the steps in each field with nested steps."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step; ``marks`` are the codes of its losses."""

    name: str
    type: str
    kind: Kind
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between two nodes, given by their positions; ``trigger`` is empty for Completed."""

    source: int
    target: int
    line: Line
    trigger: str = ""

    @property
    def label(self) -> str:
        return LABELS.get(self.line, self.trigger)


@dataclass(frozen=True, slots=True)
class Diagram:
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def marks(pipeline: Pipeline, losses: Sequence[Loss]) -> dict[str, tuple[Loss, ...]]:
    """The losses of each step, by its name."""
    return {name: lost for name, lost in losses_by_step(pipeline, losses).items() if name}


def diagram(pipeline: Pipeline, losses: Mapping[str, Sequence[Loss]]) -> Diagram:
    """The steps of a pipeline and their dependencies.

    A Condition has an edge to each step of a branch that depends on no other step of the branch,
    and a ForEach to such steps of its body.
    """
    nodes: dict[str, Node] = {}
    for step in walk(pipeline):
        codes = dict.fromkeys(loss.code for loss in losses.get(step.name, ()))
        nodes.setdefault(step.name, Node(step.name, step.type, _kind(step), tuple(codes)))
    number = {name: position for position, name in enumerate(nodes)}
    lines: dict[tuple[str, str], Line] = {}
    for source, target, line in _lines(pipeline):
        if source in number and (lines.get((source, target)) != "data"):
            lines[source, target] = line
    needed: dict[tuple[str, str], set[str]] = {}
    for source, target, trigger in triggers(pipeline.steps):
        needed.setdefault((source, target), set()).add(trigger)
    drawn = (
        Edge(number[ends[0]], number[ends[1]], line, _trigger(needed.get(ends, set())))
        for ends, line in lines.items()
    )
    return Diagram(pipeline.name or "", tuple(nodes.values()), tuple(drawn))


def _trigger(needed: set[str]) -> str:
    return "" if COMPLETED in needed else " and ".join(sorted(needed))


def _kind(step: Step) -> Kind:
    if isinstance(step, ConditionStep):
        return "condition"
    if isinstance(step, ForEachStep):
        return "loop"
    return "fail" if step.type == "Fail" else "step"


def _lines(pipeline: Pipeline) -> Iterator[tuple[str, str, Line]]:
    for source, target, reason in edges(pipeline.steps):
        if reason not in ("branch", "body"):
            yield source, target, "data" if reason == "data" else "depends_on"
    for step in walk(pipeline):
        for field in step.inner_fields:
            for name in _first(getattr(step, field) or ()):
                yield step.name, name, _LINES[field]


def _first(branch: Steps) -> Iterator[str]:
    """The steps of a branch or body that depend on no other step of it."""
    owner = {inner.name: step.name for step in branch for inner in walk((step,))}
    waiting = {
        owner[target]
        for source, target, _ in edges(branch)
        if source in owner and owner[source] != owner[target]
    }
    for step in branch:
        if step.name not in waiting:
            yield step.name
